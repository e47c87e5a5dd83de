"""Networks that break, servers that are busy, slow, strict about what they give away, or signed by somebody unknown."""

from __future__ import annotations

import os
import re
import threading
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
from builder.network.patience import Passing, patiently
from builder.sources.git import Network, Resolved, fetch, resolve
from tests.sources.forge import HANGS_UP, MINE, TOKEN, Answer, Front, Host, Work, git, self_signed

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
        with pytest.raises(SourceUnreachable, match=r"answers 429 \(tried 5 times in \d+ s\)"):
            resolve(f"{front.url}/project.git", None)
        assert len(front.asked) == 5


def test_a_server_that_asks_for_an_hour_is_not_waited_for(host: Host) -> None:
    with Front(lambda path, headers: (429, {"Retry-After": "3600"}, b""), host.public) as front:
        with pytest.raises(SourceUnreachable, match=r"answers 429$") as caught:
            resolve(f"{front.url}/project.git", None)
        assert "the server asks to wait: Retry-After is '3600'" in caught.value.hint
        assert len(front.asked) == 1


def test_pauses_grow_vary_and_are_over_in_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the pauses as they are for users
    waited: list[list[float]] = []
    monkeypatch.setattr(time, "sleep", lambda pause: waited[-1].append(pause))

    def fail() -> None:
        raise Passing("forge: the server answers 503")

    for _ in range(50):
        waited.append([])
        with pytest.raises(Passing):
            patiently(fail, Network())
        assert waited[-1] == sorted(waited[-1])
        assert len(waited[-1]) == 4
        assert 10 <= sum(waited[-1]) <= 20
    assert len({tuple(pauses) for pauses in waited}) == 50


def test_without_time_for_another_try_the_build_is_out_of_time(host: Host) -> None:
    network = Network(remaining=lambda: 5.5, pauses_s=(1.0, 1.0))
    with Front(lambda path, headers: (503, {}, b""), host.public) as front:
        with pytest.raises(OutOfTime, match="answers 503; there is no time left to try again"):
            resolve(f"{front.url}/project.git", None, network=network)
        assert len(front.asked) == 1


REFS, LS_REFS, PACK = "/info/refs", b"command=ls-refs", b"command=fetch"


class Failing:
    """Has trouble the first `times` that a certain request comes, and is all right then."""

    def __init__(self, host: Host, what: str | bytes, answer: Answer, times: int) -> None:
        self.what, self.answer, self.times, self.asked = what, answer, times, 0
        self.front = Front(self.behave, host.public)

    def behave(self, path: str, headers: dict[str, str]) -> Answer | None:
        is_it = self.what in path if isinstance(self.what, str) else self.what in self.front.bodies[-1]
        self.asked += is_it
        return self.answer if is_it and self.asked <= self.times else None


@pytest.mark.parametrize("what", [REFS, LS_REFS, PACK], ids=["refs", "ls-refs", "pack"])
@pytest.mark.parametrize(
    "answer",
    [(500, {}, b""), (502, {}, b"<html>"), (503, {}, b""), (429, {}, b""), (503, {"Retry-After": "0"}, b""), HANGS_UP],
    ids=["500", "502", "503", "429", "503-now", "hangs-up"],
)
def test_trouble_that_passes_ends_no_deploy(host: Host, tmp_path: Path, what: str | bytes, answer: Answer) -> None:
    failing = Failing(host, what, answer, 4)
    with failing.front as front:
        network = Network()
        snapshot = fetch(resolve(f"{front.url}/project.git", None, network=network), tmp_path / "into", network=network)
    assert snapshot.commit == host.commits["third"]
    assert failing.asked == 5


def test_a_forge_that_is_restarted_is_waited_for(host: Host, tmp_path: Path) -> None:
    with Front(lambda path, headers: None, host.public) as front:
        port = front.server.server_port
    # From here on connections are refused, until it is there again.
    back = Front(lambda path, headers: None, host.public, port=port)
    starting = threading.Timer(0.3, back.__enter__)
    starting.start()
    try:
        network = Network(pauses_s=(0.2,) * 20)
        assert resolve(f"{front.url}/project.git", None, network=network).commit == host.commits["third"]
    finally:
        starting.join()
        back.__exit__()


def test_what_stays_down_is_told_in_words(host: Host) -> None:
    with Front(lambda path, headers: None, host.public) as front:
        url = f"{front.url}/project.git"
    with pytest.raises(SourceUnreachable, match=r"the connection is refused \(tried 5 times in \d+ s\)") as caught:
        resolve(url, None)
    assert caught.value.message.startswith(url)
    with Front(lambda path, headers: HANGS_UP, host.public) as front:
        with pytest.raises(SourceUnreachable, match="closed without an answer") as caught:
            resolve(f"{front.url}/project.git", None)
        assert "object at" not in caught.value.message
        assert "Connection(" not in caught.value.message


@pytest.mark.parametrize("said", ["soon", "", "-1", "9" * 5000, "Sat, 21 Nov 2026 11:00:00 GMT"])
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


def test_a_connection_that_is_cut_is_tried_again_from_the_start(host: Host, tmp_path: Path) -> None:
    cutting = Cutting(host, 1)
    with cutting.front as front:
        snapshot = fetch(resolve(f"{front.url}/project.git", None), tmp_path / "into")
    assert (snapshot.commit, cutting.packs) == (host.commits["third"], 2)


def test_a_connection_that_is_cut_again_is_an_error_that_leaves_nothing(host: Host, tmp_path: Path) -> None:
    cutting = Cutting(host, 9)
    with cutting.front as front, pytest.raises(SourceUnreachable) as caught:
        fetch(resolve(f"{front.url}/project.git", None), tmp_path / "into")
    assert caught.value.retryable
    assert re.search(r"broke off after [\d,]+ bytes, [\d,]+ are missing", caught.value.message)
    assert "IncompleteRead" not in caught.value.message
    assert cutting.packs == 5
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
        (2.0, Network(read_timeout_s=5), OutOfTime, "when the time was over"),
        (0.1, Network(read_timeout_s=5), OutOfTime, "when the time was over"),
    ],
    ids=["silent", "silent-near-the-limit", "dripping"],
)
def test_a_slow_body_is_not_waited_for_for_ever(
    host: Host, tmp_path: Path, pause_s: float, network: Network, error: type[Exception], words: str
) -> None:
    end = float("inf")

    def slow(path: str, headers: dict[str, str]) -> Answer | None:
        nonlocal end
        if b"command=fetch" not in front.bodies[-1]:
            return None
        end = time.monotonic() + 0.5
        return dripping(front, path, headers, pause_s)

    with Front(slow, host.public) as front:
        resolved = resolve(f"{front.url}/project.git", None)
        limited = Network(read_timeout_s=network.read_timeout_s, remaining=lambda: end - time.monotonic())
        before = time.monotonic()
        with pytest.raises(error, match=words):
            fetch(resolved, tmp_path / "into", network=limited)
        assert time.monotonic() - before < 1.9
        assert sum(b"command=fetch" in body for body in front.bodies) == 1, "what is slow is not tried again"


@pytest.mark.parametrize("what", [REFS, LS_REFS], ids=["refs", "ls-refs"])
def test_silence_at_refs_ends_before_the_time_limit(host: Host, what: str | bytes) -> None:
    def silent(path: str, headers: dict[str, str]) -> Answer | None:
        if what in path if isinstance(what, str) else what in front.bodies[-1]:
            time.sleep(1.5)
        return None

    with Front(silent, host.public) as front:
        end = time.monotonic() + 0.4
        before = time.monotonic()
        with pytest.raises(OutOfTime, match="when the time was over"):
            resolve(f"{front.url}/project.git", None, network=Network(remaining=lambda: end - time.monotonic()))
        assert time.monotonic() - before < 1.2


# --- how often, and how much ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 0])
def test_who_resolves_and_fetches_asks_once_for_each_thing(host: Host, tmp_path: Path, protocol: int) -> None:
    def older(path: str, headers: dict[str, str]) -> None:
        if protocol == 0:
            headers.pop("git-protocol", None)

    network = Network()
    with Front(older, host.public) as front:
        resolved = resolve(f"{front.url}/project.git", "trunk", network=network)
        fetch(resolved, tmp_path / "into", network=network)
        asked = [path for path, _ in front.asked]
        post = "/project.git/git-upload-pack"
        assert asked == ["/project.git/info/refs?service=git-upload-pack", *([post] * (2 if protocol else 1))]
        assert (tmp_path / "into/handler.py").read_text() == "VERSION = 3\n"
        # What was said once is no answer for somebody else.
        fetch(resolved, tmp_path / "again", network=network, credentials=[MINE])
        assert len(front.asked) == len(asked) * 2


def test_the_default_branch_costs_the_same_with_many_branches(host: Host, tmp_path: Path) -> None:
    work, _ = host.work(tmp_path, "many")
    commit = work.commit({"a.py": "x = 1\n"})
    lines = "".join(f"create refs/heads/topic/with-a-long-name-{number} {commit}\n" for number in range(3000))
    git(work.bare, "update-ref", "--stdin", stdin=lines)
    received = 0

    def counted(path: str, headers: dict[str, str]) -> Answer:
        nonlocal received
        answer = front.forward("POST" if front.bodies[-1] else "GET", path, headers, front.bodies[-1])
        assert isinstance(answer[2], bytes)
        received += len(answer[2])
        return answer

    with Front(counted, host.public) as front:
        resolved = resolve(f"{front.url}/many.git", None)
    assert (resolved.ref, resolved.commit) == ("refs/heads/trunk", commit)
    assert "refs/heads/trunk" in resolved.tips
    assert received < 1000


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
