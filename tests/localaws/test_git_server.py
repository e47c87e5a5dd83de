"""The git server, used by git itself: it has to answer as a forge does."""

from __future__ import annotations

import base64
import gzip
import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from localaws.testing import GitServer, git_server

TOKEN = "s3cret-token"

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git: install git")


def git(*arguments: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git without anybody's configuration and without prompts."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{who}_{what}": "me" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    return subprocess.run(
        ["git", *map(str, arguments)], cwd=cwd, check=check, capture_output=True, text=True, env=environment
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the bare repository `me/app.git`: two commits on main, both with a 1 MB file."""
    root = tmp_path_factory.mktemp("repositories")
    work = tmp_path_factory.mktemp("work")
    git("init", "-q", "--bare", "-b", "main", root / "me" / "app.git")
    git("init", "-q", "-b", "main", work)
    for number in range(2):
        (work / "file").write_bytes(os.urandom(1_000_000))
        git("add", "file", cwd=work)
        git("commit", "-q", "-m", f"commit {number}", cwd=work)
    git("push", "-q", root / "me" / "app.git", "main", cwd=work)
    (root / "secret.txt").write_text("not a repository")
    return root


@pytest.fixture(scope="module")
def public(root: Path) -> Iterator[GitServer]:
    with git_server(root) as server:
        yield server


@pytest.fixture(scope="module")
def private(root: Path) -> Iterator[GitServer]:
    with git_server(root, TOKEN) as server:
        yield server


def with_token(server: GitServer, token: str = TOKEN) -> str:
    return server.url.replace("http://", f"http://me:{token}@")


@pytest.mark.parametrize("name", ["me/app.git", "me/app"])
def test_a_clone(public: GitServer, tmp_path: Path, name: str) -> None:
    git("clone", "-q", f"{public.url}/{name}", tmp_path / "clone")
    assert (tmp_path / "clone" / "file").stat().st_size == 1_000_000


def test_one_commit_by_its_id_at_depth_one(public: GitServer, root: Path, tmp_path: Path) -> None:
    old = git("rev-parse", "main~1", cwd=root / "me" / "app.git").stdout.strip()
    git("init", "-q", tmp_path)
    git("fetch", "-q", "--depth", "1", f"{public.url}/me/app.git", old, cwd=tmp_path)
    assert git("rev-list", "--count", "FETCH_HEAD", cwd=tmp_path).stdout.strip() == "1"
    assert git("rev-parse", "FETCH_HEAD", cwd=tmp_path).stdout.strip() == old


@pytest.mark.parametrize("version", ["0", "2"])
def test_both_protocols(public: GitServer, version: str) -> None:
    found = git("-c", f"protocol.version={version}", "ls-remote", f"{public.url}/me/app.git")
    assert "refs/heads/main" in found.stdout
    answer = requests.get(
        f"{public.url}/me/app.git/info/refs?service=git-upload-pack",
        headers={"Git-Protocol": f"version={version}"},
        timeout=10,
    )
    assert (b"version 2" in answer.content) == (version == "2")


def test_a_push(private: GitServer, root: Path, tmp_path: Path) -> None:
    url = f"{with_token(private)}/me/app.git"
    git("clone", "-q", url, tmp_path / "clone")
    (tmp_path / "clone" / "more").write_bytes(os.urandom(2_000_000))  # over http.postBuffer: sent in chunks
    git("add", "more", cwd=tmp_path / "clone")
    git("commit", "-q", "-m", "more", cwd=tmp_path / "clone")
    git("push", "-q", "origin", "HEAD:refs/heads/pushed", cwd=tmp_path / "clone")
    assert git("rev-parse", "pushed", cwd=root / "me" / "app.git").stdout.strip()


def test_a_compressed_request(public: GitServer) -> None:
    body = gzip.compress(b"0014command=ls-refs\n0000")
    answer = requests.post(
        f"{public.url}/me/app.git/git-upload-pack",
        data=body,
        headers={
            "Content-Encoding": "gzip",
            "Content-Type": "application/x-git-upload-pack-request",
            "Git-Protocol": "version=2",
        },
        timeout=10,
    )
    assert (answer.status_code, b"refs/heads/main" in answer.content) == (200, True)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_private_repository_without_or_with_the_wrong_token(private: GitServer, token: str | None) -> None:
    for name in ("me/app.git", "me/none.git"):  # a stranger does not learn what exists
        answer = requests.get(
            f"{private.url}/{name}/info/refs?service=git-upload-pack",
            auth=("me", token) if token else None,
            timeout=10,
        )
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    url = with_token(private, token) if token else private.url
    found = git("ls-remote", f"{url}/me/app.git", check=False)
    assert found.returncode != 0


def test_a_private_repository_with_the_token(private: GitServer) -> None:
    assert "refs/heads/main" in git("ls-remote", f"{with_token(private)}/me/app.git").stdout


def test_an_unknown_repository(public: GitServer, private: GitServer) -> None:
    for url in (public.url, with_token(private)):
        found = git("ls-remote", f"{url}/me/none.git", check=False)
        assert "not found" in found.stderr


@pytest.mark.parametrize(
    "path", ["/secret.txt", "/", "/me", "/me/app.git/HEAD", "/me/app.git/config", "/../me/app.git/info/refs", "/..%2f"]
)
def test_nothing_else_is_served(public: GitServer, path: str) -> None:
    host, port = public.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", path)  # requests would tidy the path up
    assert connection.getresponse().status == 404


def test_a_malformed_authorization(private: GitServer) -> None:
    for value in ("Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"no colon").decode()):
        answer = requests.get(
            f"{private.url}/me/app.git/info/refs?service=git-upload-pack", headers={"Authorization": value}, timeout=10
        )
        assert answer.status_code == 401
