"""Writes deterministic zip files, from files or from already compressed entries of other zips.

Every zip made here has its entries sorted by name, 1980-01-01 as date, 0644 or 0755 as mode, no directory entries and
no extra fields but zip64 for large sizes, so equal content gives equal bytes. Nothing is held in memory whole.

Format: PKWARE APPNOTE 6.3.10. Lambda's demands on modes: the "Python package" page of its developer guide.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from builder.archives.zipformat import (
    DEFLATED,
    END,
    END_MAX,
    END_RECORD,
    LOCAL,
    LOCAL_RECORD,
    STORED,
    Header,
    after_local,
    end_records,
)
from builder.errors import ArtifactConflict, UnsafeSource

_CHUNK = 1 << 20
# Compressed entries above this go to disk, since memory belongs to compilers.
_SPOOL = 8 << 20
# Level 9 gains 0.7 % over 6 on typical wheels and takes three times as long.
_LEVEL = 6
# An empty, "." or ".." segment, a backslash, a null byte, a drive letter.
_UNSAFE_NAME = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|[\\\0]|^[^/]:(?:/|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file to compress into a zip. `name` is a POSIX path inside the zip; a callable source opens a stream."""

    name: str
    source: Path | bytes | Callable[[], IO[bytes]]
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file to copy from another zip without touching its compressed bytes. `label` names that zip in messages."""

    name: str
    archive: Path
    info: zipfile.ZipInfo
    label: str
    executable: bool | None = None  # None: as in the other zip


@dataclass(frozen=True, kw_only=True)
class ZipSummary:
    """The zip that was written. Sizes in bytes; `sha256` in hex; `content_sha256` is the same for any compression."""

    sha256: str
    size: int
    unzipped: int
    files: int
    content_sha256: str


class Writer:
    """Writes headers and data in the order of the calls, hashing them on the way."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self._central: list[bytes] = []
        self._content: list[str] = []
        self._unzipped = 0
        self.offset = 0

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._hash.update(data)
        self.offset += len(data)

    def add(self, header: Header, data: IO[bytes]) -> None:
        """Append one entry whose compressed bytes are read from the current position of `data`."""
        self.note(header.central(self.offset), header)
        self._write(header.local())
        self.copy(data, header.compressed)

    def note(self, record: bytes, header: Header) -> None:
        """Add a file, whose local record and data the caller writes, to the directory."""
        self._central.append(record)
        self._unzipped += header.unzipped
        self._content.append(f"{header.name}\0{header.crc:08x}\0{header.unzipped}\0{int(header.executable)}\n")

    def copy(self, data: IO[bytes], length: int) -> None:
        """Append `length` bytes from the current position of `data`.

        Raises:
            zipfile.BadZipFile: there are fewer bytes.
        """
        while length:
            chunk = data.read(min(_CHUNK, length))
            if not chunk:
                raise zipfile.BadZipFile(f"{length} bytes are missing")
            self._write(chunk)
            length -= len(chunk)

    def finish(self, comment: Callable[[str], bytes] = lambda _: b"") -> ZipSummary:
        """Append the directory and return a summary.

        Args:
            comment: called with the sha256, in hex, of all that precedes the comment and its length.
        """
        start, count = self.offset, len(self._central)
        for record in self._central:
            self._write(record)
        self._write(end_records(count=count, start=start, length=self.offset - start))
        text = comment(self._hash.hexdigest())
        self._write(len(text).to_bytes(2, "little") + text)
        return ZipSummary(
            sha256=self._hash.hexdigest(),
            size=self.offset,
            unzipped=self._unzipped,
            files=count,
            content_sha256=hashlib.sha256("".join(sorted(self._content)).encode()).hexdigest(),
        )


def safe_name(name: str) -> str:
    """Return `name` if it stays inside the directory that it is unpacked to.

    Raises:
        UnsafeSource: it is absolute, climbs, or is not a plain POSIX path.
    """
    if _UNSAFE_NAME.search(name):
        raise UnsafeSource(f"archive entry {name!r} has a path that could leave its directory")
    return name


def write_zip(
    out: BinaryIO, entries: Iterable[Entry | Member], *, comment: Callable[[str], bytes] = lambda _: b""
) -> ZipSummary:
    """Write `entries` to `out`, sorted by name, and return what was written.

    Args:
        comment: returns the zip's comment, below 64 KiB, see `Writer.finish`.

    Raises:
        ArtifactConflict: two entries have the same name, or names that differ only in case or Unicode form.
        UnsafeSource: a name could leave the directory it is unpacked to.
        zipfile.BadZipFile: the archive of a member is damaged.
    """
    # By name, so that the order in which files were found does not change the bytes.
    ordered = sorted(entries, key=lambda entry: entry.name)
    refuse_collisions((entry.name, entry.label if isinstance(entry, Member) else "the build") for entry in ordered)
    writer = Writer(out)
    with ExitStack() as stack:
        archives: dict[Path, BinaryIO] = {}
        for entry in ordered:
            if isinstance(entry, Entry):
                add_entry(writer, entry)
                continue
            if entry.archive not in archives:
                archives[entry.archive] = stack.enter_context(entry.archive.open("rb"))
            _copy(writer, entry, archives[entry.archive])
    return writer.finish(comment)


def _opened(source: Path | bytes | Callable[[], IO[bytes]]) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return source.open("rb") if isinstance(source, Path) else source()


def add_entry(writer: Writer, entry: Entry) -> None:
    """Compress `entry` and append it; store it if compressing gains nothing."""
    with ExitStack() as stack:
        source = stack.enter_context(_opened(entry.source))
        packed: IO[bytes] = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL))
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        crc = size = 0
        while chunk := source.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            packed.write(deflate.compress(chunk))
        packed.write(deflate.flush())
        method, data, compressed = DEFLATED, packed, packed.tell()
        # Already compressed content (images, wheels) would grow, so it is stored. The source is read again, not kept:
        # it may be larger than memory.
        if compressed >= size:
            stack.enter_context(source := _opened(entry.source))
            method, data, compressed = STORED, source, size
        else:
            data.seek(0)
        header = Header(
            name=safe_name(entry.name),
            method=method,
            crc=crc,
            compressed=compressed,
            unzipped=size,
            executable=entry.executable,
        )
        writer.add(header, data)


def _copy(writer: Writer, member: Member, file: BinaryIO) -> None:
    info = member.info
    file.seek(info.header_offset)
    head = file.read(LOCAL_RECORD.size)
    before_data = after_local(head)
    if not head.startswith(LOCAL):
        raise zipfile.BadZipFile(f"{info.filename}: no local header where the directory points")
    if info.compress_type == STORED and info.compress_size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename}: is not compressed, and has two sizes")
    file.seek(before_data, 1)
    header = Header(
        name=safe_name(member.name),
        method=info.compress_type,
        crc=info.CRC,
        compressed=info.compress_size,
        unzipped=info.file_size,
        executable=bool(info.external_attr >> 16 & 0o100) if member.executable is None else member.executable,
    )
    writer.add(header, file)


def folded(name: str) -> str:
    """Return a text that is equal for names which are one file on a system that folds case or Unicode forms."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def refuse_collisions(names: Iterable[tuple[str, str]]) -> None:
    """Raise ArtifactConflict if two names are one file on a system that folds case or Unicode forms."""
    seen: dict[str, tuple[str, str]] = {}
    for name, label in names:
        key = folded(name)
        other = seen.get(key)
        seen[key] = name, label
        if other is not None:
            raise ArtifactConflict(
                f"{other[0]!r} of {other[1]} and {name!r} of {label} collide: the names are equal or differ only in "
                "case or Unicode form"
            )


def read_comment(archive: Path) -> bytes:
    """Return the comment of a zip made by this module, without reading the directory before it.

    Raises:
        zipfile.BadZipFile: the end is missing.
    """
    with archive.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - END_MAX))
        _, mark, rest = file.read().rpartition(END)
    if not mark:
        raise zipfile.BadZipFile(f"{archive.name}: the end of the zip is missing")
    return rest[END_RECORD.size - len(END) :]


def sha256_before_comment(archive: Path) -> str:
    """Return the hash that `Writer.finish` passed to `comment`, if the zip is as it was written."""
    left = archive.stat().st_size - len(read_comment(archive)) - 2
    digest = hashlib.sha256()
    with archive.open("rb") as file:
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip made by this module into the existing directory `into`, modes included."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            target = into / safe_name(info.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
            target.chmod(0o755 if info.external_attr >> 16 & 0o100 else 0o644)
