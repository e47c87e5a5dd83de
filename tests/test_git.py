"""Fetching from a real git server: `git http-backend` behind `localaws git`, and a front that misbehaves."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builder.errors import (
    AuthenticationFailed,
    InvalidEvent,
    LambdasmithError,
    OutOfSpace,
    RefNotFound,
    RepositoryNotFound,
    SourceUnreachable,
    UnsafeSource,
)
from builder.sources.git import GitCredentials, Network, Resolved, Snapshot, fetch, repository_url, resolve
from builder.sources.local import select_files
from localaws.testing import git_server

if not shutil.which("git"):
    pytest.skip("needs git: install git", allow_module_level=True)

TOKEN = "t0ken-WhichMustNotLeak"
MINE = GitCredentials(username="me", token=TOKEN)
GIT_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_DATE": "1700000123 +0100",
}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, check=True, capture_output=True, text=True, env=GIT_ENVIRONMENT
    )
    return done.stdout.strip()


class Work:
    """A working tree whose commits are pushed to a bare repository that the servers serve."""

    def __init__(self, directory: Path, bare: Path) -> None:
        self.directory, self.bare = directory, bare
        directory.mkdir()
        git(directory.parent, "init", "-q", "--bare", "-b", "trunk", str(bare))
        git(directory, "init", "-q", "-b", "trunk")
        git(directory, "remote", "add", "origin", str(bare))

    def commit(self, files: dict[str, str], *, message: str = "change") -> str:
        """Write files, commit and push the present branch. Returns the commit."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return self.push(message)

    def push(self, message: str = "change") -> str:
        git(self.directory, "add", "-A")
        git(self.directory, "commit", "-q", "--allow-empty", "-m", message)
        git(self.directory, "push", "-q", "origin", "HEAD")
        return git(self.directory, "rev-parse", "HEAD")


@dataclass(frozen=True, kw_only=True)
class Host:
    """Two servers of the same repositories, one of which wants the token; `commits` of the repository `project`."""

    root: Path
    public: str
    private: str
    commits: dict[str, str]

    def work(self, tmp_path: Path, name: str) -> tuple[Work, str]:
        bare = self.root / f"{name}.git"
        shutil.rmtree(bare, ignore_errors=True)
        return Work(tmp_path / f"work-{name}", bare), f"{self.public}/{name}.git"


def make_project(scratch: Path, root: Path) -> dict[str, str]:
    work = Work(scratch / "project", root / "project.git")
    commits = {"first": work.commit({"handler.py": "VERSION = 1\n"})}
    git(work.directory, "tag", "light")
    (work.directory / "run.sh").write_text("#!/bin/sh\n")
    (work.directory / "run.sh").chmod(0o755)
    (work.directory / "pkg").mkdir()
    (work.directory / "pkg" / "data.txt").write_text("data\n")
    (work.directory / "link").symlink_to("pkg/data.txt")
    (work.directory / "pkg" / "up").symlink_to("..")
    (work.directory / "größe.txt").write_text("x")
    commits["second"] = work.commit({"handler.py": "VERSION = 2\n"})
    git(work.directory, "tag", "-a", "v1.0", "-m", "one")
    git(work.directory, "tag", "-a", "nested", "-m", "tag of a tag", "v1.0")
    commits["third"] = work.commit({"handler.py": "VERSION = 3\n"})
    git(work.directory, "checkout", "-q", "-b", "feature/deep/x")
    commits["feature"] = work.commit({"handler.py": "VERSION = 4\n"})
    git(work.directory, "branch", "both", commits["first"])
    git(work.directory, "tag", "both", commits["second"])
    git(work.directory, "branch", "same", commits["first"])
    git(work.directory, "tag", "same", commits["first"])
    git(work.directory, "push", "-q", "origin", "--tags", "refs/heads/both", "refs/heads/same")
    return commits


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    scratch = tmp_path_factory.mktemp("git")
    root = scratch / "served"
    root.mkdir()
    commits = make_project(scratch, root)
    Work(scratch / "empty", root / "empty.git")
    with git_server(root) as public, git_server(root, token=TOKEN) as private:
        yield Host(root=root, public=public.url, private=private.url, commits=commits)


@pytest.fixture
def project(host: Host) -> str:
    return f"{host.public}/project.git"


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "full", "commit"),
    [
        (None, "refs/heads/trunk", "third"),
        ("HEAD", "HEAD", "third"),
        ("trunk", "refs/heads/trunk", "third"),
        ("feature/deep/x", "refs/heads/feature/deep/x", "feature"),
        ("refs/heads/trunk", "refs/heads/trunk", "third"),
        ("light", "refs/tags/light", "first"),
        ("v1.0", "refs/tags/v1.0", "second"),
        ("nested", "refs/tags/nested", "second"),
        ("same", "refs/heads/same", "first"),
        ("refs/tags/both", "refs/tags/both", "second"),
    ],
)
def test_a_name_becomes_a_commit(host: Host, project: str, ref: str | None, full: str, commit: str) -> None:
    assert resolve(project, ref, credentials=()) == Resolved(url=project, ref=full, commit=host.commits[commit])


def test_a_full_commit_id_needs_no_server() -> None:
    url = "http://127.0.0.1:9/x/y"
    assert resolve(url, "A" * 40, credentials=()) == Resolved(url=url, ref="a" * 40, commit="a" * 40)


def test_a_short_commit_id_of_a_tip(host: Host, project: str) -> None:
    commit = host.commits["feature"]
    assert resolve(project, commit[:9], credentials=()).commit == commit


def test_a_short_commit_id_that_is_no_tip_is_explained(project: str) -> None:
    with pytest.raises(RefNotFound) as caught:
        resolve(project, "0123abc", credentials=())
    assert "write all 40 characters" in caught.value.hint


def test_an_unknown_name_suggests_the_nearest(project: str) -> None:
    with pytest.raises(
        RefNotFound, match=r"'origin/trnuk' is neither a branch nor a tag .*did you mean trunk\?"
    ) as caught:
        resolve(project, "origin/trnuk", credentials=())
    assert "branches: both, feature/deep/x, same, trunk; tags: both" in caught.value.hint


def test_a_branch_and_a_tag_of_one_name_must_agree(project: str) -> None:
    with pytest.raises(RefNotFound, match="both a branch and a tag") as caught:
        resolve(project, "both", credentials=())
    assert caught.value.hint == "write refs/heads/both or refs/tags/both"


@pytest.mark.parametrize("ref", [None, "main"])
def test_an_empty_repository_says_so(host: Host, ref: str | None) -> None:
    with pytest.raises(RefNotFound, match="is empty: it has no commits yet"):
        resolve(f"{host.public}/empty.git", ref, credentials=())


def test_a_default_branch_that_is_gone_lists_the_others(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "headless")
    work.commit({"a": "a"})
    git(work.bare, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(RefNotFound, match="no default branch") as caught:
        resolve(url, None, credentials=())
    assert "trunk" in caught.value.hint


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_exactly_the_commit(host: Host, project: str, tmp_path: Path) -> None:
    into = tmp_path / "into"
    snapshot = fetch(resolve(project, "v1.0", credentials=()), into, credentials=())
    tree = git(host.root / "project.git", "rev-parse", f"{host.commits['second']}^{{tree}}")
    assert snapshot == Snapshot(
        root=into,
        url=project,
        ref="refs/tags/v1.0",
        commit=host.commits["second"],
        tree=tree,
        subtree=tree,
        commit_time=1700000123,
        files=6,
    )
    found = sorted(path.relative_to(into).as_posix() for path in into.rglob("*"))
    assert found == ["größe.txt", "handler.py", "link", "pkg", "pkg/data.txt", "pkg/up", "run.sh"]
    assert (into / "handler.py").read_text() == "VERSION = 2\n"
    assert (into / "link").is_symlink()
    assert (into / "link").read_text() == "data\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["into"], "the pack is gone"


def test_git_itself_finds_the_same_tree(host: Host, project: str, tmp_path: Path) -> None:
    snapshot = fetch(resolve(project, None, credentials=()), tmp_path / "into", credentials=())
    git(snapshot.root, "init", "-q")
    git(snapshot.root, "add", "-A")
    assert git(snapshot.root, "write-tree") == snapshot.tree


def test_modes_and_times_do_not_depend_on_the_process(project: str, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        snapshot = fetch(resolve(project, "v1.0", credentials=()), tmp_path / "into", credentials=())
    finally:
        os.umask(before)
    assert stat.S_IMODE((snapshot.root / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((snapshot.root / "handler.py").stat().st_mode) == 0o644
    assert (snapshot.root / "handler.py").stat().st_mtime == 1700000123


def test_a_commit_that_is_no_tip(host: Host, project: str, tmp_path: Path) -> None:
    commit = host.commits["first"]
    snapshot = fetch(resolve(project, commit, credentials=()), tmp_path / "into", credentials=())
    assert (snapshot.ref, snapshot.commit, snapshot.files) == (commit, commit, 1)


def test_the_id_of_an_annotated_tag_means_its_commit(host: Host, project: str, tmp_path: Path) -> None:
    tag = git(host.root / "project.git", "rev-parse", "nested")
    snapshot = fetch(resolve(project, tag, credentials=()), tmp_path / "into", credentials=())
    assert snapshot.commit == host.commits["second"]


def test_the_id_of_a_tree_is_no_commit(host: Host, project: str, tmp_path: Path) -> None:
    tree = git(host.root / "project.git", "rev-parse", "trunk^{tree}")
    with pytest.raises(RefNotFound, match=r"is a tree, not a commit|is not in"):
        fetch(resolve(project, tree, credentials=()), tmp_path / "into", credentials=())
    assert not (tmp_path / "into").exists()


def test_an_unknown_commit(project: str, tmp_path: Path) -> None:
    with pytest.raises(RefNotFound, match=f"commit {'1' * 40} is not in"):
        fetch(resolve(project, "1" * 40, credentials=()), tmp_path / "into", credentials=())


def test_only_the_commit_is_transferred(host: Host, tmp_path: Path) -> None:
    """History and other branches stay where they are, however large."""
    work, url = host.work(tmp_path, "history")
    for number in range(3):
        (work.directory / "big.bin").write_bytes(os.urandom(1_000_000))
        work.push(f"big {number}")
    (work.directory / "big.bin").unlink()
    work.commit({"small.py": "x = 1\n"})
    resolved = resolve(url, None, credentials=())
    assert fetch(resolved, tmp_path / "into", credentials=(), max_bytes=50_000).files == 1


def test_a_second_fetch_of_a_warm_process(project: str, tmp_path: Path) -> None:
    resolved = resolve(project, None, credentials=())
    first, second = (fetch(resolved, tmp_path / name / "deep", credentials=()) for name in ("a", "b"))
    assert (first.tree, first.files) == (second.tree, second.files)
    assert second.root == tmp_path / "b" / "deep"


def test_the_target_must_be_empty(project: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError):
        fetch(resolve(project, None, credentials=()), tmp_path, credentials=())
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "deep/../../outside", ".."])
def test_links_that_leave_the_repository_are_refused(host: Host, tmp_path: Path, target: str) -> None:
    work, url = host.work(tmp_path, "links")
    (work.directory / "deep").mkdir()
    (work.directory / "deep" / "file").write_text("x")
    (work.directory / "evil").symlink_to(target)
    work.push()
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(UnsafeSource, match="evil: the symbolic link leaves the repository"):
        fetch(resolve(url, None, credentials=()), into, credentials=())
    assert list(into.iterdir()) == []


def test_links_that_leave_by_way_of_another_link_are_refused(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "chain")
    (work.directory / "p" / "q").mkdir(parents=True)
    (work.directory / "p" / "q" / "top").symlink_to("../..")
    (work.directory / "evil").symlink_to("p/q/top/../outside")
    work.push()
    with pytest.raises(UnsafeSource, match="evil"):
        fetch(resolve(url, None, credentials=()), tmp_path / "into", credentials=())


def test_submodules_of_which_nothing_is_said_are_left_empty(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "super")
    git(work.directory, "update-index", "--add", "--cacheinfo", f"160000,{host.commits['first']},vendor/lib")
    git(work.directory, "commit", "-q", "-m", "submodule")
    git(work.directory, "push", "-q", "origin", "HEAD")
    snapshot = fetch(resolve(url, None, credentials=()), tmp_path / "into", credentials=())
    assert snapshot.submodules == ("vendor/lib",)
    assert list((snapshot.root / "vendor" / "lib").iterdir()) == []
    assert snapshot.warnings == ("submodule vendor/lib is left empty: .gitmodules does not say where it comes from",)
    with pytest.raises(LambdasmithError, match="if it is a submodule, the warnings say why"):
        select_files(snapshot.root, ".", ["vendor/lib"], [])


def test_lfs_pointers_are_reported_and_never_shipped(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "lfs")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"
    work.commit({"model.bin": pointer, "app.py": "x = 1\n"})
    snapshot = fetch(resolve(url, None, credentials=()), tmp_path / "into", credentials=())
    assert snapshot.lfs_pointers == ("model.bin",)
    assert "the LFS server 127.0.0.1:" in snapshot.warnings[0]
    assert "answers 404" in snapshot.warnings[0]
    assert [name for name, _ in select_files(snapshot.root, ".", ["app.py"], [])] == ["app.py"]
    with pytest.raises(LambdasmithError, match=r"model\.bin: is a Git LFS pointer"):
        select_files(snapshot.root, ".", [], [])


def test_a_file_that_is_too_large_is_named(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "large")
    (work.directory / "zeros.bin").write_bytes(bytes(3_000_000))  # 3 kB as a pack
    work.commit({"small.txt": "x"})
    resolved = resolve(url, None, credentials=())
    with pytest.raises(OutOfSpace, match=r"more than the 1\.0 MB .*zeros\.bin \(3\.0 MB\)"):
        fetch(resolved, tmp_path / "into", credentials=(), max_bytes=1_000_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work-large"], "nothing is left"
    assert fetch(resolved, tmp_path / "into", credentials=(), max_bytes=4_000_000).files == 2


def test_a_transfer_that_is_too_large_is_broken_off(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "noise")
    (work.directory / "noise.bin").write_bytes(os.urandom(2_000_000))
    work.push()
    with pytest.raises(OutOfSpace, match=r"larger than the 0\.5 MB"):
        fetch(resolve(url, None, credentials=()), tmp_path / "into", credentials=(), max_bytes=500_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work-noise"]


# --- who may --------------------------------------------------------------------------------------------------------


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


# --- servers that misbehave -----------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Front:
    """A server of its own origin that answers as `behave` says; `asked` is what it was sent."""

    behave: Callable[[str, dict[str, str]], Answer | None]
    behind: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Front:
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def do_CONNECT(self) -> None:
                front.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.send_error(502)

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                front.asked.append((self.path, dict(headers)))
                status, fields, content = front.behave(self.path, headers) or front.forward(
                    self.command, self.path, headers, body
                )
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                if "Content-Length" not in fields:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        address = urlsplit(self.behind)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        passed = {name: headers[name] for name in headers if name not in ("host", "connection", "content-length")}
        connection.request(method, path, body=body or None, headers=passed)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {"Content-Type": response.getheader("Content-Type", "")}, content


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
        ((418, {}, b""), SourceUnreachable, "418"),
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
            "git protocol|broke off",
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


# --- the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repo", "name", "base", "username", "url"),
    [
        ("https://h.org/a/b.git/", None, "https://github.com/me", "me", "https://h.org/a/b.git"),
        ("a/b", None, "https://github.com/me", "me", "https://github.com/a/b"),
        ("a/b", None, "", None, "https://github.com/a/b"),
        (None, "b", "https://github.com/me", "you", "https://github.com/me/b"),
        (None, "b", "https://github.com/me/", None, "https://github.com/me/b"),
        (None, "b", "https://gitlab.org", "me", "https://gitlab.org/me/b"),
        (None, "b", "", "me", "https://github.com/me/b"),
        (None, "b", "http://127.0.0.1:99", "me", "http://127.0.0.1:99/b"),
    ],
)
def test_repository_urls(repo: str | None, name: str | None, base: str, username: str | None, url: str) -> None:
    assert repository_url(repo, name, base=base, username=username) == url


@pytest.mark.parametrize(
    ("repo", "name", "base", "words"),
    [
        (None, None, "", "repo: missing"),
        (None, "b", "", "has no owner"),
        ("http://h.org/a/b", None, "", "not encrypted"),
        (None, "b", "git@h.org:me", "repo_name:"),
    ],
)
def test_repository_urls_that_cannot_be(repo: str | None, name: str | None, base: str, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        repository_url(repo, name, base=base, username=None)


def test_importing_the_module_does_not_import_dulwich() -> None:
    """`ping` works on the starter layer, where dulwich is a placeholder."""
    code = "import sys, builder.sources.git; print({'dulwich', 'urllib3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


def test_a_known_tree_ends_the_fetch_before_any_file_is_written(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "mono")
    work.commit({"a/x.py": "1\n", "b/y.py": "1\n"})
    before = fetch(resolve(url, None, credentials=()), tmp_path / "one", credentials=(), path="a")
    assert before.subtree == git(work.directory, "rev-parse", "HEAD:a")
    work.commit({"b/y.py": "2\n"})
    resolved = resolve(url, None, credentials=())
    after = fetch(resolved, tmp_path / "two", credentials=(), path="a", known=[before.subtree])
    assert not after.unpacked
    assert not list((tmp_path / "two").iterdir())
    assert (after.tree, after.subtree) == (git(work.directory, "rev-parse", "HEAD^{tree}"), before.subtree)
    changed = fetch(resolved, tmp_path / "three", credentials=(), path="b", known=[before.subtree, ""])
    assert changed.unpacked
    assert fetch(resolved, tmp_path / "four", credentials=(), path="no/such").subtree == ""
