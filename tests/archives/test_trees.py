"""Trees of unpacked zips: the content of the zip whatever happened to other trees, and little work where they share."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.archives.trees import Keeping, unpacked
from builder.archives.zips import Entry, write_zip
from builder.system import process
from builder.workspace.directory import Workspace
from builder.workspace.domains import Domain

BASE = {"python/a/__init__.py": b"", "python/a/b/c.py": b"x = 1\n" * 99, "bin/run": b"#!/bin/sh\n", "top.txt": b"top"}


class Trees:
    """A directory of trees, and the zips that they are made of."""

    def __init__(self, folder: Path, keeping: Keeping) -> None:
        self.keeping, self.kept, self.folder, self.asked = keeping, keeping.folder, folder, 0

    def of(self, files: Mapping[str, bytes]) -> Path:
        [root] = self.of_all(files)
        return root

    def of_all(self, *contents: Mapping[str, bytes]) -> list[Path]:
        archives = {}
        for number, files in enumerate(contents):
            entries = [
                Entry(name=name, source=content, executable=name.startswith("bin/")) for name, content in files.items()
            ]
            path = self.folder / f"made-{number}.zip"
            with path.open("wb") as out:
                sha256 = write_zip(out, entries).sha256
            archives[sha256] = partial(self._asked, path)
        return unpacked(archives, self.keeping)

    def _asked(self, path: Path) -> Path:
        self.asked += 1
        return path


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path, Workspace(tmp_path / "work").trees())


def test_a_tree_is_its_zip_and_is_made_once(trees: Trees) -> None:
    large = os.urandom(1 << 20) * 5
    root = trees.of({**BASE, "large.bin": large})
    assert content(root) == {**BASE, "large.bin": large}
    assert os.access(root / "bin/run", os.X_OK)
    assert not os.access(root / "top.txt", os.X_OK)
    assert {path.stat().st_mode & 0o222 for path in root.rglob("*") if path.is_file()} == {0}
    assert trees.of({**BASE, "large.bin": large}) == root
    assert trees.asked == 1


def test_what_two_trees_share_is_one_file(trees: Trees) -> None:
    first = trees.of(BASE)
    second = trees.of({**BASE, "top.txt": b"TOP", "new.txt": b"new"})
    assert content(second) == {**BASE, "top.txt": b"TOP", "new.txt": b"new"}
    assert content(first) == BASE
    assert (first / "bin/run").samefile(second / "bin/run")
    assert not (first / "top.txt").samefile(second / "top.txt")


@pytest.mark.parametrize("harm", ["written", "longer", "removed", "added", "added below"])
def test_a_tree_that_a_handler_wrote_to_is_made_anew_and_not_linked_to(trees: Trees, harm: str) -> None:
    root = trees.of(BASE)
    path = root / "python/a/b/c.py"
    match harm:
        case "written":
            path.chmod(0o644)
            path.write_bytes(b"x = 2\n" * 99)
        case "longer":
            path.chmod(0o644)
            path.write_bytes(b"longer" * 999)
        case "removed":
            path.unlink()
        case "added":
            (root / "new.py").write_text("")
        case _:
            (root / "python/a/b/new.py").write_text("")
    other = {**BASE, "other.txt": b"other"}
    assert content(trees.of(other)) == other
    assert content(trees.of(BASE)) == BASE


def test_an_interrupted_or_failed_making_leaves_nothing_to_be_found(trees: Trees, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zip"
    with damaged.open("wb") as out:
        write_zip(out, [Entry(name="a.txt", source=b"content " * 99)])
    data = bytearray(damaged.read_bytes())
    data[40] ^= 1
    damaged.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    with pytest.raises(zipfile.BadZipFile):
        unpacked({sha256: lambda: damaged}, trees.keeping)
    assert not list(trees.kept.iterdir())


def test_trees_that_nobody_used_lately_go(trees: Trees) -> None:
    roots = [trees.of({"number.txt": str(number).encode()}) for number in range(5)]
    for root in roots:
        os.utime(root.parent, (time.time() - 3600,) * 2)
    trees.of({"number.txt": b"0"})
    assert roots[0].exists()
    assert len(list(trees.kept.iterdir())) == 3


@settings(max_examples=30)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b/c", "b/d/e", "b/d/f", "g/h"]), st.sampled_from([b"", b"1", b"2" * 99]), min_size=1
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_was_there_before_a_tree_is_its_zip(
    tmp_path_factory: pytest.TempPathFactory, zips: list[dict[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    trees = Trees(folder, Workspace(folder / "work").trees())
    for files in zips:
        assert content(trees.of(files)) == files


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    process.forget_foreign_code()
    return Workspace(tmp_path / "lambdasmith", sealed=True)


def test_code_that_forges_dates_does_not_get_its_file_into_the_next_trial(place: Workspace, tmp_path: Path) -> None:
    place.enter(Domain(name="one"))
    trees = Trees(tmp_path, place.trees())
    root = trees.of(BASE)
    assert trees.of(BASE) == root
    assert trees.asked == 1
    shared = trees.of({**BASE, "new.txt": b"new"})  # linked to the same files
    path, state = root / "top.txt", (root / "top.txt").stat()
    process.run(["true"], cwd=tmp_path, environment={}, timeout_s=5, what="it")
    path.chmod(0o644)
    path.write_bytes(b"bad")
    path.chmod(0o444)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (shared / "top.txt").read_bytes() == b"bad"
    place.enter(Domain(name="one"))
    assert content(trees.of(BASE)) == BASE
    assert content(trees.of({**BASE, "new.txt": b"new"})) == {**BASE, "new.txt": b"new"}


def test_what_nobody_has_written_to_outlives_another_projects_build(place: Workspace, tmp_path: Path) -> None:
    place.enter(Domain(name="one"))
    trees = Trees(tmp_path, place.trees())
    root = trees.of(BASE)
    process.run(["true"], cwd=tmp_path, environment={}, timeout_s=5, what="it")
    place.enter(Domain(name="another"))
    assert trees.of(BASE) == root
    assert trees.asked == 1


def test_a_tree_is_there_though_an_old_one_that_shares_its_files_goes(place: Workspace, tmp_path: Path) -> None:
    """A builder that was idle for a while removes old trees, which changes the state of files that others share."""
    place.enter(Domain(name="one"))
    trees = Trees(tmp_path, place.trees())
    old = [trees.of({**BASE, "old.txt": str(number).encode()}) for number in range(4)]
    trees.of(BASE)
    for root in old:
        os.utime(root.parent, (time.time() - 3600,) * 2)
    layer = {"python/layer.py": b"LAYER = 1\n"}
    first, second = trees.of_all(BASE, layer)
    assert (content(first), content(second)) == (BASE, layer)
    asked = trees.asked
    assert trees.of_all(BASE, layer) == [first, second]
    assert trees.asked == asked
