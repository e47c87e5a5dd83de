"""A wheel opened for reading: its files, looked at with suspicion.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from builder.archives.zipformat import ENCRYPTED, LOCAL_RECORD, UTF8_NAME, after_local
from builder.archives.zips import safe_name
from builder.characters import hides
from builder.errors import ArtifactConflict, UnsafeSource

_CHUNK = 1 << 20
_RECORD = re.compile(r"[^/]+\.dist-info/RECORD")
# No function may have more than 250 MB, so a wheel beyond these is a mistake or a bomb.
_MAX_UNZIPPED = 1 << 30
_MAX_FILES = 100_000
_MAX_RECORD = 32 << 20
# Text and zeros reach 30 to 1; a bomb lives at 1,000 to 1. Small wheels may be odd without harm.
_MAX_RATIO = 100
_SMALL = 64 << 20
# What the wheel specification allows in RECORD, of what every Python has.
_HASHES = frozenset({"sha256", "sha384", "sha512"})


class WheelFile:
    """The files of a wheel, `infos` by path. Use as a context manager; several threads may read.

    Raises:
        UnsafeSource: an entry leaves its directory, is a link, has a name that hides something or is not the same for
            every reader of zips; or the wheel is implausibly large.
        ArtifactConflict: the file is no readable zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        try:
            self._archive = zipfile.ZipFile(path)
        except OSError as error:  # also a place before the file's beginning that its directory names
            if error.errno not in (None, errno.EINVAL):
                raise
            raise ArtifactConflict(f"{self.name} is not a readable wheel: {error}") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise ArtifactConflict(f"{self.name} is not a readable wheel: {error}") from error
        try:
            self.infos = self._members()
            self._examine()
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> WheelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._archive.close()

    @property
    def label(self) -> str:
        """Name and version, for people."""
        return " ".join(self.name.split("-")[:2])

    def read(self, path: str) -> bytes:
        """The content of a file, which should be a small one."""
        with self._readable():
            return self._archive.read(self.infos[path])

    def opener(self, path: str) -> Callable[[], IO[bytes]]:
        """What opens a file as a stream."""
        return lambda: self._archive.open(self.infos[path])

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Name the wheel in what its damage makes of reading from it."""
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, ValueError) as error:
            raise ArtifactConflict(f"{self.name} is not a readable wheel: {error}") from error

    def recorded(self) -> dict[str, str]:
        """RECORD's hash of each path that has a usable one, as ALGORITHM=BASE64; "" for the files that need none.

        Raises:
            ArtifactConflict: there is not exactly one RECORD, it cannot be read, or it has two hashes for one path.
            UnsafeSource: it is implausibly large.
        """
        records = [path for path in self.infos if _RECORD.fullmatch(path)]
        if len(records) != 1:
            raise ArtifactConflict(f"{self.name} has {len(records)} RECORD files instead of one")
        if self.infos[records[0]].file_size > _MAX_RECORD:
            raise UnsafeSource(f"{self.name}: RECORD has more than {_MAX_RECORD >> 20} MiB")
        found: dict[str, str] = {records[0] + signature: "" for signature in ("", ".jws", ".p7s")}
        try:
            for row in csv.reader(io.StringIO(self.read(records[0]).decode("utf-8", "replace"))):
                if len(row) < 2 or row[1].partition("=")[0] not in _HASHES:
                    continue
                if found.setdefault(row[0], row[1]) not in ("", row[1]):
                    raise ArtifactConflict(f"{self.name}: RECORD has two hashes for {row[0]}")
        except csv.Error as error:
            raise ArtifactConflict(f"{self.name}: RECORD cannot be read: {error}") from error
        return found

    def verify(self, path: str, expected: str | None) -> None:
        """Read a file once: size and CRC must be those of the directory, and the hash RECORD's (`expected`).

        Raises:
            ArtifactConflict: the hash is another, or the file is damaged, or is not as long as it says.
        """
        algorithm, _, wanted = (expected or "").partition("=")
        digest = hashlib.new(algorithm or "sha256")
        with self._readable():
            for chunk in self._chunks(self.infos[path]):
                digest.update(chunk)
        if wanted and base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != wanted.rstrip("="):
            raise ArtifactConflict(f"{self.name}: {path} does not match the wheel's own RECORD")

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content of a file. zipfile stops at the size that the directory names, whatever follows; since compressed
        bytes are copied as they are, what follows would get into the artifact, so it is an error here."""
        if info.compress_type != zipfile.ZIP_DEFLATED:
            with self._archive.open(info) as source:
                while chunk := source.read(_CHUNK):
                    yield chunk
            return
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        crc = size = 0
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            file.seek(after_local(file.read(LOCAL_RECORD.size)), 1)
            left = info.compress_size
            while not inflate.eof and size <= info.file_size:
                data = inflate.unconsumed_tail
                if not data:
                    data = file.read(min(_CHUNK, left))
                    left -= len(data)
                # Also without input: what is limited to a chunk may have left output behind.
                chunk = inflate.decompress(data, _CHUNK)
                if not data and not chunk:
                    break
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
                yield chunk
        if not inflate.eof or inflate.unused_data or left or (crc, size) != (info.CRC, info.file_size):
            raise zipfile.BadZipFile(f"{info.filename} is damaged, or is not as long as it says")

    def _members(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        listed = self._archive.infolist()
        if len(listed) > _MAX_FILES:
            raise UnsafeSource(f"{self.name}: more than {_MAX_FILES:,} files")
        for info in listed:
            if not info.filename:
                raise UnsafeSource(f"{self.name}: a file has no name")
            if info.is_dir():
                continue
            name = safe_name(info.filename)
            if hides(info.orig_filename):  # zipfile ends a name at a null byte
                raise UnsafeSource(f"{self.name}: {info.orig_filename!r} contains a control or invisible character")
            if not name.isascii() and not info.flag_bits & UTF8_NAME:
                raise UnsafeSource(f"{self.name}: {name!r} is another name to readers of another code page")
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise UnsafeSource(f"{self.name}: {name} is a symbolic link, which wheels may not contain")
            if info.flag_bits & ENCRYPTED:
                raise UnsafeSource(f"{self.name}: {name} is encrypted")
            if name in members:
                raise ArtifactConflict(f"{self.name}: {name} is in the wheel twice")
            members[name] = info
        self._weigh(members)
        return members

    def _examine(self) -> None:
        """Compare the directory with what lies before it. zipfile goes by the directory, other tools do not."""
        from builder.archives.archived import Limits, Unreadable
        from builder.archives.zipped import zip_entries

        try:
            with self.path.open("rb") as file:
                for entry in zip_entries(file, Limits(max_bytes=_MAX_UNZIPPED, max_entries=2 * _MAX_FILES)):
                    name = entry.name.decode("utf-8", "backslashreplace")
                    info = self.infos.get(name)
                    is_odd = info is not None and info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                    if entry.problem and not is_odd:  # odd methods are compressed again
                        raise UnsafeSource(f"{self.name}: {name!r} {entry.problem}")
                    if info is not None and entry.kind != "file":
                        raise UnsafeSource(f"{self.name}: {name} is a {entry.kind} for some readers")
        except Unreadable as error:
            raise UnsafeSource(f"{self.name} is not the same wheel to every reader: {error.message}") from error

    def _weigh(self, members: dict[str, zipfile.ZipInfo]) -> None:
        unzipped = sum(info.file_size for info in members.values())
        if unzipped > _MAX_UNZIPPED:
            raise UnsafeSource(f"{self.name}: more than {_MAX_UNZIPPED >> 20} MiB unzipped")
        size = self.path.stat().st_size
        # Entries that overlap are how a small file claims to hold much.
        if sum(info.compress_size for info in members.values()) > size or (
            unzipped > _SMALL and unzipped > size * _MAX_RATIO
        ):
            raise UnsafeSource(
                f"{self.name}: {unzipped >> 20} MiB unzipped from {size >> 10} KiB, which no wheel needs"
            )
