"""Unpacks tars that are trusted, links included: a verified toolchain's, and caches that this builder has kept.

Tars from others are unpacked by `builder.sources.archive`, which trusts nothing.
"""

from __future__ import annotations

import copy
import sys
import tarfile
from pathlib import Path
from types import ModuleType


def zstandard() -> ModuleType:
    """Return the module for Zstandard; the standard library has it from Python 3.14 on."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def unpack(opened: tarfile.TarFile, into: Path, *, strip: int = 0) -> None:
    """Unpack files, directories and links, without `strip` leading parts of every path.

    Raises:
        tarfile.TarError: it is damaged, or a path leads out of `into`.
    """
    for member in opened:
        parts = _parts(member.name)[strip:]
        # Devices and pipes are left out: no toolchain or cache has any.
        if not parts or not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            continue
        if ".." in parts or member.name.startswith("/"):
            raise tarfile.TarError(f"{member.name} leaves its directory")
        placed = copy.copy(member)
        placed.name = "/".join(parts)
        if member.islnk():
            # A hard link names its target by the path in the archive, which has lost its leading parts as well.
            placed.linkname = "/".join(_parts(member.linkname)[strip:])
        if hasattr(tarfile, "tar_filter"):  # not in a Python from before 3.11.4
            opened.extract(placed, into, set_attrs=not member.isdir(), filter="tar")
        else:
            opened.extract(placed, into, set_attrs=not member.isdir())


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
