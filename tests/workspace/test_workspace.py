"""What foreign code has left in the builder's place is gone when another domain's build begins, whatever its modes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import SourceChanged
from builder.making.untouched import Untouched
from builder.system import process, seals
from builder.system.removal import remove
from builder.workspace.directory import Workspace
from builder.workspace.domains import Domain

ONE, OTHER = Domain(name="repository https://a"), Domain(name="repository https://b")
ARCHIVE = Domain(name="function f", keeps=False)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    process.forget_foreign_code()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    yield Workspace(temporary / "lambdasmith", sealed=True, temporary=temporary)
    remove(temporary)


def foreign(tmp_path: Path) -> None:
    """Run something that is not vouched for."""
    process.run(["true"], cwd=tmp_path, environment={}, timeout_s=5, what="it")


def test_only_what_was_sealed_survives_another_domains_build(tmp_path: Path, place: Workspace) -> None:
    place.enter(ONE)
    kept, planted = place.cached("parts") / "kept.zip", place.cached("builds") / "known-name" / "object"
    kept.write_text("ours")
    place.seal(kept)
    foreign(tmp_path)
    planted.parent.mkdir(parents=True)
    planted.write_text("theirs")
    (tmp_path / "tmp" / "beside").write_text("theirs")
    place.enter(ONE)
    assert planted.exists()
    assert not (tmp_path / "tmp" / "beside").exists()
    place.enter(OTHER)
    assert not planted.exists()
    assert place.intact(kept)


@pytest.mark.parametrize("how", ["written", "replaced", "link", "directory"])
def test_a_sealed_file_that_was_changed_is_none(how: str, tmp_path: Path, place: Workspace) -> None:
    place.enter(ONE)
    kept, other = place.cached("parts") / "kept.zip", tmp_path / "other"
    kept.write_text("ours")
    other.write_text("ours")
    place.seal(kept)
    foreign(tmp_path)
    kept.unlink()
    match how:
        case "written" | "replaced":
            kept.write_text("them" if how == "written" else "replaced")
        case "link":
            kept.symlink_to(other)
        case _:
            kept.mkdir()
    place.enter(OTHER)
    assert not place.intact(kept)
    assert not kept.exists()


def test_a_sealed_tree_is_compared_once_foreign_code_has_run(tmp_path: Path, place: Workspace) -> None:
    place.enter(ONE)
    tool = place.cached("tools") / "tool"
    (tool / "bin").mkdir(parents=True)
    (tool / "bin" / "cc").write_text("ours")
    (tool / "bin" / "link").symlink_to("cc")
    place.seal_tree(tool)
    foreign(tmp_path)
    place.enter(OTHER)
    assert place.intact_tree(tool)
    foreign(tmp_path)
    (tool / "bin" / "ld").write_text("planted")
    place.enter(ONE)
    assert not place.intact_tree(tool)
    assert not tool.exists()


def test_of_an_archives_build_nothing_is_left_for_the_next_one(tmp_path: Path, place: Workspace) -> None:
    place.enter(ARCHIVE)
    foreign(tmp_path)
    (place.cached("uv") / "wheel").write_text("made by code")
    place.enter(ARCHIVE)
    assert not (place.cache / "uv" / "wheel").exists()


@pytest.mark.parametrize("mode", [0, 0o300, 0o400])
def test_directories_that_cannot_be_listed_do_not_end_later_builds(mode: int, tmp_path: Path, place: Workspace) -> None:
    place.enter(ONE)
    foreign(tmp_path)
    with place.scratch() as scratch, place.build_place() as folder:
        for root in (scratch, folder, place.cached("builds")):
            (root / "a" / "b").mkdir(parents=True)
            (root / "a" / "b" / "file").touch()
            (root / "a" / "b").chmod(mode)
            (root / "a").chmod(mode)
    place.root.chmod(mode)
    place.enter(ONE)
    place.enter(OTHER)
    with place.scratch() as scratch, place.build_place() as folder:
        assert list(scratch.iterdir()) == list(folder.iterdir()) == []
    assert list(place.cached("builds").iterdir()) == []


def test_a_chain_of_directories_that_no_path_can_name_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove(root)
    assert not root.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    remove(tmp_path / "root")
    (tmp_path / "top").symlink_to(tmp_path / "outside")
    remove(tmp_path / "top")
    assert [path.name for path in tmp_path.rglob("*")] == ["outside", "kept"]


TREES = st.recursive(
    st.sampled_from(["file", "link", "pipe"]),
    lambda inner: st.tuples(st.sampled_from([0, 0o300, 0o500, 0o700]), st.lists(inner, max_size=3)),
    max_leaves=12,
)


def grow(path: Path, tree: object) -> None:
    match tree:
        case "file":
            path.touch(mode=0)
        case "link":
            path.symlink_to("/")
        case "pipe":
            os.mkfifo(path)
        case (int() as mode, list() as children):
            path.mkdir()
            for number, child in enumerate(children):
                grow(path / str(number), child)
            path.chmod(mode)


@given(tree=TREES)
def test_whatever_was_left_is_removed(tree: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("left")
    grow(folder / "it", tree)
    remove(folder / "it")
    assert list(folder.iterdir()) == []


def test_the_project_is_compared_with_what_it_was_before_code_ran(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "app.py").write_text("as committed")
    (root / "pkg" / "b.py").write_text("as committed")
    before = Untouched(root)
    before.check("nothing ran")
    before.note()
    before.check("building a")
    state = (root / "app.py").stat()
    with (root / "app.py").open("r+") as file:
        file.write("by another")
    os.utime(root / "app.py", ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(SourceChanged, match=r"building a: .*app\.py"):
        before.check("building a")
    (root / "app.py").write_text("as committed")
    before = Untouched(root)
    before.note()
    (root / "pkg" / "new.py").touch()
    with pytest.raises(SourceChanged, match=r"pkg/new\.py"):
        before.check("building b")


def test_seals_know_modes_of_programs(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    program = tmp_path / "tree" / "cc"
    program.write_text("x")
    seals.seal_tree(tmp_path / "tree")
    seals.compare_again()
    program.chmod(program.stat().st_mode | stat.S_ISUID)
    assert not seals.is_intact_tree(tmp_path / "tree")
