"""Reads git's pack format piece by piece: a file of 200 MB in a repository needs no 200 MB of memory.

Only objects that are stored whole are streamed; one that is a difference to another is put together in memory. No
dulwich and no network. https://git-scm.com/docs/gitformat-pack

Why not dulwich's reader: it inflates every object whole before it hands it out. Here a large blob goes from the pack to
its file in chunks, and is hashed on the way.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_BY_OFFSET, _BY_ID = 6, 7
# The trailer is the SHA-1 of all that precedes it.
_CHUNK, _TRAILER = 1 << 16, 20
# Longer than any object's header: two numbers of ten bytes at most, or one and an id.
_HEADER_BYTES = 32


ApplyDelta = Callable[[bytes, bytes], bytes]
"""Applies a difference: (base, difference) → content."""

External = Callable[[bytes], tuple[int, bytes]]
"""Reader of kind and content of an object, by binary id, that a pack refers to but lacks. Raises KeyError."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One object of a pack. `data` is where its compressed bytes begin, `size` the number of bytes uncompressed.

    `base` is the object that it is a difference to: a place in the pack, or a binary id; None if it is whole.
    """

    offset: int
    kind: int
    size: int
    data: int
    base: int | bytes | None


class Inflation:
    """The content of one entry, as an iterable. Afterwards `end` is where the next one begins."""

    def __init__(self, file: IO[bytes], entry: Entry) -> None:
        self._file, self._entry = file, entry
        self.end = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raise ValueError or zlib.error if the pack is damaged."""
        file, entry = self._file, self._entry
        inflater, length = zlib.decompressobj(), 0
        position = entry.data
        while not inflater.eof:
            file.seek(position)
            # A small object is read with its few spare bytes in one go; the size in the header is only a hint.
            data = file.read(min(_CHUNK, entry.size + 64))
            if not data:
                raise ValueError("the pack is cut off")
            position += len(data)
            rest = data
            while rest and not inflater.eof:
                content = inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
                length += len(content)
                # The size in the header is what limits were checked against: a longer object would slip past them.
                if length > entry.size:
                    raise ValueError("an object of the pack is longer than it says")
                yield content
        if length != entry.size:
            raise ValueError("an object of the pack is shorter than it says")
        self.end = position - len(inflater.unused_data)


def read_entry(file: IO[bytes], offset: int) -> Entry:
    """Read the header of the object at `offset`.

    Raises:
        ValueError: there is no object.
    """
    file.seek(offset)
    raw = file.read(_HEADER_BYTES)
    try:
        at = 0
        kind, size, shift = raw[0] >> 4 & 7, raw[0] & 15, 4
        while raw[at] & 0x80:
            at += 1
            size |= (raw[at] & 0x7F) << shift
            shift += 7
        at += 1
        base: int | bytes | None = None
        if kind == _BY_OFFSET:
            back = raw[at] & 0x7F
            while raw[at] & 0x80:
                at += 1
                back = (back + 1) << 7 | raw[at] & 0x7F
            at += 1
            base = offset - back
        elif kind == _BY_ID:
            base = raw[at : at + 20]
            at += 20
    # Inflated only to find where it ends: a pack does not say how long its compressed objects are.
    except IndexError:
        raise ValueError("the pack is cut off") from None
    if (kind not in KINDS and base is None) or (isinstance(base, int) and not 0 < base < offset):
        raise ValueError("an object of the pack has an impossible header")
    return Entry(offset=offset, kind=kind, size=size, data=offset + at, base=base)


def index_pack(file: IO[bytes], apply_delta: ApplyDelta, external: External) -> list[tuple[bytes, int]]:
    """Read a whole pack, inflate every object and compute its binary id: (id, place) of each.

    Raises:
        ValueError, zlib.error: the pack is damaged.
        KeyError: it refers to an object that `external` does not have.
    """
    length = os.fstat(file.fileno()).st_size - _TRAILER
    file.seek(0)
    head = file.read(12)
    if length < 12 or head[:4] != b"PACK" or head[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
        raise ValueError("this is no pack")
    _check_trailer(file, length)
    whole: list[tuple[bytes, Entry]] = []
    differing: dict[int | bytes, list[Entry]] = defaultdict(list)
    offset = 12
    for _ in range(struct.unpack(">L", head[8:])[0]):
        entry = read_entry(file, offset)
        inflation = Inflation(file, entry)
        if entry.base is None:
            whole.append((_name(entry.kind, entry.size, inflation), entry))
        else:
            differing[entry.base].append(entry)
            for _chunk in inflation:
                pass
        offset = inflation.end
    # Bytes behind the last object would be kept and never looked at.
    if offset != length:
        raise ValueError("the pack contains more than it says")
    entries = [(name, entry.offset) for name, entry in whole]
    # Differences wait until all whole objects are known, because a base may come after what refers to it.
    for name, entry in whole:
        if children := differing.pop(entry.offset, []) + differing.pop(name, []):
            content = b"".join(Inflation(file, entry))
            entries += _put_together(file, entry.kind, content, children, differing, apply_delta)
    lacking = set()
    # Sorted, so that the same pack always ends in the same error.
    for base in sorted(base for base in differing if isinstance(base, bytes)):
        if base in differing:
            try:
                kind, content = external(base)
            except KeyError:  # it may yet be put together from another one
                lacking.add(base)
                continue
            entries += _put_together(file, kind, content, differing.pop(base), differing, apply_delta)
    if missing := sorted(base.hex() for base in lacking if base in differing):
        raise KeyError(missing[0])
    if differing:
        raise ValueError("an object of the pack is a difference to nothing")
    return entries


def _put_together(
    file: IO[bytes],
    kind: int,
    content: bytes,
    children: list[Entry],
    differing: dict[int | bytes, list[Entry]],
    apply_delta: ApplyDelta,
) -> Iterator[tuple[bytes, int]]:
    """Yield (id, place) of all that differ from `content`, directly or not; they are taken out of `differing`."""
    todo = [(content, children)]
    while todo:
        base, entries = todo[-1]
        entry = entries.pop()
        if not entries:
            todo.pop()  # before anything is put together from it: only two links of a long chain are in memory
        made = apply_delta(base, b"".join(Inflation(file, entry)))
        name = _name(kind, len(made), (made,))
        yield name, entry.offset
        if below := differing.pop(entry.offset, []) + differing.pop(name, []):
            todo.append((made, below))


def _name(kind: int, size: int, chunks: Iterable[bytes]) -> bytes:
    # Git's own identity of an object, not a security hash of ours.
    name = hashlib.sha1(b"%s %d\0" % (KINDS[kind], size), usedforsecurity=False)
    for chunk in chunks:
        name.update(chunk)
    return name.digest()


def _check_trailer(file: IO[bytes], length: int) -> None:
    """Compare the pack with the checksum at its end."""
    file.seek(0)
    actual, left = hashlib.sha1(usedforsecurity=False), length
    while left:
        data = file.read(min(1 << 20, left))
        if not data:
            break
        left -= len(data)
        actual.update(data)
    if file.read() != actual.digest():
        raise ValueError("the pack is damaged")
