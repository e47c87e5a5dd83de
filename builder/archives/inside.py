"""Unpacks content inside a file: members of zips (jar, whl), and gzip, bzip2 and xz streams. With bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Protocol

from builder.archives.zipformat import END, END_RECORD

# Of one member, and of all that one artifact is searched for: larger content is searched up to here.
_MEMBER = 32 << 20
_ALL = 256 << 20
# Content that grows more than deflate can make of any text is a bomb, and its zeros say nothing.
_RATIO = 1100
# A jar in a zip, and what is in the jar: deeper nesting is rare, and each level multiplies the work.
_DEPTH = 2
_CHUNK = 1 << 20
_STREAMS: Mapping[bytes, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
# Raised by these readers for something damaged, encrypted, or packed in another way.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)


class _Stream(Protocol):
    """What is unpacked while it is read."""

    def read1(self, size: int, /) -> bytes: ...


@dataclass
class Looking:
    """The bytes that may still be unpacked for one artifact."""

    left: int = _ALL

    def at(self, content: bytes, depth: int = 0) -> Iterator[bytes]:
        """Yield the content, and what is packed in it, recursively; with names of members.

        Unreadable content is left out.
        """
        yield content
        if depth == _DEPTH:
            return
        for packed in self._packed(content):
            yield from self.at(packed, depth + 1)

    def _packed(self, content: bytes) -> Iterator[bytes]:
        for beginning, opened in _STREAMS.items():
            if content.startswith(beginning):
                with opened(io.BytesIO(content)) as stream:
                    yield self._read(stream, len(content))
                return
        if END not in content[-(1 << 16) - END_RECORD.size :]:  # where zipfile looks for it
            return
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for info in archive.infolist():
                    yield info.filename.encode("utf-8", "replace")
                    if info.is_dir() or self.left <= 0:
                        continue
                    try:
                        with archive.open(info) as member:
                            if isinstance(member, zipfile.ZipExtFile):
                                yield self._read(member, info.compress_size)
                    except _UNREADABLE:
                        continue
        except _UNREADABLE:
            return

    def _read(self, stream: _Stream, packed: int) -> bytes:
        """Read as much of a stream as allowed; of a damaged one, what comes before the damage."""
        limit, chunks, size = min(_MEMBER, self.left, packed * _RATIO + _CHUNK), [], 0
        try:
            while size < limit and (chunk := stream.read1(min(_CHUNK, limit - size))):
                chunks.append(chunk)
                size += len(chunk)
        except _UNREADABLE:
            pass
        self.left -= size
        return b"".join(chunks)
