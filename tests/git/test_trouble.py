"""Networks that break, servers that are busy, slow, strict about what they give away, or signed by somebody unknown."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import (
    InvalidConfiguration,
    OutOfTime,
    RefNotFound,
    RepositoryNotFound,
    SourceUnreachable,
)
from builder.sources.git import Network, Resolved, fetch, resolve
from tests.git.forge import MINE, TOKEN, Answer, Front, Host, Work, git, self_signed

# --- busy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_server_that_says_when_to_come_back_is_asked_then(host: Host, tmp_path: Path, status: int) -> None:
    def busy_once(path: str, headers: dict[str, str]) -> Answer | None:
        return (status, {"Retry-After": "1"}, b"") if len(front.asked) == 1 else None

    with Front(busy_once, host.public) as front:
        before = time.monotonic()
        assert resolve(f"{front.url}/project.git", "trunk").commit == host.commits["third"]
        assert time.monotonic() - before >= 1
        assert front.asked[0] == front.asked[1]


def test_a_pause_that_there_is_no_time_for_is_told_at_once(host: Host) -> None:
    with Front(lambda path, headers: (429, {"Retry-After": "30"}, b""), host.public) as front:
        before = time.monotonic()
        with pytest.raises(SourceUnreachable, match="answers 429") as caught:
            resolve(f"{front.url}/project.git", None, network=Network(remaining=lambda: 20.0))
        assert "Retry-After is '30'" in caught.value.hint
        assert time.monotonic() - before < 5
        assert len(front.asked) == 1


def test_a_server_that_stays_busy_is_given_up(host: Host) -> None:
    with Front(lambda path, headers: (429, {"Retry-After": "0"}, b""), host.public) as front:
        with pytest.raises(SourceUnreachable, match="answers 429"):
            resolve(f"{front.url}/project.git", None)
        assert len(front.asked) == 4


@pytest.mark.parametrize("said", ["soon", "", "-1", "Sat, 21 Nov 2026 11:00:00 GMT"])
def test_other_words_about_when_to_come_back_do_no_harm(host: Host, said: str) -> None:
    with (
        Front(lambda path, headers: (429, {"Retry-After": said}, b""), host.public) as front,
        pytest.raises(SourceUnreachable, match="answers 429"),
    ):
        resolve(f"{front.url}/project.git", None)


def test_a_403_without_a_token_means_no_such_repository(host: Host) -> None:
    with Front(lambda path, headers: (403, {}, b""), host.public) as front, pytest.raises(RepositoryNotFound):
        resolve(f"{front.url}/project.git", None)


# --- broken and slow --------------------------------------------------------------------------------------------------


class Cutting:
    """Lets the first `times` answers with packs break off in the middle."""

    def __init__(self, host: Host, times: int) -> None:
        self.times, self.packs = times, 0
        self.front = Front(self.behave, host.public)

    def behave(self, path: str, headers: dict[str, str]) -> Answer | None:
        body = self.front.bodies[-1]
        if b"command=fetch" not in body:
            return None
        self.packs += 1
        if self.packs > self.times:
            return None
        status, fields, content = self.front.forward("POST", path, headers, body)
        assert isinstance(content, bytes)
        return status, {**fields, "Content-Length": str(len(content))}, content[: len(content) // 2]


def test_a_connection_that_is_cut_is_tried_once_more_from_the_start(host: Host, tmp_path: Path) -> None:
    cutting = Cutting(host, 1)
    with cutting.front as front:
        snapshot = fetch(resolve(f"{front.url}/project.git", None), tmp_path / "into")
    assert (snapshot.commit, cutting.packs) == (host.commits["third"], 2)


def test_a_connection_that_is_cut_again_is_an_error_that_leaves_nothing(host: Host, tmp_path: Path) -> None:
    cutting = Cutting(host, 9)
    with cutting.front as front, pytest.raises(SourceUnreachable) as caught:
        fetch(resolve(f"{front.url}/project.git", None), tmp_path / "into")
    assert caught.value.retryable
    assert cutting.packs == 2
    assert not list(tmp_path.iterdir())


def test_a_list_of_refs_that_is_cut_is_asked_for_once_more(host: Host) -> None:
    def cut(path: str, headers: dict[str, str]) -> Answer | None:
        if len(front.asked) > 1:
            return None
        fields = {"Content-Type": "application/x-git-upload-pack-advertisement", "Content-Length": "500"}
        return 200, fields, b"001e# service=git-upload-pack\n"

    with Front(cut, host.public) as front:
        assert resolve(f"{front.url}/project.git", "trunk").commit == host.commits["third"]


def dripping(front: Front, path: str, headers: dict[str, str], pause_s: float) -> Answer:
    status, fields, content = front.forward("POST", path, headers, front.bodies[-1])
    assert isinstance(content, bytes)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(content), 60):
            yield content[at : at + 60]
            time.sleep(pause_s)

    return status, {**fields, "Content-Length": str(len(content))}, pieces()


@pytest.mark.parametrize(
    ("pause_s", "network", "error", "words"),
    [
        (2.0, Network(read_timeout_s=0.3), SourceUnreachable, "timed out"),
        (0.1, Network(read_timeout_s=5), OutOfTime, "still being sent"),
    ],
    ids=["silent", "dripping"],
)
def test_a_slow_body_is_not_waited_for_for_ever(
    host: Host, tmp_path: Path, pause_s: float, network: Network, error: type[Exception], words: str
) -> None:
    def slow(path: str, headers: dict[str, str]) -> Answer | None:
        return dripping(front, path, headers, pause_s) if b"command=fetch" in front.bodies[-1] else None

    with Front(slow, host.public) as front:
        resolved = resolve(f"{front.url}/project.git", None)
        end = time.monotonic() + 0.5
        limited = Network(read_timeout_s=network.read_timeout_s, remaining=lambda: end - time.monotonic())
        before = time.monotonic()
        with pytest.raises(error, match=words):
            fetch(resolved, tmp_path / "into", network=limited)
        assert time.monotonic() - before < 4
        assert sum(b"command=fetch" in body for body in front.bodies) == 1, "what is slow is not tried again"


# --- tips only --------------------------------------------------------------------------------------------------------


class Strict:
    """A server that gives away tips of branches only, as Gerrit and others do."""

    def __init__(self, work: Work, host: Host, *, protocol: int) -> None:
        self.work, self.protocol, self.depths = work, protocol, list[str]()
        self.front = Front(self.behave, host.public)
        forward = self.front.forward

        def disguised(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
            status, fields, content = forward(method, path, headers, body)
            assert isinstance(content, bytes)
            return status, fields, content.replace(b"agent=git/", b"agent=JGi/")

        self.front.forward = disguised  # type: ignore[method-assign]

    def behave(self, path: str, headers: dict[str, str]) -> Answer | None:
        if self.protocol == 0:
            headers.pop("git-protocol", None)
        body = self.front.bodies[-1]
        if b"want " not in body:
            return None
        tips = git(self.work.bare, "for-each-ref", "--format=%(objectname)").split()
        wanted = body.split(b"want ")[1][:40].decode()
        if wanted not in tips:
            line = f"ERR upload-pack: not our ref {wanted}"
            return 200, {"Content-Type": "application/x-git-upload-pack-result"}, f"{len(line) + 4:04x}{line}".encode()
        self.depths.append(body.partition(b"deepen ")[2].split(b"\n")[0].decode())
        return None


@pytest.mark.parametrize("protocol", [0, 2])
def test_history_is_asked_for_until_the_commit_is_there(host: Host, tmp_path: Path, protocol: int) -> None:
    work, _ = host.work(tmp_path, "strict")
    commits = [work.commit({"a.py": f"x = {number}\n"}) for number in range(30)]
    strict = Strict(work, host, protocol=protocol)
    with strict.front as front:
        url = f"{front.url}/strict.git"
        for number, ref, depths in ((25, "refs/heads/trunk", ["10"]), (3, "refs/heads/trunk", ["10", "100"])):
            strict.depths.clear()
            into = tmp_path / f"into-{number}"
            fetch(Resolved(url=url, ref=ref, commit=commits[number]), into)
            assert (into / "a.py").read_text() == f"x = {number}\n"
            assert strict.depths == depths
        strict.depths.clear()
        fetch(Resolved(url=url, ref=commits[9], commit=commits[9]), tmp_path / "by-id")
        strict.depths.clear()
        with pytest.raises(RefNotFound, match="is not in"):
            fetch(Resolved(url=url, ref="1" * 40, commit="1" * 40), tmp_path / "none")
        assert strict.depths == ["10", "100"], "that was all of the history"


def test_git_itself_is_believed_when_it_has_no_such_commit(host: Host, tmp_path: Path) -> None:
    with Front(lambda path, headers: None, host.public) as front:
        with pytest.raises(RefNotFound):
            fetch(Resolved(url=f"{front.url}/project.git", ref="HEAD", commit="1" * 40), tmp_path / "into")
        assert sum(b"command=fetch" in body for body in front.bodies) == 1


# --- whom to trust ----------------------------------------------------------------------------------------------------


def test_a_certificate_of_ones_own_needs_a_bundle(host: Host, tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "server.pem")
    text = pem.read_text().partition("-----BEGIN PRIVATE")[0]
    with Front(lambda path, headers: None, host.private, tls=pem) as front:
        url = f"{front.url}/project.git"
        with pytest.raises(SourceUnreachable) as caught:
            resolve(url, None, credentials=[MINE])
        assert "ca_bundle" in caught.value.hint
        assert not front.asked, "the token was not sent"
        (tmp_path / "ca.pem").write_text(text)
        for bundle in (str(tmp_path / "ca.pem"), text):
            network = Network(ca_bundle=bundle)
            into = tmp_path / f"into-{len(bundle)}"
            fetch(resolve(url, None, credentials=[MINE], network=network), into, credentials=[MINE], network=network)
            assert (into / "handler.py").exists()
        # Trusted or not, from there nothing leads back to what is not encrypted.
        front.behave = lambda path, headers: (302, {"Location": f"{host.public}{path}"}, b"")
        with pytest.raises(Exception, match="not encrypted"):
            resolve(url, None, network=Network(ca_bundle=text))


@pytest.mark.parametrize("bundle", ["/no/such/file.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n", os.devnull])
def test_a_bundle_that_cannot_be_read_says_so(bundle: str) -> None:
    with pytest.raises(InvalidConfiguration, match="LAMBDASMITH_CA_BUNDLE") as caught:
        resolve("https://127.0.0.1:9/a/b", None, credentials=[MINE], network=Network(ca_bundle=bundle))
    assert TOKEN not in str(caught.value)
