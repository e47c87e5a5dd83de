"""Caches of compilers and package managers: a directory per project in /tmp, kept in the store for later environments.

A cache belongs to one trust domain and never serves another, because code that builds can write to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from builder.archives import tars
from builder.hashing import sha256_of
from builder.store import whole
from builder.store.keeping import Store
from builder.store.values import SHA256, Fields
from builder.system import process
from builder.system.removal import remove
from builder.workspace.directory import Workspace

# A larger cache takes longer to send and fetch than it saves.
_MAX_BYTES = 1 << 30
# Compiled code compresses nearly as well at higher levels, and the build waits for it.
_LEVEL = 1
# Raised when kept caches can no longer be read.
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class KeptCache:
    """The store's record of a cache: its fingerprint (see `keep`), and size and sha256 of the archive."""

    fingerprint: str
    size: int
    sha256: str

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store."""
        return asdict(self)

    @classmethod
    def parse(cls, kept: Fields) -> KeptCache:
        """Parse the output of `as_json`."""
        return cls(fingerprint=kept.text("fingerprint"), size=kept.count("size"), sha256=kept.text("sha256", SHA256))


@dataclass(frozen=True, kw_only=True)
class BuildCache:
    """One cache, below the directory `root`; `name` says what for: kind of build, versions of tools, target."""

    root: Path
    workspace: Workspace
    store: Store
    name: str
    _lost: list[str] = field(default_factory=list, compare=False)

    @property
    def folder(self) -> Path:
        """Directory of the cache; `restore` makes it."""
        return self.root / self._id

    @property
    def _id(self) -> str:
        return hashlib.sha256(f"{_FORMAT}\0{self.name}".encode()).hexdigest()[:32]

    def restore(self) -> None:
        """Make the directory, filled from the store if this environment has none."""
        folder = self.folder
        if folder.exists():
            self.workspace.used(folder)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        kept = self.store.find(f"caches/{self._id}.json", KeptCache.parse)
        with whole.folder(folder) as partial:
            if kept is not None and not self._unpack(kept, partial):
                self._lost.append(kept.sha256)
                for path in partial.iterdir():
                    remove(path)

    def _unpack(self, kept: KeptCache, into: Path) -> bool:
        """Unpack the stored archive; False if it is gone or damaged, and then `into` is not to be used."""
        with tempfile.TemporaryDirectory(prefix=".cache.", dir=into.parent) as beside:
            archive = Path(beside) / "archive"
            if not self.store.fetch(f"caches/{self._id}.tar.zst", archive, sha256=kept.sha256):
                return False
            process.note_foreign_code()  # foreign code made what is unpacked, whether or not any runs now
            try:
                with _decompressed(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
                    tars.unpack(opened, into)
            except (tarfile.TarError, EOFError, ValueError, tars.zstandard().ZstdError):
                return False
        return True

    def keep(self, fingerprint: str, leave_out: tuple[str, ...] = ()) -> None:
        """Put the directory into the store, unless it is there with the same `fingerprint`.

        Args:
            fingerprint: changes when it is worth storing again, as a lock does; not the project's own files, which
                change at every build.
            leave_out: names at the top that are not kept.
        """
        record = f"caches/{self._id}.json"
        kept = self.store.find(record, KeptCache.parse)
        if kept and kept.fingerprint == fingerprint and not self._lost:
            return
        # Sorted, so that the same files give the same archive.
        files = sorted(
            path for path in self.folder.rglob("*") if path.relative_to(self.folder).parts[0] not in leave_out
        )
        if sum(path.lstat().st_size for path in files) > _MAX_BYTES:
            return
        handle, name = tempfile.mkstemp(prefix=".cache.", dir=self.folder.parent)
        archive = Path(name)
        try:
            with (
                os.fdopen(handle, "wb") as out,
                _compressing(out) as stream,
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as made,
            ):
                for path in files:
                    made.add(path, str(path.relative_to(self.folder)), recursive=False)
            sha256 = sha256_of(archive)
            self.store.put(f"caches/{self._id}.tar.zst", archive, sha256=sha256)
            # The record last: until it names the new archive, the old one is used.
            new = KeptCache(fingerprint=fingerprint, size=archive.stat().st_size, sha256=sha256)
            self.store.write_json(record, new.as_json())
            self._lost.clear()
        finally:
            archive.unlink()


@contextlib.contextmanager
def _compressing(out: IO[bytes]) -> Iterator[IO[bytes]]:
    with tars.zstandard().open(out, "wb", level=_LEVEL) as stream:
        yield stream


@contextlib.contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    with tars.zstandard().open(archive, "rb") as stream:
        yield stream
