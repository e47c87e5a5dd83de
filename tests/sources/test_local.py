"""Which files a component gets, and that nothing gets out of a tree: selecting and checking out."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import LambdasmithError, OutOfSpace, PathNotFound, SourceError, UnsafeSource
from builder.sources.checkout import write_tree
from builder.sources.local import select_files
from builder.sources.objects import Content

SRC = {
    "src/app.py": "",
    "src/util.py": "",
    "src/.env": "secret",
    "src/pkg/__init__.py": "",
    "src/pkg/deep/mod.py": "",
    "src/pkg/deep/mod_test.py": "",
    "src/pkg/__pycache__/mod.cpython-313.pyc": "",
    "src/pkg/old.pyc": "",
    "src/img/a.png": "",
    "src/img/b.png": "",
    "src/img/ab.png": "",
    "src/.git/config": "",
    "shared/common.py": "",
    "outside.txt": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in SRC.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("key")
    return tmp_path / "project"


def names(root: Path, *files: str, source_dir: str = "src", exclude: tuple[str, ...] = ()) -> list[str]:
    return [name for name, _ in select_files(root, source_dir, files, exclude)]


EVERYTHING = sorted(
    name.removeprefix("src/")
    for name in SRC
    if name.startswith("src/") and not re.search(r"\.pyc$|/\.git/|__pycache__", name)
)


@pytest.mark.parametrize(
    ("files", "selected"),
    [
        ((), EVERYTHING),
        ((".",), EVERYTHING),
        (("app.py",), ["app.py"]),
        (("./app.py", "app.py"), ["app.py"]),
        (("pkg",), ["pkg/__init__.py", "pkg/deep/mod.py", "pkg/deep/mod_test.py"]),
        (("pkg/",), ["pkg/__init__.py", "pkg/deep/mod.py", "pkg/deep/mod_test.py"]),
        (("*.py",), ["app.py", "util.py"]),
        (("**/*.py",), ["app.py", "pkg/__init__.py", "pkg/deep/mod.py", "pkg/deep/mod_test.py", "util.py"]),
        (("pkg/**",), ["pkg/__init__.py", "pkg/deep/mod.py", "pkg/deep/mod_test.py"]),
        (("pkg/*",), ["pkg/__init__.py", "pkg/deep/mod.py", "pkg/deep/mod_test.py"]),
        (("img/?.png",), ["img/a.png", "img/b.png"]),
        (("img/[!a].png",), ["img/b.png"]),
        (("img/[a-b]*.png",), ["img/a.png", "img/ab.png", "img/b.png"]),
        (("i*",), ["img/a.png", "img/ab.png", "img/b.png"]),
        ((".env",), [".env"]),
        ((".e*",), [".env"]),
        (("util.py", "app.py"), ["app.py", "util.py"]),
    ],
)
def test_entries(root: Path, files: tuple[str, ...], selected: list[str]) -> None:
    assert names(root, *files) == selected


@pytest.mark.parametrize(
    ("files", "shipped"),
    [
        ((), ["app.py"]),
        ((".", "conf", "**"), ["app.py"]),
        ((".n*", "app.py"), ["app.py"]),
        (("./.npmrc",), [".npmrc"]),
        (("", "**/.npmrc"), [".npmrc", "app.py", "conf/.npmrc"]),
    ],
)
def test_npms_settings_are_shipped_only_where_they_are_named(
    tmp_path: Path, files: tuple[str, ...], shipped: list[str]
) -> None:
    for name in (".npmrc", "conf/.npmrc", "conf/.NPMRC", "app.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [name for name, _ in select_files(tmp_path, ".", files, ())] == shipped
    looked_at = {name for name, _ in select_files(tmp_path, ".", files, (), to_ship=False)}
    assert set(shipped) <= looked_at
    assert files or ".npmrc" in looked_at, "npm needs them"


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        (("*_test.py",), {"pkg/deep/mod_test.py"}),
        (("pkg/deep",), {"pkg/deep/mod.py", "pkg/deep/mod_test.py"}),
        (("deep/",), {"pkg/deep/mod.py", "pkg/deep/mod_test.py"}),
        (("pkg/*/mod.py",), {"pkg/deep/mod.py"}),
        (("deep/mod.py",), set()),
        ((".*",), {".env"}),
        (("*",), set(EVERYTHING)),
    ],
)
def test_exclusions(root: Path, exclude: tuple[str, ...], gone: set[str]) -> None:
    assert set(names(root, exclude=exclude)) == set(EVERYTHING) - gone


def test_paths_on_disk_are_real_and_readable(root: Path) -> None:
    (root / "src" / "link.py").symlink_to("../shared/common.py")
    (root / "src" / "linked").symlink_to("../shared")
    selected = dict(select_files(root, "src", ["link.py", "linked"], ()))
    assert set(selected) == {"link.py", "linked/common.py"}
    assert set(selected.values()) == {(root / "shared" / "common.py").resolve()}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("utli.py", r"'utli\.py' does not exist; did you mean util\.py\?"),
        ("mod.py", r"did you mean pkg/deep/mod\.py\?"),
        ("templates/", r"'templates/' does not exist$"),
        ("*.html", r"'\*\.html' matches nothing"),
        ("app.py/", "is a file, not a directory"),
        ("pkg/old.pyc", "never packaged"),
        ("empty", "is an empty directory"),
    ],
)
def test_entries_that_select_nothing_say_why(root: Path, entry: str, words: str) -> None:
    (root / "src" / "empty").mkdir()
    with pytest.raises(PathNotFound) as caught:
        names(root, "app.py", entry)
    assert len(caught.value.problems) == 1
    assert re.search(words, caught.value.problems[0])


def test_all_missing_entries_come_together(root: Path) -> None:
    with pytest.raises(PathNotFound) as caught:
        names(root, "one", "app.py", "two")
    assert len(caught.value.problems) == 2


def test_a_source_dir_that_is_not_there(root: Path) -> None:
    with pytest.raises(PathNotFound, match=r"source_dir: 'scr' is not a directory; did you mean src\?"):
        names(root, "app.py", source_dir="scr")


@pytest.mark.parametrize(
    ("source_dir", "files"),
    [
        ("..", ()),
        ("../private", ()),
        ("src", ("../outside.txt",)),
        ("src", ("/etc/passwd",)),
        ("src", ("pkg/../../outside.txt",)),
        ("src", ("../*.txt",)),
        ("src", ("out",)),
        ("src", ("outdir",)),
        ("src", ("*",)),
        ("src", ("outdir/key",)),
        ("src", ()),
        ("outroot", ()),
        ("src", ("nowhere",)),
    ],
)
def test_nothing_leaves_the_project(root: Path, source_dir: str, files: tuple[str, ...]) -> None:
    (root / "src" / "out").symlink_to("../../private/key")
    (root / "src" / "outdir").symlink_to("../../private")
    (root / "outroot").symlink_to("../private")
    (root / "src" / "nowhere").symlink_to("missing")
    with pytest.raises(UnsafeSource):
        select_files(root, source_dir, files, ())


def test_links_that_go_round_are_refused_where_they_are_wanted(root: Path) -> None:
    (root / "src" / "pkg" / "back").symlink_to("..")
    with pytest.raises(UnsafeSource, match="pkg/back: the symbolic link leads back"):
        names(root, "pkg")
    assert "pkg/deep/mod.py" in names(root, "**/*.py")


def test_lfs_pointers_are_refused_unless_excluded(root: Path) -> None:
    (root / "src" / "model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(SourceError, match=r"model\.bin: is a Git LFS pointer") as caught:
        names(root)
    assert "exclude it" in caught.value.hint
    assert names(root, exclude=("*.bin",)) == EVERYTHING
    looked_at = [name for name, _ in select_files(root, "src", (), (), to_ship=False)]
    assert looked_at == sorted([*EVERYTHING, "model.bin"])


def test_pipes_are_refused(root: Path) -> None:
    os.mkfifo(root / "src" / "pipe")
    with pytest.raises(UnsafeSource, match="neither a file nor a directory"):
        names(root)


patterns = st.text(alphabet="abpy.*?[]!-^/\\&|~", max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(patterns | st.text(max_size=6), max_size=3), st.lists(patterns, max_size=2), patterns)
def test_any_entries_stay_inside_or_are_refused(root: Path, files: list[str], exclude: list[str], where: str) -> None:
    for source_dir in ("src", where):
        try:
            selected = select_files(root, source_dir, files, exclude)
        except LambdasmithError:
            continue
        assert [name for name, _ in selected] == sorted({name for name, _ in selected})
        for name, path in selected:
            assert path.is_relative_to(root.resolve())
            assert not {"..", ".git", "", "__pycache__"} & set(name.split("/"))


# --- checking out -----------------------------------------------------------------------------------------------------


class Objects:
    """A store of git objects, good and bad."""

    def __init__(self) -> None:
        self.by_id: dict[str, tuple[str, bytes]] = {}

    def add(self, kind: str, content: bytes) -> str:
        object_id = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content).hexdigest()
        self.by_id[object_id] = (kind, content)
        return object_id

    def tree(self, *entries: tuple[int, bytes, str]) -> str:
        raw = b"".join(b"%o %s\0" % (mode, name) + bytes.fromhex(child) for mode, name, child in entries)
        return self.add("tree", raw)

    def read(self, object_id: str) -> Content:
        kind, content = self.by_id[object_id]
        return Content(kind=kind, size=len(content), chunks=(content,))


FILE, RUN, LINK, DIRECTORY, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (b"..", FILE),
        (b".", DIRECTORY),
        (b"", FILE),
        (b".git", DIRECTORY),
        (b".GiT", FILE),
        (b"a/b", FILE),
        (b"/etc", FILE),
        (b"..\\x", FILE),
        (b"\xff", FILE),
        (b"x", 0o100600),
        (b"x", 0o010000),
    ],
)
def test_trees_with_evil_entries_are_refused(tmp_path: Path, name: bytes, mode: int) -> None:
    objects = Objects()
    child = objects.tree() if mode == DIRECTORY else objects.add("blob", b"x")
    with pytest.raises(UnsafeSource):
        write_tree(objects.tree((mode, name, child)), objects.read, tmp_path, mtime=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("second", [FILE, DIRECTORY, SUBMODULE, LINK])
def test_nothing_is_written_through_a_link(tmp_path: Path, second: int) -> None:
    """The classic attack: `x` is a link out of the tree, and then a directory with files."""
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    into.mkdir()
    objects = Objects()
    blob, link = objects.add("blob", b"owned"), objects.add("blob", b"../outside")
    child = objects.tree((FILE, b"owned", blob)) if second == DIRECTORY else link
    tree = objects.tree((LINK, b"x", link), (second, b"x", child))
    with pytest.raises(UnsafeSource):
        write_tree(tree, objects.read, into, mtime=0)
    assert list(outside.iterdir()) == []


def test_a_chain_of_more_links_than_are_followed_is_refused(tmp_path: Path) -> None:
    objects = Objects()
    links = [(LINK, b"l%05d" % number, objects.add("blob", b"l%05d" % (number + 1))) for number in range(100)]
    with pytest.raises(UnsafeSource, match="leaves the repository"):
        write_tree(objects.tree(*links), objects.read, tmp_path, mtime=0)


def test_a_name_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    objects = Objects()
    with pytest.raises(UnsafeSource, match="may have that name"):
        write_tree(objects.tree((FILE, b"n" * 256, objects.add("blob", b""))), objects.read, tmp_path, mtime=0)


def test_objects_that_are_not_what_their_id_says_are_refused(tmp_path: Path) -> None:
    objects = Objects()
    blob = objects.add("blob", b"good")
    tree = objects.tree((FILE, b"a", blob))
    objects.by_id[blob] = ("blob", b"evil")
    with pytest.raises(UnsafeSource, match="damaged"):
        write_tree(tree, objects.read, tmp_path, mtime=0)
    del objects.by_id[blob]
    with pytest.raises(UnsafeSource, match="did not send"):
        write_tree(objects.tree((FILE, b"b", blob)), objects.read, tmp_path, mtime=0)


def test_a_tree_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    """A "git bomb": few objects, 10 ** 8 files."""
    objects = Objects()
    tree = objects.tree(*((FILE, b"%d" % number, objects.add("blob", b"")) for number in range(10)))
    for _ in range(7):
        tree = objects.tree(*((DIRECTORY, b"%d" % number, tree) for number in range(10)))
    with pytest.raises(OutOfSpace, match="more than 1,000 files"):
        write_tree(tree, objects.read, tmp_path, mtime=0, max_entries=1_000)


def test_a_tree_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    objects = Objects()
    tree = objects.tree((FILE, b"f", objects.add("blob", b"")))
    for _ in range(200):
        tree = objects.tree((DIRECTORY, b"d", tree))
    with pytest.raises(UnsafeSource, match="directories deep"):
        write_tree(tree, objects.read, tmp_path, mtime=0)


entry_names = st.sampled_from([b"a", b"b", b"..", b".git", b"l", b"a\\b", "é".encode(), b"\xfe"]) | st.binary(
    max_size=4
)
targets = st.sampled_from([b"a", b"..", b"../..", b"/etc", b"l/../..", b"a/../../x", b"", b"l", b".", b"a\0b"])
modes = st.sampled_from([FILE, RUN, LINK, DIRECTORY, SUBMODULE, 0o100600])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(st.lists(st.tuples(modes, entry_names, targets), max_size=4), min_size=1, max_size=4), st.data())
def test_any_tree_stays_inside_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, levels: list[list[tuple[int, bytes, bytes]]], data: st.DataObject
) -> None:
    around = tmp_path_factory.mktemp("around")
    into = around / "into"
    into.mkdir()
    objects = Objects()
    tree = objects.tree()
    for level in levels:
        entries = [
            (mode, name.replace(b"\0", b""), tree if mode == DIRECTORY else objects.add("blob", target))
            for mode, name, target in level
        ]
        tree = objects.tree(*entries)
    if data.draw(st.booleans()):
        raw = objects.by_id[tree][1]
        tree = objects.add("tree", raw[: data.draw(st.integers(0, len(raw)))] + data.draw(st.binary(max_size=8)))
    try:
        done = write_tree(tree, objects.read, into, mtime=0, max_bytes=1_000)
    except LambdasmithError:
        pass
    else:
        for path in into.rglob("*"):
            assert Path(os.path.realpath(path)).is_relative_to(into)
        assert done.files == sum(1 for path in into.rglob("*") if path.is_symlink() or path.is_file())
    assert [path.name for path in around.iterdir()] == ["into"]


names_of_paths = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=4).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(names_of_paths, max_size=12), st.sets(names_of_paths, max_size=3))
def test_only_what_was_chosen_is_written_with_all_below_it(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], chosen: set[str]
) -> None:
    files = {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    objects, into = Objects(), tmp_path_factory.mktemp("into")

    def tree(prefix: str) -> str:
        below = sorted({path.removeprefix(prefix).partition("/")[0] for path in files if path.startswith(prefix)})
        return objects.tree(
            *(
                (FILE, name.encode(), objects.add("blob", f"{prefix}{name}".encode()))
                if f"{prefix}{name}" in files
                else (DIRECTORY, name.encode(), tree(f"{prefix}{name}/"))
                for name in below
            )
        )

    done = write_tree(tree(""), objects.read, into, mtime=0, choose=lambda listed: chosen)
    wanted = {path for path in files if any(f"{path}/".startswith(f"{each}/") for each in chosen)}
    assert {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()} == wanted
    assert (done.files, done.whole) == (len(wanted), False)
    assert files <= done.listed.ids.keys()
