"""Who may, with which token."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from builder.errors import (
    AuthenticationFailed,
    InvalidEvent,
    RepositoryNotFound,
)
from builder.network.access import credentials_for
from builder.sources.git import GitCredentials, Resolved, fetch, resolve
from tests.sources.forge import MINE, TOKEN, Answer, Front, Host


def test_an_unknown_repository(host: Host) -> None:
    with pytest.raises(RepositoryNotFound) as caught:
        resolve(f"{host.public}/nothing.git", None, credentials=())
    assert "git_token in config.ini" in caught.value.hint


def test_a_private_repository_needs_the_token(host: Host, tmp_path: Path) -> None:
    url = f"{host.private}/project.git"
    with pytest.raises(RepositoryNotFound) as caught:
        resolve(url, None, credentials=())
    assert "if it is private" in caught.value.hint
    resolved = resolve(url, "trunk", credentials=[MINE])
    assert fetch(resolved, tmp_path / "into", credentials=[MINE]).commit == host.commits["third"]


def test_a_wrong_token(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = GitCredentials(username="me", token="wrong-" + TOKEN)
    with pytest.raises(AuthenticationFailed) as caught:
        resolve(f"{host.private}/project.git", None, credentials=[wrong])
    assert TOKEN not in f"{caught.value} {caught.value.hint} {caught.getrepr()} {caplog.text}"
    with pytest.raises(AuthenticationFailed):
        fetch(
            Resolved(url=f"{host.private}/project.git", ref="HEAD", commit=host.commits["third"]),
            tmp_path / "into",
            credentials=[wrong],
        )


def test_a_token_of_another_server_is_not_sent(host: Host) -> None:
    elsewhere = GitCredentials(username="me", token=TOKEN, base="https://git.example.org/me")
    with pytest.raises(RepositoryNotFound) as caught:
        resolve(f"{host.private}/project.git", None, credentials=[elsewhere])
    assert "belongs to another server and was not sent" in caught.value.hint


def at(path: str, front: Front, *, called: str = "", token: str = TOKEN) -> GitCredentials:
    return GitCredentials(username="me", token=token, base=f"{front.url}{path}", called=called, renewal="renew it")


def basic(credentials: GitCredentials) -> str:
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.token}".encode()).decode()


def test_a_redirect_to_another_path_carries_the_login_of_that_path(host: Host, tmp_path: Path) -> None:
    def renamed(path: str, headers: dict[str, str]) -> Answer | None:
        return (301, {"Location": path.replace("/old", "/project")}, b"") if path.startswith("/old") else None

    with Front(renamed, host.private) as front:
        old, new = at("/old", front, token="of-the-old-path"), at("/project", front)
        url = f"{front.url}/old.git"
        snapshot = fetch(resolve(url, None, credentials=[old, new]), tmp_path / "into", credentials=[old, new])
        assert snapshot.commit == host.commits["third"]
        sent = {(path.split("/")[1], headers.get("authorization")) for path, headers in front.asked}
        assert sent == {("old.git", basic(old)), ("project.git", basic(new))}
        front.asked.clear()
        with pytest.raises(RepositoryNotFound) as caught:
            resolve(url, None, credentials=[at("/old", front, called="the token of [git old]")])
        assert [headers.get("authorization") for _, headers in front.asked] == [basic(at("/old", front)), None]
        host_there = front.url.removeprefix("http://")
        secure = GitCredentials(username="u", token="t", base=f"https://{host_there}", called="the token of [git h]")
        with pytest.raises(RepositoryNotFound) as unsent:
            resolve(f"{front.url}/project.git", None, credentials=[secure])
        assert unsent.value.hint == (
            f"if it is private: the token of [git h] is for https://{host_there} and was not sent to http://; a "
            f"section [git http://{host_there}] in config.ini is for this one"
        )
        assert f"the token of [git old] belongs to another path of {host_there}" in caught.value.hint


def test_who_was_refused_is_named(host: Host) -> None:
    with Front(lambda path, headers: None, host.private) as front:
        known = [
            at("/", front, called="git_token", token="wrong"),
            at("/project", front, called="the token of [git h/project], ssm:/git", token="wrong"),
        ]
        with pytest.raises(
            AuthenticationFailed, match=r"refuses the token of \[git h/project\], ssm:/git \(40"
        ) as caught:
            resolve(f"{front.url}/project.git", None, credentials=known)
        assert caught.value.hint.endswith("may not read this repository: renew it")
        with pytest.raises(AuthenticationFailed, match="refuses git_token"):
            resolve(f"{front.url}/other.git", None, credentials=known)


def test_the_token_is_nowhere_afterwards(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{host.private}/project.git"
    snapshot = fetch(resolve(url, None, credentials=[MINE]), tmp_path / "into", credentials=[MINE])
    encoded = MINE.token.encode()
    for path in tmp_path.rglob("*"):
        assert path.name != ".git"
        if path.is_file():
            assert encoded not in path.read_bytes()
    assert TOKEN not in f"{snapshot} {MINE} {caplog.text}"
    assert "Basic " not in caplog.text


@pytest.mark.parametrize(
    "url",
    [f"https://me:{TOKEN}@github.com/a/b", "http://git.example.org/a/b", "ssh://git@h/a/b", "file:///a/b", "/a/b"],
)
def test_urls_that_are_not_asked_at_all(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidEvent) as caught:
        resolve(url, None, credentials=())
    assert TOKEN not in str(caught.value)
    with pytest.raises(InvalidEvent):
        fetch(Resolved(url=url, ref="HEAD", commit="1" * 40), tmp_path / "into", credentials=())
    assert not (tmp_path / "into").exists()


BASES = ["https://h.org", "https://h.org/team", "https://h.org/team/secret.git", "https://h.org:8443", None]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://h.org/x/y", "https://h.org"),
        ("https://H.ORG:443/x/y", "https://h.org"),
        ("https://h.org/team/y.git", "https://h.org/team"),
        ("https://h.org/team/secret", "https://h.org/team/secret.git"),
        ("https://h.org/team/secret.git/info/lfs", "https://h.org/team/secret.git"),
        ("https://h.org/teams/y", "https://h.org"),
        ("https://h.org/team/../x", None),
        ("https://h.org/%74eam/y", "https://h.org/team"),
        ("https://h.org:8443/team/y", "https://h.org:8443"),
        ("http://h.org/team/y", None),
        ("https://h.org.evil.org/team/y", None),
        ("https://evil.org/h.org/team/y", None),
    ],
)
def test_of_several_tokens_the_one_whose_base_says_most_is_sent(url: str, base: str | None) -> None:
    known = [GitCredentials(username="me", token=str(each), base=each) for each in BASES]
    for some in (known, known[::-1]):
        assert credentials_for(url, some) == GitCredentials(username="me", token=str(base), base=base)
    without = credentials_for(url, known[:-1])
    assert (without.base if without else None) == base
