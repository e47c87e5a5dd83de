"""Servers that misbehave, redirect, are old or are not there."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from builder.errors import (
    AuthenticationFailed,
    LambdasmithError,
    RefNotFound,
    RepositoryNotFound,
    SourceUnreachable,
    UnsafeSource,
)
from builder.sources.git import Network, Resolved, fetch, resolve
from tests.sources.forge import MINE, TOKEN, Answer, Front, Host


def old_protocol(path: str, headers: dict[str, str]) -> None:
    headers.pop("git-protocol", None)


def test_a_server_of_the_old_protocol(host: Host, tmp_path: Path) -> None:
    with Front(old_protocol, host.public) as front:
        url = f"{front.url}/project.git"
        assert resolve(url, None, credentials=()).ref == "refs/heads/trunk"
        assert resolve(url, "nested", credentials=()).commit == host.commits["second"]
        tip = fetch(resolve(url, "feature/deep/x", credentials=()), tmp_path / "tip", credentials=())
        assert tip.commit == host.commits["feature"]
        with pytest.raises(RefNotFound):
            fetch(resolve(url, "1" * 40, credentials=()), tmp_path / "none", credentials=())


@pytest.mark.parametrize("ref", ["refs/heads/trunk", None])
def test_a_server_that_gives_away_tips_only_is_asked_for_history(host: Host, tmp_path: Path, ref: str | None) -> None:
    """Git's own server is more generous over HTTP, so this refuses the first request in its stead."""
    second = host.commits["second"]

    def tips_only(path: str, headers: dict[str, str]) -> Answer | None:
        headers.pop("git-protocol", None)
        if path.endswith("/git-upload-pack") and sum(path == asked for asked, _ in front.asked) == 1:
            line = f"ERR upload-pack: not our ref {second}\n"
            return 200, {"Content-Type": "application/x-git-upload-pack-result"}, f"{len(line) + 4:04x}{line}".encode()
        return None

    with Front(tips_only, host.public) as front:
        moved = Resolved(url=f"{front.url}/project.git", ref=ref or second, commit=second)
        assert fetch(moved, tmp_path / "into", credentials=()).commit == second
        assert len(front.asked) == 4


@pytest.mark.parametrize("with_token", [True, False])
def test_a_redirect_to_another_host_does_not_carry_the_token(host: Host, tmp_path: Path, with_token: bool) -> None:
    with Front(lambda path, headers: None, host.public) as other:

        def elsewhere(path: str, headers: dict[str, str]) -> Answer:
            return 301, {"Location": other.url + path}, b""

        with Front(elsewhere, host.public) as front:
            credentials = [MINE] if with_token else []
            url = f"{front.url}/project.git"
            with pytest.raises(UnsafeSource, match="redirects to another host") as caught:
                resolve(url, None, credentials=credentials)
            allowed = other.url.removeprefix("http://")
            assert f"add {allowed} to git_hosts" in caught.value.hint
            assert not other.asked
            network = Network(allowed_hosts=(allowed,))
            resolved = resolve(url, None, credentials=credentials, network=network)
            snapshot = fetch(resolved, tmp_path / "into", credentials=credentials, network=network)
            assert snapshot.commit == host.commits["third"]
            assert snapshot.url == url
            assert ("authorization" in front.asked[0][1]) is with_token
        assert other.asked
        assert not any("authorization" in headers or TOKEN in str(headers) for _, headers in other.asked)


def test_a_redirect_on_the_same_host_keeps_the_token(host: Host, tmp_path: Path) -> None:
    def renamed(path: str, headers: dict[str, str]) -> Answer | None:
        return (301, {"Location": path.replace("/old", "/project")}, b"") if path.startswith("/old") else None

    with Front(renamed, host.private) as front:
        url = f"{front.url}/old.git"
        snapshot = fetch(resolve(url, None, credentials=[MINE]), tmp_path / "into", credentials=[MINE])
        assert snapshot.commit == host.commits["third"]


def test_a_redirect_to_an_unencrypted_address_is_refused(host: Host) -> None:
    def downgrade(path: str, headers: dict[str, str]) -> Answer:
        return 302, {"Location": "http://169.254.169.254/latest/meta-data/?x=info/refs"}, b""

    with Front(downgrade, host.public) as front, pytest.raises(UnsafeSource, match="not encrypted"):
        resolve(f"{front.url}/project.git", None, credentials=[MINE])


@pytest.mark.parametrize("location", ["file:///etc/passwd", "https://[x/info/refs"])
# urllib3 lets the answer go as it is when it cannot read where that leads.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_redirect_to_what_cannot_be_asked_is_refused(host: Host, location: str) -> None:
    with (
        Front(lambda path, headers: (302, {"Location": location}, b""), host.public) as front,
        pytest.raises(UnsafeSource, match=r"redirects to .*(?:not encrypted|not a URL)") as caught,
    ):
        resolve(f"{front.url}/project.git", None, credentials=[MINE])
    assert front.url in caught.value.message
    assert "correct its redirect" in caught.value.hint
    del caught
    gc.collect()


def test_redirects_without_end(host: Host) -> None:
    with (
        Front(lambda path, headers: (302, {"Location": path}, b""), host.public) as front,
        pytest.raises(SourceUnreachable, match="too many redirects"),
    ):
        resolve(f"{front.url}/project.git", None, credentials=())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((403, {}, b""), AuthenticationFailed, "refuses the builder's git token"),
        ((404, {}, b""), RepositoryNotFound, "no such repository"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), RepositoryNotFound, "answers with text/html"),
        ((429, {}, b""), SourceUnreachable, "answers 429"),
        ((503, {}, b""), SourceUnreachable, "answers 503"),
        ((418, {}, b""), SourceUnreachable, r"project\.git: the server answers 418$"),
        ((204, {}, b""), SourceUnreachable, r"project\.git: the server answers 204$"),
        ((304, {}, b""), SourceUnreachable, r"project\.git: the server answers 304$"),
        (
            (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"garbage"),
            SourceUnreachable,
            "pkt-line",
        ),
        (
            (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b""),
            SourceUnreachable,
            "git protocol|broke off",
        ),
        (
            (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"0010ERR go away\n"),
            SourceUnreachable,
            "the server refuses: go away",
        ),
        (
            (200, {"Content-Type": "application/x-git-upload-pack-advertisement", "Content-Length": "999"}, b"000e"),
            SourceUnreachable,
            "git protocol|broke off",
        ),
    ],
)
def test_strange_answers_become_our_errors(
    host: Host, answer: Answer, error: type[LambdasmithError], words: str
) -> None:
    with Front(lambda path, headers: answer, host.public) as front:
        with pytest.raises(error, match=words) as caught:
            resolve(f"{front.url}/project.git", None, credentials=[MINE])
        assert TOKEN not in f"{caught.value} {caught.value.hint}"
        assert caught.value.retryable == (error is SourceUnreachable)


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"0032\x01PACK" + b"\0" * 45])
def test_a_damaged_pack_is_our_error_and_leaves_nothing(host: Host, tmp_path: Path, damage: bytes) -> None:
    def cut(path: str, headers: dict[str, str]) -> Answer | None:
        if path.endswith("/git-upload-pack") and len(front.asked) > 4:
            return 200, {"Content-Type": "application/x-git-upload-pack-result"}, b"000dpackfile\n" + damage
        return None

    with Front(cut, host.public) as front:
        resolved = resolve(f"{front.url}/project.git", None, credentials=())
        with pytest.raises(LambdasmithError):
            fetch(resolved, tmp_path / "into", credentials=())
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(SourceUnreachable) as caught:
        resolve("http://127.0.0.1:9/me/project", None, credentials=[MINE])
    assert caught.value.retryable
    assert "try again" in caught.value.hint
    assert TOKEN not in str(caught.value)


def test_a_proxy_of_the_environment_is_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with Front(lambda path, headers: None, host.public) as front:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, front.url.replace("//", "//user:pass@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(SourceUnreachable) as caught:
            resolve("https://git.invalid/me/project", None, credentials=[MINE])
        assert front.asked[0][0] == "git.invalid:443"
        assert "proxy-authorization" in front.asked[0][1]
        assert TOKEN not in str(front.asked)
        assert "pass@" not in str(caught.value)


def test_a_host_name_that_does_not_exist() -> None:
    with pytest.raises(SourceUnreachable):
        resolve("https://git.invalid/me/project", None, credentials=())
