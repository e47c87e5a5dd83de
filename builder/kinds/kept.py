"""Cache of packages that npm has installed: the next build of the same lock need not run npm.

The cache belongs to one owner, see `builder.workshop.caches`; packages whose install scripts ran are not kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.npm.modules import Modules, put
from builder.store import whole
from builder.store.values import Fields, UnfitError, body, value_of
from builder.workshop.caches import BuildCache

_FILES, _RECORD = "files", "record.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Kept packages of one component. `key` is the hash of all that they depend on."""

    cache: BuildCache
    key: str

    def get(self, install: Callable[[], Modules]) -> Modules:
        """Return the kept packages, or else those that `install` makes."""
        self.cache.restore()
        if (found := self._read()) is not None:
            return found
        made = install()
        self._write(made)
        self.cache.keep(self.key)
        return made

    @property
    def _folder(self) -> Path:
        return self.cache.folder / self.key

    def _read(self) -> Modules | None:
        root = self._folder / _FILES
        try:
            record = Fields(value_of((self._folder / _RECORD).read_bytes()))
            files = {name: root / name for name in record.texts("files")}
            # Builds of this owner can write here, so files may be missing.
            if not all(path.is_file() for path in files.values()):
                return None
            return Modules(files=files, places=set(record.texts("places")), notes=record.texts("notes"))
        except (OSError, UnfitError):
            return None

    def _write(self, modules: Modules) -> None:
        """Keep the files instead of all that was kept before."""
        with whole.folder(self._folder) as new:
            for name, path in modules.files.items():
                put(path, new / _FILES / name)
            record = {"files": sorted(modules.files), "places": sorted(modules.places), "notes": modules.notes}
            (new / _RECORD).write_bytes(body(record))
            # The old entry goes at the last moment, just before `whole.folder` renames the new one into its place.
            shutil.rmtree(self._folder, ignore_errors=True)
        for other in self.cache.folder.iterdir():
            if other != self._folder and not whole.is_leftover(other):
                shutil.rmtree(other, ignore_errors=True)
