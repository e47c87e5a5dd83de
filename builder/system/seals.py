"""What the builder itself has written to /tmp, as its own memory has it.

Foreign code runs as the same user as the builder and can write whatever the builder can, a list of hashes included.
The builder's memory it can neither read nor write.
"""

from __future__ import annotations

import stat
from pathlib import Path

from builder.hashing import sha256_of
from builder.system.states import States, states

# Of a file its sha256. Of a tree, which has thousands of files, what the kernel says of each.
_FILES: dict[Path, str] = {}
_TREES: dict[Path, States] = {}
# Trees that were compared in this build.
_COMPARED: set[Path] = set()


def seal(path: Path, sha256: str = "") -> None:
    """Remember the content of a file as it is now; `sha256` where it is known already."""
    _FILES[path] = sha256 or sha256_of(path)


def is_intact(path: Path) -> bool:
    """Whether a file is there, and as it was sealed."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and _FILES.get(path) == sha256_of(path)
    except OSError:
        return False


def seal_tree(root: Path) -> None:
    """Remember everything below a directory as it is now; no foreign code may run meanwhile."""
    _TREES[root] = states(root)
    _COMPARED.add(root)


def is_intact_tree(root: Path) -> bool:
    """Whether a directory is as it was sealed: nothing was written to it, nothing is more or less."""
    if root not in _TREES or root.is_symlink() or not root.is_dir():
        return False
    if root not in _COMPARED:
        try:
            now = states(root)
        except OSError:  # something in it cannot be listed any more
            return False
        if now != _TREES[root]:
            del _TREES[root]
            return False
        _COMPARED.add(root)
    return True


def sealed() -> tuple[set[Path], set[Path]]:
    """The files and the trees that are sealed; whether they still are as they were, is not looked at."""
    return set(_FILES), set(_TREES)


def compare_again() -> None:
    """Let trees be compared before they are used the next time."""
    _COMPARED.clear()
