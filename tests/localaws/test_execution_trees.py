"""Zips become directories as on Lambda, once, and never outside their own."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localaws.runtime.trees import BadArchive, extract, merge

Entry = tuple[str, int, bytes]
FILE, LINK = stat.S_IFREG, stat.S_IFLNK


def _zip(path: Path, entries: Sequence[Entry], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, mode, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16 or 0x20, method  # 0x20: all that DOS has to say
            archive.writestr(info, content)
    return path


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[Sequence[Entry]], Path]:
    return lambda entries: extract(_zip(tmp_path / "a.zip", entries), tmp_path / "cache")


def test_content_modes_folders_and_links(tmp_path: Path) -> None:
    entries = [
        ("app.py", FILE | 0o644, b"x = 1"),
        ("bin/tool", FILE | 0o755, b"#!/bin/sh"),
        ("empty/", stat.S_IFDIR | 0o755, b""),
        ("lib/libz.so", LINK | 0o777, b"libz.so.1"),
        ("lib/libz.so.1", FILE | 0o644, b"\x7fELF" * 5000),
        ("dos.txt", 0, b"no mode at all"),
    ]
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        tree = extract(_zip(tmp_path / f"{method}.zip", entries, method), tmp_path / "cache")
        assert (tree / "app.py").read_text() == "x = 1"
        assert (tree / "bin/tool").stat().st_mode & 0o777 == 0o755
        assert (tree / "empty").is_dir()
        assert (tree / "lib/libz.so").readlink() == Path("libz.so.1")
        assert (tree / "lib/libz.so").read_bytes() == b"\x7fELF" * 5000
        assert (tree / "dos.txt").stat().st_mode & 0o777 == 0o644


def test_file_that_others_may_not_read_cannot_be_read(unpack: Callable[[Sequence[Entry]], Path]) -> None:
    """In Lambda it belongs to somebody else; `writestr` without a mode makes such files."""
    tree = unpack([("app.py", FILE | 0o600, b""), ("bin/tool", FILE | 0o744, b"")])
    assert (tree / "app.py").stat().st_mode & 0o777 == 0o200
    assert (tree / "bin/tool").stat().st_mode & 0o777 == 0o644


def test_same_bytes_are_extracted_once(tmp_path: Path) -> None:
    entries = [(f"pkg/m{number}.py", FILE | 0o644, b"x" * number) for number in range(200)]
    first, second = (_zip(tmp_path / f"{name}.zip", entries) for name in "ab")
    with ThreadPoolExecutor(4) as pool:
        trees = set(pool.map(lambda path: extract(path, tmp_path / "cache"), [first, second] * 4))
    assert len(trees) == 1
    assert len(list((trees.pop() / "pkg").iterdir())) == 200
    assert len(_names(tmp_path / "cache" / "trees")) == 1, "nothing half-made is left"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([("../x", FILE | 0o644, b"")], "leaves the archive's root", id="parent"),
        pytest.param([("a/../../x", FILE | 0o644, b"")], "leaves the archive's root", id="inner-parent"),
        pytest.param([("/etc/x", FILE | 0o644, b"")], "leaves the archive's root", id="absolute"),
        pytest.param(
            [("a", LINK | 0o777, b"/tmp"), ("a/x", FILE | 0o644, b"")],
            "a: both a folder and something else",
            id="through-link",
        ),
        pytest.param([("a", FILE | 0o644, b""), ("a/x", FILE | 0o644, b"")], "a: both a folder", id="file-and-folder"),
    ],
)
def test_what_leaves_the_root_or_contradicts_itself_is_refused(
    tmp_path: Path, entries: Sequence[Entry], message: str
) -> None:
    with pytest.raises(BadArchive, match=message):
        extract(_zip(tmp_path / "a.zip", entries), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "trees").iterdir())


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", [("a", FILE | 0o644, b"content" * 50)], zipfile.ZIP_STORED)
    data = path.read_bytes()
    for broken in (data.replace(b"contentcontent", b"cOntentcontent", 1), data[:-30], b"", b"PK\x05\x06", b"text"):
        path.write_bytes(broken)
        with pytest.raises(BadArchive):
            extract(path, tmp_path / "cache")


def test_layers_are_laid_over_each_other(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def layer(name: str, *entries: Entry) -> Path:
        return extract(_zip(tmp_path / f"{name}.zip", entries), cache)

    first = layer("1", ("python/a.py", FILE | 0o644, b"1"), ("x", FILE | 0o644, b""), ("y/z", FILE | 0o644, b"1"))
    second = layer("2", ("python/a.py", FILE | 0o644, b"2"), ("x/in", FILE | 0o644, b"2"), ("y", LINK, b"x"))
    merged = merge([first, second], cache)
    assert merged is not None
    assert (merged / "python/a.py").read_text() == "2"
    assert (merged / "x/in").read_text() == "2"
    assert (merged / "y").readlink() == Path("x")
    other = merge([second, first], cache)
    assert other is not None
    assert (other / "python/a.py").read_text() == "1"
    assert (first / "python/a.py").read_text() == "1", "layers themselves stay as they are"
    assert merge([first], cache) == first
    assert merge([], cache) is None


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


_NAMES = st.text(st.sampled_from("ab./\\é\0"), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    entries=st.lists(
        st.tuples(_NAMES, st.sampled_from([FILE | 0o644, LINK | 0o777]), st.sampled_from([b"..", b"/tmp", b"a"])),
        max_size=4,
    )
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_names_write_outside(tmp_path: Path, entries: list[Entry]) -> None:
    root = tmp_path / "root"
    (root / "cache" / "trees").mkdir(parents=True, exist_ok=True)
    path = root / "a.zip"
    with suppress(BadArchive):
        extract(_zip(path, entries), root / "cache")
    assert _names(tmp_path) == {"root"}
    assert _names(root) == {"a.zip", "cache"}
    assert _names(root / "cache") == {"trees"}
