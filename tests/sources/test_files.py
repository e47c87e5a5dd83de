"""What a commit is on disk afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import (
    LambdasmithError,
    OutOfSpace,
    RefNotFound,
    UnsafeSource,
)
from builder.sources.git import Snapshot, fetch, resolve
from builder.sources.local import select_files
from tests.sources.forge import Host, git


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
        ids=_listed(host.root / "project.git", tree),
        links=frozenset({"link", "pkg/up"}),
        executables=frozenset({"run.sh"}),
    )
    found = sorted(path.relative_to(into).as_posix() for path in into.rglob("*"))
    assert found == ["größe.txt", "handler.py", "link", "pkg", "pkg/data.txt", "pkg/up", "run.sh"]
    assert (into / "handler.py").read_text() == "VERSION = 2\n"
    assert (into / "link").is_symlink()
    assert (into / "link").read_text() == "data\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["into"], "the pack is gone"


def _listed(repository: Path, tree: str) -> dict[str, str]:
    """The ids of all files and directories, as git itself lists them."""
    lines = git(repository, "-c", "core.quotePath=false", "ls-tree", "-r", "-t", tree).splitlines()
    return {path: said.split()[2] for said, _, path in (line.partition("\t") for line in lines)}


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


def test_of_a_large_repository_only_what_was_chosen_is_written(host: Host, tmp_path: Path) -> None:
    work, url = host.work(tmp_path, "large")
    work.commit({f"other/{number % 7}/{number}.txt": f"{number}\n" for number in range(1_000)} | {"app/app.py": "A\n"})
    asked: list[bytes] = []

    def choose(snapshot: Snapshot, read: Callable[[str], bytes]) -> set[str]:
        asked.append(read("app/app.py"))
        assert snapshot.id_of("other/3/3.txt")
        return {"app", "other/3/3.txt"}

    some = fetch(resolve(url, None, credentials=()), tmp_path / "some", credentials=(), choose=choose)
    files = sorted(path.relative_to(some.root).as_posix() for path in some.root.rglob("*") if path.is_file())
    assert (asked, files, some.whole, some.files) == ([b"A\n"], ["app/app.py", "other/3/3.txt"], False, 2)
    everything = fetch(resolve(url, None, credentials=()), tmp_path / "all", credentials=(), choose=lambda *_: None)
    assert (everything.whole, everything.files, everything.tree) == (True, 1_001, some.tree)
    # A small one is written whole, and no one is asked.
    work, url = host.work(tmp_path, "small")
    work.commit({"app/app.py": "A\n", "other.txt": ""})
    small = fetch(resolve(url, None, credentials=()), tmp_path / "small", credentials=(), choose=choose)
    assert (len(asked), small.whole, small.files) == (1, True, 2)
