"""Compressed files as streams of bounded chunks: gzip and Zstandard, each member verified, nothing left over."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol

from builder.archives.archived import CHUNK, Bomb, Limits, Unreadable

# Memory that a frame may demand: 32 MiB, which every level up to 20 stays within.
_WINDOW_LOG = 25
_READ = 64 << 10
# Parallel compressors make one per 64 KiB or so. Each costs time even if it is empty.
_MAX_MEMBERS = 100_000


class _Decompressor(Protocol):
    """One member of a compressed file."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def more(self, data: bytes) -> bytes:
        """Return at most CHUNK bytes; with b"", the next of the data given before."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def more(self, data: bytes) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail + data, CHUNK)


class _Zstandard:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        self._error = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def more(self, data: bytes) -> bytes:
        try:
            return self._frame.decompress(data, CHUNK)
        except self._error as error:
            if "memory" in str(error):
                raise Unreadable(
                    f"the Zstandard data needs more than the {1 << _WINDOW_LOG >> 20} MiB of memory that it may use",
                    hint="compress it without --ultra and --long",
                ) from None
            raise Unreadable(f"the Zstandard data is damaged ({error})") from None


def plain(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of `file` from its position on."""
    while chunk := file.read(CHUNK):
        yield chunk


def gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of the gzip members in `file`.

    Raises:
        Unreadable: they are damaged or cut off, or something that is not gzip follows.
    """
    try:
        yield from _members(file, _Gzip, "gzip", (b"\x1f\x8b",))
    except zlib.error as error:
        raise Unreadable(f"the gzip data is damaged ({error})") from None


def unzstandard(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of the Zstandard frames in `file`. Raises as `gunzipped` does."""
    # Frames without content may be between others; parallel compressors use them as an index.
    skippable = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
    yield from _members(file, _Zstandard, "Zstandard", (b"\x28\xb5\x2f\xfd", *skippable))


def _members(
    file: IO[bytes], start: Callable[[], _Decompressor], what: str, magic: tuple[bytes, ...]
) -> Iterator[bytes]:
    data, members = file.read(_READ), 0
    while data:
        members += 1
        # Many empty members cost time without output, which the ratio of a bomb does not notice.
        if members > _MAX_MEMBERS:
            raise Unreadable(f"the {what} data is in more than {_MAX_MEMBERS:,} pieces", hint="compress it in one go")
        member = start()
        while True:
            chunk = member.more(data)
            if chunk:
                yield chunk
            if member.eof:
                break
            # Nothing came, so all input is used up.
            data = b"" if chunk else file.read(_READ)
            if not chunk and not data:
                raise Unreadable(f"the {what} data is cut off")
        data = member.unused_data or file.read(_READ)
        if len(data) < len(magic[0]):
            data += file.read(_READ)
        if data and not data.startswith(magic):
            _expect_zeros(data, file, what)
            return


def _expect_zeros(data: bytes, file: IO[bytes], what: str) -> None:
    """Accept zeros after the data, which tapes and block devices add as padding."""
    while data:
        if data.strip(b"\0"):
            raise Unreadable(f"there is other data after the {what} data")
        data = file.read(_READ)


class Stream:
    """Reads exact lengths from chunks, and stops a stream that is a bomb."""

    def __init__(self, chunks: Iterator[bytes], limits: Limits, archive_bytes: int) -> None:
        self._chunks = chunks
        self._limits, self._archive_bytes = limits, archive_bytes
        self._rest = memoryview(b"")
        self._unpacked = 0

    def _some(self, most: int) -> memoryview:
        """Return up to `most` bytes; none only at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
            self._unpacked += len(self._rest)
            if self._limits.is_bomb(self._unpacked, self._archive_bytes):
                raise Bomb(self._limits)
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken

    def read(self, length: int) -> bytes:
        """Return `length` bytes, which fit into memory; fewer only if the stream ends."""
        parts = bytearray()
        while len(parts) < length and (some := self._some(length - len(parts))):
            parts += some
        return bytes(parts)

    def copy(self, length: int) -> Iterator[memoryview]:
        """Yield `length` bytes in pieces; fewer only if the stream ends."""
        while length and (some := self._some(min(length, CHUNK))):
            length -= len(some)
            yield some

    def rest(self) -> Iterator[memoryview]:
        """Yield everything up to the end, in pieces."""
        while some := self._some(CHUNK):
            yield some
