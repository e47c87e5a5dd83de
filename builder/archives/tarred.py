"""Reads tar streams entry by entry: ustar, pax and GNU's long names; only files, directories and symbolic links.

Why not `tarfile`: it holds a pax header of any size in memory, and its filters differ from one Python to the next.

Formats: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; tar.h of GNU tar for the types L and K.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from builder.archives.archived import MAX_HEADER_BYTES, MAX_LINK_BYTES, Archived, Unreadable, shown
from builder.archives.streams import Stream

_BLOCK = 512
_EMPTY = bytes(_BLOCK)
_DAMAGED = "the tar is damaged or made to deceive: "
_PROBLEMS = {
    b"1": "is a hard link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"S": "is a sparse file",
    b"M": "is a part of a file in another volume",
}


@dataclass(frozen=True, kw_only=True)
class _Override:
    """Values of records before an entry, which override its own header."""

    path: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    sparse: bool = False


def is_header(block: bytes) -> bool:
    """Tell whether a tar could begin with these 512 bytes."""
    return len(block) == _BLOCK and (block == _EMPTY or _checksum_fits(block))


def tar_entries(stream: Stream) -> Iterator[Archived]:
    """Yield the entries in their order. Content that the caller does not read is skipped.

    Raises:
        Unreadable: it is damaged or cut off, or its records contradict each other.
        Bomb: the stream is one.
    """
    override = _Override()
    waiting, header = False, stream.read(_BLOCK)
    if not is_header(header):
        raise Unreadable("it is compressed, but does not contain a tar", hint="send a zip, tar, tar.gz or tar.zst")
    while header != _EMPTY:
        if not _checksum_fits(header):
            raise Unreadable(f"{_DAMAGED}a header has a wrong checksum")
        kind, size = header[156:157], _number(header[124:136])
        if kind in (b"x", b"g", b"L", b"K"):
            record = _record(stream, size)
            override = _with_record(override, kind, record)
            waiting = waiting or kind != b"g"
        else:
            entry, size = _entry(header, kind, size, override)
            left = _Left(stream, size)
            yield replace(entry, content=partial(left.chunks, entry.name)) if entry.kind == "file" else entry
            left.skip(entry.name)
            override, waiting = _Override(), False
        header = _block(stream)
    if waiting:
        raise Unreadable(f"{_DAMAGED}a header for an entry that is missing")
    # Zeros may follow as padding; anything else would be seen by some readers and not by others.
    for rest in stream.rest():
        if bytes(rest).strip(b"\0"):
            raise Unreadable("there is other data after the tar")


@dataclass
class _Left:
    """The part of an entry's content, in bytes, that is still to be read, and the padding up to the next block."""

    stream: Stream
    size: int

    def __post_init__(self) -> None:
        self._left, self._padding = self.size, -self.size % _BLOCK

    def chunks(self, name: bytes) -> Iterator[bytes]:
        for chunk in self.stream.copy(self._left):
            self._left -= len(chunk)
            yield bytes(chunk)
        if self._left:
            raise Unreadable(f"the tar is cut off in {shown(name)}")

    def skip(self, name: bytes) -> None:
        for _ in self.chunks(name):
            pass
        if len(self.stream.read(self._padding)) != self._padding:
            raise Unreadable(f"the tar is cut off after {shown(name)}")


def _block(stream: Stream) -> bytes:
    block = stream.read(_BLOCK)
    if len(block) != _BLOCK:
        raise Unreadable("the tar is cut off: it has no end mark")
    return block


# --- headers --------------------------------------------------------------------------------------------------------


def _checksum_fits(header: bytes) -> bool:
    stated = header[148:156].strip(b" \0")
    if not stated or stated.strip(b"01234567"):
        return False
    # Some old writers added bytes up as signed ones.
    blank = header[:148] + b" " * 8 + header[156:]
    unsigned = sum(blank)
    return int(stated, 8) in (unsigned, unsigned - 256 * sum(byte > 127 for byte in blank))


def _number(field: bytes) -> int:
    """Read a number in octal digits, or, as GNU writes large ones, in binary behind a byte 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise Unreadable(f"{_DAMAGED}a header has {field!r} where a number belongs")
    return int(digits or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _entry(header: bytes, kind: bytes, size: int, override: _Override) -> tuple[Archived, int]:
    """Return the entry without its content, and the number of content bytes that follow."""
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
        name = prefix + b"/" + name
    name = name if override.path is None else override.path
    target = _text(header[157:257]) if override.target is None else override.target
    size = size if override.size is None else override.size
    form: Literal["file", "directory", "link"] = "file"
    problem = _PROBLEMS.get(kind, "")
    if override.sparse:
        problem = _PROBLEMS[b"S"]
    elif kind in (b"1", b"3", b"4", b"6"):
        size = 0  # such a size describes the file that is linked to
    elif kind == b"5" or (kind in (b"0", b"\0") and name.endswith(b"/")):
        form = "directory"
    elif kind == b"2":
        form = "link"
        problem = "is a symbolic link with no usable target" if len(target) > MAX_LINK_BYTES else ""
    elif kind not in (b"0", b"\0", b"7") and not problem:
        problem = f"is of a kind that is not read here ({kind!r})"
    if size and form != "file":
        # Readers don't agree on whether content follows, so they would see different entries from here on.
        raise Unreadable(f"{_DAMAGED}{shown(name)} is a {form} with content")
    mode = _number(header[100:108])
    entry = Archived(name=name, kind=form, executable=bool(mode & 0o100), size=size, target=target, problem=problem)
    return entry, size


# --- records before an entry ----------------------------------------------------------------------------------------


def _record(stream: Stream, size: int) -> bytes:
    # Before it is read: the record is held in memory.
    if size > MAX_HEADER_BYTES:
        raise Unreadable(f"a header of {size:,} bytes; at most {MAX_HEADER_BYTES >> 10} KiB are read")
    padded = stream.read(size + -size % _BLOCK)
    if len(padded) < size + -size % _BLOCK:
        raise Unreadable("the tar is cut off in a header")
    return padded[:size]


def _with_record(override: _Override, kind: bytes, record: bytes) -> _Override:
    if kind == b"L":
        return _once(override, path=_text(record))
    if kind == b"K":
        return _once(override, target=_text(record))
    values = dict(_pax(record))
    sparse = any(key.startswith(b"GNU.sparse.") for key in values)
    path, target, size = (values.get(key) or None for key in (b"path", b"linkpath", b"size"))
    if kind == b"g":
        if path or target or size or sparse:
            raise Unreadable(f"{_DAMAGED}a name or size for all entries")
        return override
    if size is not None and (not size.isdigit() or len(size) > 20):
        raise Unreadable(f"{_DAMAGED}a header has {size[:40]!r} where a number belongs")
    return _once(override, path=path, target=target, size=None if size is None else int(size), sparse=sparse)


def _once(
    override: _Override,
    *,
    path: bytes | None = None,
    target: bytes | None = None,
    size: int | None = None,
    sparse: bool = False,
) -> _Override:
    """Add another record's values to `override`. They must agree: readers differ in which one wins."""
    for one, other in ((override.path, path), (override.target, target), (override.size, size)):
        if one is not None and other is not None and one != other:
            raise Unreadable(f"{_DAMAGED}two headers for one entry do not agree")
    return _Override(
        path=override.path if path is None else path,
        target=override.target if target is None else target,
        size=override.size if size is None else size,
        sparse=override.sparse or sparse,
    )


def _pax(record: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of each line, which is `LENGTH KEY=VALUE\\n`; the length is that of the whole line."""
    at = 0
    while at < len(record):
        blank = record.find(b" ", at, at + 8)
        length = record[at : max(at, blank)]
        end = at + int(length) if length.isdigit() else 0
        key, equals, value = record[blank + 1 : end - 1].partition(b"=")
        if not blank < end <= len(record) or record[end - 1 : end] != b"\n" or not key or not equals:
            raise Unreadable(f"{_DAMAGED}a pax header is not one")
        yield key, value
        at = end
