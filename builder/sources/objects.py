"""Git objects in packs, each with an index beside it: reads them, and takes in what a server sends."""

from __future__ import annotations

import contextlib
import shutil
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.sources.packs import KINDS, Entry, Inflation, index_pack, read_entry

# Smaller objects are read at once, which is quicker.
_STREAMED_BYTES = 1 << 20
# Memory for objects that others are differences to: neighbours in a tree usually share them.
_BASES_BYTES = 32 << 20
_EMPTY_PACK_BYTES = 32  # a header and a checksum
_INDEX = struct.Struct(">20sQ")
# Git makes chains of 50 and allows this many; a pack that was made to be endless stops here.
_LONGEST_CHAIN = 4095

ApplyDelta = Callable[[bytes, bytes], bytes]
"""Applies a difference: (base, difference) → content. Raises ValueError."""


class Damaged(Exception):
    """A pack that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """An object: its kind ("commit", "tree", "blob", "tag"), its size in bytes, and these, to be read once."""

    kind: str
    size: int
    chunks: Iterable[bytes]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pack:
    file: IO[bytes]
    offsets: dict[bytes, int]


class Objects:
    """The objects of all packs in a directory that holds nothing else. Close it."""

    def __init__(self, directory: Path, apply_delta: ApplyDelta) -> None:
        """Open the packs of the existing directory.

        Raises:
            Damaged: one has no index that can be read.
        """
        self.directory = directory
        self._apply_delta = apply_delta
        self._packs: list[_Pack] = []
        self._bases: OrderedDict[tuple[_Pack, int], tuple[int, bytes]] = OrderedDict()
        self._bases_bytes = 0
        for path in sorted(directory.glob("*.pack")):
            self._open(path)

    def read(self, object_id: str) -> Content:
        """Return an object as it was sent: the caller checks that it is what its id says.

        Raises:
            KeyError: it is not here. Damaged: it cannot be read; reading the chunks may raise that as well.
        """
        pack, offset = self._find(bytes.fromhex(object_id))
        with _damage(object_id):
            entry = read_entry(pack.file, offset)
            if entry.base is None and entry.size > _STREAMED_BYTES:
                return Content(
                    kind=KINDS[entry.kind].decode(), size=entry.size, chunks=_guarded(pack.file, entry, object_id)
                )
            kind, content = self._whole(pack, offset)
        return Content(kind=KINDS[kind].decode(), size=len(content), chunks=(content,))

    def beginning(self, prefix: str) -> list[str]:
        """Return the ids that begin with `prefix`, in hex, sorted."""
        found = {name.hex() for pack in self._packs for name in pack.offsets}
        return sorted(name for name in found if name.startswith(prefix))

    def __contains__(self, object_id: str) -> bool:
        return any(bytes.fromhex(object_id) in pack.offsets for pack in self._packs)

    def _find(self, name: bytes) -> tuple[_Pack, int]:
        for pack in self._packs:
            if name in pack.offsets:
                return pack, pack.offsets[name]
        raise KeyError(name.hex())

    def _whole(self, pack: _Pack, offset: int) -> tuple[int, bytes]:
        """Return kind and content of the object at a place, put together from its differences."""
        # A loop, not recursion: a chain may be longer than Python's stack.
        chain: list[tuple[_Pack, Entry]] = []
        while (found := self._bases.get((pack, offset))) is None:
            entry = read_entry(pack.file, offset)
            if entry.base is None:
                found = entry.kind, b"".join(Inflation(pack.file, entry))
                if chain:
                    self._remember(pack, offset, found)
                break
            chain.append((pack, entry))
            # A pack can be made whose differences refer to each other in a circle.
            if len(chain) > _LONGEST_CHAIN:
                raise ValueError("a chain of differences has no end")
            pack, offset = (pack, entry.base) if isinstance(entry.base, int) else self._find(entry.base)
        kind, content = found
        while chain:
            pack, entry = chain.pop()
            content = self._apply_delta(content, b"".join(Inflation(pack.file, entry)))
            if chain:
                self._remember(pack, entry.offset, (kind, content))
        return kind, content

    def _remember(self, pack: _Pack, offset: int, base: tuple[int, bytes]) -> None:
        self._bases[pack, offset] = base
        self._bases_bytes += len(base[1])
        # Oldest first: neighbours in a tree share bases, so the newest ones are needed next.
        while self._bases_bytes > _BASES_BYTES:
            _, (_, content) = self._bases.popitem(last=False)
            self._bases_bytes -= len(content)

    @contextlib.contextmanager
    def incoming(self) -> Iterator[IO[bytes]]:
        """Yield a file for a pack, which is added after the block; after an error there, nothing has changed.

        Its objects may be differences to objects of the other packs.

        Raises:
            Damaged: it is not a pack, or refers to objects that are missing.
        """
        path = self.directory / f"{len(self._packs)}.pack"
        try:
            with path.open("w+b") as file:
                yield file
                file.flush()
                if file.tell() > _EMPTY_PACK_BYTES:
                    self._index(file, path.with_suffix(".idx"))
            # The pack opens only once its index is complete, so that an interrupted one is never looked into.
            if path.stat().st_size > _EMPTY_PACK_BYTES:
                self._open(path)
            else:
                path.unlink()
        except BaseException:
            path.unlink(missing_ok=True)
            path.with_suffix(".idx").unlink(missing_ok=True)
            raise

    def _index(self, file: IO[bytes], index: Path) -> None:
        def external(name: bytes) -> tuple[int, bytes]:
            return self._whole(*self._find(name))

        with _damage("a pack"):
            try:
                entries = index_pack(file, self._apply_delta, external)
            except KeyError as error:
                raise ValueError(f"it needs {error}, which was not sent") from None
        index.write_bytes(b"".join(_INDEX.pack(name, offset) for name, offset in entries))

    def _open(self, path: Path) -> None:
        try:
            offsets = dict(_INDEX.iter_unpack(path.with_suffix(".idx").read_bytes()))
        except (OSError, struct.error) as error:
            self.close()
            raise Damaged(f"the index of a pack: {error}") from error
        self._packs.append(_Pack(file=path.open("rb"), offsets=offsets))

    def clear(self) -> None:
        """Remove all packs."""
        self.close()
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self._packs = []
        self._bases.clear()
        self._bases_bytes = 0

    def close(self) -> None:
        for pack in self._packs:
            pack.file.close()


def _guarded(file: IO[bytes], entry: Entry, object_id: str) -> Iterator[bytes]:
    with _damage(object_id):
        yield from Inflation(file, entry)


@contextlib.contextmanager
def _damage(what: str) -> Iterator[None]:
    try:
        yield
    except (zlib.error, ValueError) as error:
        raise Damaged(f"{what}: {error}") from error
