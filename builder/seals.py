"""What the builder itself has written to /tmp, by hash, in its own memory.

Foreign code runs as the same user as the builder and can write whatever the builder can, a list of hashes included.
The builder's memory it can neither read nor write.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.hashing import sha256_of

# Of a file: its sha256. Of a tree: every path in it, with what `_seal_of` says of it.
_FILES: dict[Path, str] = {}
_TREES: dict[Path, Mapping[str, str]] = {}
# Trees that were compared since foreign code of another domain ran; comparing hundreds of megabytes takes long.
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
    """Remember everything below a directory as it is now."""
    _TREES[root] = dict(_seals(root))
    _COMPARED.add(root)


def is_intact_tree(root: Path) -> bool:
    """Whether a directory is as it was sealed: nothing else in it, nothing less, with the same modes."""
    if root not in _TREES or not root.is_dir() or root.is_symlink():
        return False
    if root not in _COMPARED:
        if dict(_seals(root)) != _TREES[root]:
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


def _seals(root: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118  # thousands of them
            yield path[len(str(root)) :], _seal_of(path)


def _seal_of(path: str) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"link {os.readlink(path)}"  # noqa: PTH115
    if not stat.S_ISREG(mode):
        return f"{mode:o}"
    with open(path, "rb") as file:  # noqa: PTH123
        return f"{mode:o} {hashlib.file_digest(file, 'sha256').hexdigest()}"
