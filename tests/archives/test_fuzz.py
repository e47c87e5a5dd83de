"""Whatever is done to an archive: our own errors and no others, nothing outside, never more than the limits."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.archives.archived import Archived, Limits, Unreadable
from builder.archives.streams import Stream, gunzipped, plain, unzstandard
from builder.archives.tarred import tar_entries
from builder.archives.zipped import zip_entries
from builder.errors import LambdasmithError
from builder.sources.archive import FIXED_TIME, extract
from builder.sources.unpacking import Unpacker
from tests.archives import making
from tests.archives.making import FILE, LINK, ZipEntry, gzipped, make_tar, make_zip, record, zstandard

TREE = {
    "app.py": (b"import os\n" * 40, FILE),
    "a/b/deep.txt": (bytes(range(256)) * 2, 0o100755),
    "a/link": (b"b/deep.txt", LINK),
    "caf\u00e9/" + "long" * 30: (b"x", FILE),
    "empty": (b"", FILE),
}
LIMITS = Limits(max_bytes=4_000, max_file_bytes=2_000, max_entries=30)
TAR = making.with_tarfile(TREE)
MORE = make_tar(making.pax(path="p/q"), record("short", b"12345"), record("@", b"n" * 150 + b"\0", b"L"), record("n"))
ARCHIVES = {
    "zip": making.with_zipfile(TREE),
    "zip64": making.make_zip64(ZipEntry(name="a", content=b"b" * 50)),
    "tar": TAR,
    "tar with records": MORE,
    "tar.gz": gzipped(TAR),
    "tar.zst": zstandard(TAR),
}
READERS: dict[str, Callable[[io.BytesIO, int], Iterator[Archived]]] = {
    "zip": lambda file, size: zip_entries(file, LIMITS),
    "tar": lambda file, size: tar_entries(Stream(plain(file), LIMITS, size)),
    "tar.gz": lambda file, size: tar_entries(Stream(gunzipped(file), LIMITS, size)),
    "tar.zst": lambda file, size: tar_entries(Stream(unzstandard(file), LIMITS, size)),
}


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory with an empty one called `into`, in memory where there is such a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as around:
        (Path(around) / "into").mkdir()
        yield Path(around)


def is_within_bounds(around: Path) -> bool:
    """Nothing but `into` is there, nothing in it leads out, and it is within the limits."""
    assert [path.name for path in around.iterdir()] == ["into"]
    into = around / "into"
    found = list(into.rglob("*"))
    assert len(found) <= LIMITS.max_entries
    assert sum(path.lstat().st_size for path in found if not path.is_dir() or path.is_symlink()) <= LIMITS.max_bytes
    for path in found:
        mode = path.lstat().st_mode
        assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(into))
        assert stat.S_ISDIR(mode) or stat.S_ISLNK(mode) or mode in (0o100644, 0o100755)
        assert stat.S_ISDIR(mode) or path.lstat().st_size <= LIMITS.max_file_bytes
    return True


def check(data: bytes) -> None:
    """Unpack it twice: as callers do, and by every reader, keeping what has been written when it breaks off."""
    with place() as around:
        (around / "into").rmdir()
        archive = around.with_suffix(".bin")
        archive.write_bytes(data)
        refusal = None
        try:
            extract(archive, around / "into", limits=LIMITS)
        except LambdasmithError as error:
            refusal = error.message
        finally:
            archive.unlink()
        if refusal is None:
            assert is_within_bounds(around)
        else:
            assert refusal.startswith(f"{archive.name}: ")
            assert list(around.iterdir()) == []
    for reader in READERS.values():
        with place() as around, Unpacker(around / "into", LIMITS, "a", FIXED_TIME) as unpacker:
            with contextlib.suppress(Unreadable, LambdasmithError):
                for entry in reader(io.BytesIO(data), len(data)):
                    unpacker.take(entry)
            # No links yet: modes of what broke off are not set, the rest holds.
            found = [path for path in around.rglob("*") if path.is_file()]
            assert sum(path.stat().st_size for path in found) <= LIMITS.max_bytes
            assert [path.name for path in around.iterdir()] == ["into"]


def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.sampled_from(["flip", "cut", "drop", "repeat", "set", "insert", "swap", "number"])):
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
            case "cut":
                data = data[:to]
            case "drop":
                data = data[:at] + data[min(to, at + 64) :]
            case "repeat":
                data = data[:to] + data[at:to] + data[to:]
            case "set":
                data = data[:at] + bytes([draw(st.sampled_from([0, 255]))]) * min(8, to - at) + data[min(to, at + 8) :]
            case "insert":
                data = data[:at] + draw(st.binary(max_size=16)) + data[at:]
            case "swap":
                first, second = at // 512 * 512, to // 512 * 512
                data = (
                    data[:first] + data[second : second + 512] + data[first + 512 : second] + data[first : first + 512]
                    + data[second + 512 :]
                    if second > first else data
                )  # fmt: skip
            case "number":
                value = draw(st.sampled_from([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1]))
                data = data[:at] + value.to_bytes(8, "little") + data[at + 8 :]
    return data


def mended(data: bytes) -> bytes:
    """A tar whose headers have right checksums again, so that what else is wrong with them is reached."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    return b"".join(making.checked(one) if one[257:262] == b"ustar" and len(one) == 512 else one for one in blocks)


@settings(max_examples=400)
@given(st.data())
def test_archives_with_bytes_changed(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(ARCHIVES)))

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        raw = mutated(draw, ARCHIVES[kind])
        return mended(raw) if kind.startswith("tar") and draw(st.booleans()) else raw

    check(data.draw(changed()))


@settings(max_examples=100)
@given(st.data())
def test_tars_with_bytes_changed_before_they_are_compressed(data: st.DataObject) -> None:
    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        return draw(st.sampled_from([gzipped, zstandard]))(mended(mutated(draw, draw(st.sampled_from([TAR, MORE])))))

    check(data.draw(changed()))


segments = st.sampled_from(["a", "b", "A", "l", "..", ".", "", ".git", "a\\b", "é", "e\u0301", "C:", "n" * 256, "x\0y"])
paths = st.lists(segments, min_size=1, max_size=4).map("/".join) | st.text(max_size=6)
targets = st.sampled_from(["a", "..", "../..", "/etc", "l/../..", "a/../../x", "", "l", ".", "b/l", "../a"])
numbers = st.sampled_from([0, 1, 2, 30, 100, 0xFFFF, 0xFFFFFFFF])
lies = st.dictionaries(st.sampled_from(["packed", "size", "crc", "start"]), numbers, max_size=1)
kinds = st.sampled_from([FILE, FILE, LINK, 0o040755, 0o010644, 0, 0o104755])


@settings(max_examples=400)
@given(st.lists(st.tuples(paths, kinds, targets, lies, lies, numbers), max_size=6))
def test_zips_made_to_deceive(entries: list[tuple[str, int, str, dict[str, int], dict[str, int], int]]) -> None:
    def lied(entry: tuple[str, int, str, dict[str, int], dict[str, int], int]) -> ZipEntry:
        name, mode, target, local, central, flags = entry
        said = {"flags": flags} if flags == 8 else {}
        text = name.encode("utf-8", "replace").decode()
        return ZipEntry(
            name=text, content=target.encode(), mode=mode, local={**local, **said}, central={**central, **said}
        )

    check(make_zip(*map(lied, entries)))
    check(make_zip(*(ZipEntry(name=one.name, content=one.content, mode=one.mode) for one in map(lied, entries))))


@settings(max_examples=400)
@given(
    st.lists(st.tuples(paths, st.sampled_from(list(b"0025712346SxgLKZ\0")), targets, numbers | st.none()), max_size=6)
)
def test_tars_made_to_deceive(entries: list[tuple[str, int, str, int | None]]) -> None:
    records = b""
    for name, kind, target, size in entries:
        raw, content = name.encode("utf-8", "replace")[:100], target.encode()
        if kind in b"xg":
            content = b"%d path=%s\n" % (len(content) + 9, content)
        length = len(content) if kind not in b"1234560" or kind == ord("0") else 0
        head = making.header(raw, bytes([kind]), length if size is None else size, target=target.encode())
        records += head + making.padded(content if length else b"")
    check(make_tar(records))


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.zst"])
def test_memory_does_not_grow_with_the_content(tmp_path: Path, form: str) -> None:
    content = os.urandom(1 << 20) * 30
    if form == "zip":
        data = make_zip(ZipEntry(name="x", content=content))
    else:
        data = make_tar(record("x", content))
        data = gzipped(data) if form == "tar.gz" else zstandard(data) if form == "tar.zst" else data
    (tmp_path / "a").write_bytes(data)
    del data
    tracemalloc.start()
    try:
        extract(tmp_path / "a", tmp_path / "into")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert (tmp_path / "into" / "x").read_bytes() == content
    shutil.rmtree(tmp_path / "into")
