"""An archive as the source of a build: zip, tar, tar.gz or tar.zst, unpacked by our own rules.

The kind is found in the content; names and headers are never trusted. `zipped.py` and `tarred.py` read,
`unpacking.py` writes. Why neither `zipfile` nor `tarfile`: what they let pass differs from one Python to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from builder.archives.archived import Archived, Limits, Unreadable
from builder.archives.streams import Stream, gunzipped, plain, unzstandard
from builder.archives.tarred import is_header, tar_entries
from builder.archives.zipformat import END, END_RECORD, LOCAL
from builder.archives.zipped import zip_entries
from builder.sources.git import Snapshot
from builder.sources.target import written
from builder.sources.treeid import ids_of
from builder.sources.unpacking import Unpacker

# 1980-01-01, the date in every zip made here. The dates in an archive depend on who made it and when, so equal
# content would not give equal artifacts.
FIXED_TIME = 315532800
_ZIP_END_BYTES = END_RECORD.size + 64
_COMMIT_OF_ZIP = re.compile(END + rb".{16}(?:\x28\x00[0-9a-f]{40}|\x40\x00[0-9a-f]{64})\Z", re.DOTALL)
_COMMIT_OF_TAR = re.compile(rb"\d+ comment=(?:[0-9a-f]{40}|[0-9a-f]{64})\n")
_WANTED = "send a zip, tar, tar.gz or tar.zst"
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"LZIP": "lzip",
    b"\x04\x22\x4d\x18": "LZ4",
    b"0707": "cpio",
    b"!<arch>": "ar",
}


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """Files that were unpacked (links among them) and their bytes; `lfs_pointers` are posix paths, sorted."""

    files: int
    size_bytes: int
    lfs_pointers: tuple[str, ...]


def extract(archive: Path, into: Path, *, limits: Limits | None = None, label: str = "") -> Extracted:
    """Unpack `archive` into `into`, which must not exist or be an empty directory. After an error `into` is as it was.

    Files get mode 644 or 755 and FIXED_TIME. `label` is the archive's name in messages, by default its file name.

    Raises:
        SourceError: it is damaged, cut off, or of an unknown kind.
        UnsafeSource: some entries must not be unpacked; they are named, twenty at most.
        OutOfSpace: it is more than `limits`, or than the disk has room for.
    """
    limits = limits or Limits()
    with archive.open("rb") as file:
        return _write(_entries(file, archive.stat().st_size, limits), into, limits, label or archive.name)


def is_of_git(archive: Path) -> bool:
    """Tell whether `git archive` made the existing `archive`, so that its files were committed.

    It leaves the commit's id: in a tar as the comment of a header for all entries, in a zip as its comment. Forges
    offer such archives for download.
    """
    with archive.open("rb") as file:
        head = file.read(4)
        if head == LOCAL:
            file.seek(max(0, archive.stat().st_size - _ZIP_END_BYTES))
            return bool(_COMMIT_OF_ZIP.search(file.read()))
        file.seek(0)
        content = gunzipped(file) if head.startswith(b"\x1f\x8b") else plain(file)
        try:
            start = b"".join(islice(content, 2))[:1024]
        except Unreadable:
            return False
    return start[156:157] == b"g" and bool(_COMMIT_OF_TAR.match(start[512:]))


def _write(entries: Iterator[Archived], into: Path, limits: Limits, label: str) -> Extracted:
    with written(into, label, "all of it is unpacked"):
        return _unpack(entries, into, limits, label)


def snapshot_of(
    archive: Path, into: Path, *, path: str = "", limits: Limits | None = None, label: str = ""
) -> Snapshot:
    """Unpack as `extract` does, and describe the files as if they were a commit's.

    `tree`, and `commit` for want of one, is the id that git gives to this content, so it equals that of a commit
    with the same files; `subtree` is that of the directory `path`. `commit_time` is FIXED_TIME, `url` the label, `ref`
    empty.
    """
    done = extract(archive, into, limits=limits, label=label)
    return _described(done, into, path, label or archive.name)


def snapshot_of_entries(
    entries: Iterator[Archived], into: Path, *, path: str = "", limits: Limits | None = None, label: str = ""
) -> Snapshot:
    """Do the same for entries from elsewhere."""
    return _described(_write(entries, into, limits or Limits(), label), into, path, label)


def _described(done: Extracted, into: Path, path: str, label: str) -> Snapshot:
    ids = ids_of(into)
    return Snapshot(
        root=into,
        url=label,
        ref="",
        commit=ids.whole,
        tree=ids.whole,
        subtree=ids.below.get(path, "") if path else ids.whole,
        commit_time=FIXED_TIME,
        files=done.files,
        lfs_pointers=done.lfs_pointers,
        ids=ids.below,
        links=frozenset(ids.links),
        executables=frozenset(ids.executables),
    )


def _unpack(entries: Iterator[Archived], into: Path, limits: Limits, label: str) -> Extracted:
    with Unpacker(into, limits, label, FIXED_TIME) as unpacker:
        try:
            for entry in entries:
                unpacker.take(entry)
        except Unreadable as error:
            # A refused entry may be the reason why nothing after it can be read: report that first.
            unpacker.refuse_problems()
            raise error.error(f"{label}: {error.message}", hint=error.hint) from None
        unpacker.finish()
        return Extracted(
            files=unpacker.files,
            size_bytes=unpacker.size_bytes,
            lfs_pointers=tuple(sorted(unpacker.lfs_pointers)),
        )


def _entries(file: IO[bytes], size: int, limits: Limits) -> Iterator[Archived]:
    yield from _reader(file, size, limits)


def _reader(file: IO[bytes], size: int, limits: Limits) -> Iterator[Archived]:
    head = file.read(512)
    file.seek(0)
    if head.startswith((LOCAL, END)):
        return zip_entries(file, limits)
    if head.startswith(b"\x1f\x8b"):
        return tar_entries(Stream(gunzipped(file), limits, size))
    if head[1:4] == b"\x2a\x4d\x18" or head.startswith(b"\x28\xb5\x2f\xfd"):
        return tar_entries(Stream(unzstandard(file), limits, size))
    if is_header(head):
        return tar_entries(Stream(plain(file), limits, size))
    if not head:
        raise Unreadable("it is empty", hint=_WANTED)
    if known := next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None):
        raise Unreadable(f"it is {known}, which is not supported", hint=_WANTED)
    # A zip may have a program before it (self-extracting): refused, but with a message that says what it is.
    file.seek(max(0, size - (64 << 10)))
    if END in file.read():
        return zip_entries(file, limits)  # which says what is before it
    raise Unreadable("it is not an archive of a supported format", hint=_WANTED)
