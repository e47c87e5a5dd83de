"""Of a large repository that is known to be one, only the content of the files that are needed is fetched."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from builder.sources.git import Snapshot, fetch, resolve
from tests.sources.forge import Answer, Front, Host, git

Read = Callable[[str], bytes]


def void(_: object) -> None: ...


def noise(seed: int) -> str:
    return random.Random(seed).randbytes(300).hex()


class Large:
    """A repository of 1,200 files behind a front that counts; each fetch is of a new environment, or in `cache`."""

    def __init__(self, host: Host, tmp_path: Path) -> None:
        self.work, _ = host.work(tmp_path, "large")
        files = {f"fn/f{number}/app.py": noise(number) for number in range(400)}
        files |= {f"docs/{number}/page.md": noise(1000 + number) for number in range(400)}
        files |= {"build.yaml": "x: 1\n", "fn/f7/requirements.txt": "idna\n", "fn/f8/requirements.txt": "six\n"}
        self.work.commit(files)
        self.tmp_path, self.cache = tmp_path, tmp_path / "cache"
        self.cache.mkdir()
        self.sizes: list[int] = []
        self.no_filter = False
        self.front = Front(self._behave, host.public)
        forward = self.front.forward

        def counting(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
            status, fields, content = forward(method, path, headers, body)
            assert isinstance(content, bytes)
            if b"want" in body:
                self.sizes.append(len(content))
            if self.no_filter:
                content = content.replace(b"shallow wait-for-done filter", b"shallow wait-for-done       ")
            return status, fields, content

        self.front.forward = counting  # type: ignore[method-assign]
        self.behave: Callable[[dict[str, str]], None] = lambda headers: None

    def _behave(self, path: str, headers: dict[str, str]) -> None:
        self.behave(headers)

    def fetch(self, *needed: str, large: bool = True, cached: bool = False) -> Snapshot:
        """Fetch what the build file, the requirements and `needed` name; everything if that is nothing."""

        def choose(snapshot: Snapshot, read: Read) -> Collection[str] | None:
            assert read("build.yaml").startswith(b"x:")
            assert read("fn/f7/requirements.txt") == b"idna\n"
            return {"build.yaml", *needed} if needed else None

        into = self.tmp_path / f"into-{len(list(self.tmp_path.iterdir()))}"
        return fetch(
            resolve(f"{self.front.url}/large.git", "trunk"),
            into,
            cache=self.cache if cached else None,
            choose=choose,
            is_large=lambda: large,
        )

    def check(self, snapshot: Snapshot, *needed: str) -> None:
        """Compare what was written with git's own checkout."""
        paths = [path for path in snapshot.root.rglob("*") if path.is_file()]
        found = {path.relative_to(snapshot.root).as_posix(): path.read_text() for path in paths}
        names = git(self.work.directory, "ls-files", *needed).split("\n")
        assert found == {name: (self.work.directory / name).read_text() for name in names}


@pytest.fixture
def large(host: Host, tmp_path: Path) -> Large:
    return Large(host, tmp_path)


def test_only_what_is_needed_is_sent(large: Large) -> None:
    with large.front:
        large.check(large.fetch("fn/f7", large=False), "build.yaml", "fn/f7")
        large.check(large.fetch("fn/f7"), "build.yaml", "fn/f7")
    whole, trees, first, files = large.sizes
    assert trees + first + files < whole / 3, large.sizes
    assert files < 1000, "one file"
    assert first < 1500, "the build file, and all requirements with it"


def test_what_follows_fetches_what_is_new_and_what_it_lacks(large: Large) -> None:
    with large.front:
        large.fetch("fn/f7", cached=True)
        del large.sizes[:]
        large.check(large.fetch("fn/f7", cached=True), "build.yaml", "fn/f7")
        assert sum(large.sizes) < 300, "all of it is there"
        large.work.commit({"fn/f7/app.py": noise(7) + "#", "docs/9/page.md": "new\n"})
        del large.sizes[:]
        large.check(large.fetch("fn/f7", cached=True), "build.yaml", "fn/f7")
        assert sum(large.sizes) < 3000, large.sizes
        large.check(large.fetch("fn/f7", "fn/f9", cached=True), "build.yaml", "fn/f7", "fn/f9")


def test_everything_is_there_where_everything_is_needed(large: Large) -> None:
    with large.front:
        large.check(large.fetch())
        large.fetch("fn/f7", cached=True)
        large.check(large.fetch(cached=True))
        url = f"{large.front.url}/large.git"
        large.fetch("fn/f8", cached=True)
        # Who does not choose does not take what is there in part.
        large.check(fetch(resolve(url, "trunk"), large.tmp_path / "all", cache=large.cache))


@pytest.mark.parametrize("why", ["no filter", "protocol 0"])
def test_a_server_that_cannot_leave_files_out_sends_them_once(large: Large, why: str) -> None:
    large.no_filter = why == "no filter"
    if why == "protocol 0":
        large.behave = lambda headers: void(headers.pop("git-protocol", None))
    with large.front:
        large.check(large.fetch("fn/f7"), "build.yaml", "fn/f7")
    assert len(large.sizes) == 1


def test_a_server_that_sends_no_single_files_sends_the_commit(large: Large) -> None:
    def refusing(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if body.count(b"want ") > 1 or (b"want " in body and b"deepen" not in body):
            return (
                200,
                {"Content-Type": "application/x-git-upload-pack-result"},
                b"0036ERR upload-pack: not our ref 1234567890123456789012",
            )
        return forward(method, path, headers, body)

    forward = large.front.forward
    large.front.forward = refusing  # type: ignore[method-assign]
    with large.front:
        large.check(large.fetch("fn/f7"), "build.yaml", "fn/f7")


def test_a_large_submodule_is_whole(host: Host, large: Large, tmp_path: Path) -> None:
    """Even one with a build file of its own: what is chosen are files of the project around it."""
    outer, _ = host.work(tmp_path, "outer")
    outer.commit({"build.yaml": "x: 1\n", "fn/f7/requirements.txt": "idna\n"})
    git(
        outer.directory,
        *("-c", "protocol.file.allow=always", "submodule", "add", "-q", f"{host.public}/large.git", "lib"),
    )
    outer.push()
    choose = lambda snapshot, read: {"build.yaml"}  # noqa: E731
    snapshot = fetch(resolve(f"{host.public}/outer.git", "trunk"), tmp_path / "outer", choose=choose)
    assert (snapshot.root / "lib/docs/9/page.md").read_text() == noise(1009)
