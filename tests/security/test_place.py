"""What a build makes of the builder's own place in /tmp is no hindrance to the builds of others that come after it"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.store.directory import DirectoryStore
from builder.system import process
from builder.workshop.caches import BuildCache
from builder.workspace.directory import Workspace, distrust
from builder.workspace.domains import Domain

OURS, THEIRS = Domain(name="repository ours"), Domain(name="repository theirs")
WAYS = ("a link to itself", "a link to nothing", "a link elsewhere", "a file", "a pipe", "a socket")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    distrust()
    process.forget_foreign_code()
    yield Workspace(temporary / "lambdasmith", sealed=True, temporary=temporary)
    distrust()


def put(way: str, path: Path, elsewhere: Path) -> None:
    """Something in the place of a directory."""
    match way:
        case "a link to itself":
            path.symlink_to(path.name)
        case "a link to nothing":
            path.symlink_to("not-there")
        case "a link elsewhere":
            elsewhere.mkdir()
            (elsewhere / "somebodys").write_text("own")
            path.symlink_to(elsewhere)
        case "a file":
            path.write_text("")
        case "a pipe":
            os.mkfifo(path)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", [".", "cache", "cache/wheels", "scratch", "build", "build.lock"])
def test_what_stands_in_the_place_of_a_directory_is_no_hindrance(
    what: str, way: str, place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    place.enter(THEIRS)
    place.cached("wheels")
    with place.scratch():
        pass
    process.note_foreign_code()
    path = place.root / what
    if path.is_dir():
        path.rename(tmp_path / "tmp" / "moved")
    path.parent.mkdir(parents=True, exist_ok=True)
    put(way, Path(os.path.relpath(path)), tmp_path / "elsewhere")
    place.enter(OURS)
    with place.scratch() as scratch, place.build_place() as folder:
        (place.cached("wheels") / "one").write_text("1")
        assert list(scratch.iterdir()) == list(folder.iterdir()) == []
    assert not place.root.is_symlink()
    if way == "a link elsewhere":
        assert (tmp_path / "elsewhere" / "somebodys").read_text() == "own"


def test_what_comes_back_of_a_cache_is_foreign_before_anything_has_run(place: Workspace, tmp_path: Path) -> None:
    """A build may end between the two, and the next is another domain's."""

    def cache(root: Path) -> BuildCache:
        return BuildCache(root=root, workspace=place, store=DirectoryStore(tmp_path / "store"), name="go")

    first = cache(tmp_path / "first")
    first.restore()
    (first.folder / "made").write_text("by foreign code")
    first.keep("lock")
    place.enter(THEIRS)
    second = cache(place.cached("builds"))
    second.restore()
    assert (second.folder / "made").exists()
    place.enter(OURS)
    assert not second.folder.exists()


def test_what_a_build_has_put_beside_is_removed_at_its_own_expense(place: Workspace, tmp_path: Path) -> None:
    place.enter(THEIRS)
    beside = tmp_path / "tmp" / "beside"
    with place.scratch():
        beside.mkdir()
        (beside / "one").write_text("of millions")
    assert not beside.exists()
