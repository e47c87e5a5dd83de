"""The store on a workstation: a directory that several builds may share, of bounded size."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from builder.hashing import sha256_of
from builder.store import whole
from builder.store.keeping import Store, matching, mismatch
from builder.store.values import JsonObject, body


class DirectoryStore(Store):
    """A directory as the store. Objects that are read or looked for are marked as used: the least recent go first."""

    def __init__(self, root: Path, *, warn: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(warn)
        self._root = root

    def place(self, name: str) -> str:
        return str(self._root / name)

    def _made(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _used(self, name: str) -> Path | None:
        """Return the file, marked as used; None if there is none."""
        path = self._root / name
        try:
            # The file's date is the record of its last use: no index that two builds would have to share.
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError:  # another user's, which can only be read
            return path if path.exists() else None
        return path

    def read_bytes(self, name: str) -> bytes | None:
        path = self._used(name)
        return path.read_bytes() if path else None

    def write_json(self, name: str, value: JsonObject) -> None:
        with whole.file(self._made(name)) as partial:
            partial.write_bytes(body(value))

    def fetch(self, name: str, into: Path, *, sha256: str = "") -> bool:
        path = self._used(name)
        if path is None:
            return False
        with whole.file(into) as partial:
            shutil.copyfile(path, partial)
            return matching(partial, sha256)

    def put(self, name: str, path: Path, *, sha256: str) -> None:
        with whole.file(self._made(name)) as partial:
            try:
                partial.hardlink_to(path)  # safe, since a file that is put here is complete and never written again
            except OSError:
                shutil.copyfile(path, partial)
            if not matching(partial, sha256):
                raise mismatch(name, sha256)

    def exists(self, name: str, *, sha256: str = "") -> bool:
        path = self._used(name)
        return path is not None and (not sha256 or sha256_of(path) == sha256)
