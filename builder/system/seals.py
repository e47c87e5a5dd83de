"""Remembers in its own memory what the builder itself has written to /tmp.

Foreign code runs as the builder's user and can write whatever the builder can, a list of hashes included. But it can
neither read nor write the builder's memory.
"""

from __future__ import annotations

import stat
from pathlib import Path

from builder.hashing import sha256_of
from builder.system.states import States, states

# A file's sha256. A tree has thousands of files, so for it the kernel's word on each (see `states`).
_FILES: dict[Path, str] = {}
_TREES: dict[Path, States] = {}
# Trees that were compared in this build already, since a look at thousands of files takes a while.
_COMPARED: set[Path] = set()


def seal(path: Path, sha256: str = "") -> None:
    """Remember the content of a file as it is now; give `sha256` if it is known already."""
    _FILES[path] = sha256 or sha256_of(path)


def is_intact(path: Path) -> bool:
    """Tell whether a file exists as it was sealed."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and _FILES.get(path) == sha256_of(path)
    except OSError:
        return False


def seal_tree(root: Path) -> None:
    """Remember everything below a directory as it is now; no foreign code may run meanwhile."""
    _TREES[root] = states(root)
    _COMPARED.add(root)


def is_intact_tree(root: Path) -> bool:
    """Tell whether a directory is as it was sealed: nothing written, added or removed."""
    if root not in _TREES or root.is_symlink() or not root.is_dir():
        return False
    if root not in _COMPARED:
        try:
            now = states(root)
        except OSError:  # something in it cannot be listed any more
            return False
        if now != _TREES[root]:
            # Forgotten, so that it never counts as intact again, even if it is changed back.
            del _TREES[root]
            return False
        _COMPARED.add(root)
    return True


def sealed() -> tuple[set[Path], set[Path]]:
    """Return the sealed files and trees, without checking that they are unchanged."""
    return set(_FILES), set(_TREES)


def compare_again() -> None:
    """Make trees be compared again before their next use."""
    _COMPARED.clear()
