"""Removes what foreign code has left, whatever its modes, its depth, or the targets of its links."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory; do nothing if it is not there.

    Directories are made accessible first: a directory of mode 0 or 0300 cannot be listed. Each is moved up before it
    is emptied, since a chain of directories may be longer than any path.

    Raises:
        OSError: it belongs to another user, or the disk is broken.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        path.unlink(missing_ok=True)
        return
    # A directory without read permission cannot be listed, not even by its owner.
    path.chmod(0o700)
    # Everything below is done relative to open directories: a path could meanwhile be led elsewhere by a link.
    parent = os.open(path.parent, _OPEN & ~os.O_NOFOLLOW)
    try:
        _Removing(parent, path.name).run()
    finally:
        os.close(parent)


class _Removing:
    """A removal; `parent` is the open directory that has `name`, and in which directories wait to be emptied."""

    def __init__(self, parent: int, name: str) -> None:
        self._parent = parent
        self._waiting = [name]
        self._count = 0

    def run(self) -> None:
        while self._waiting:
            name = self._waiting.pop()
            folder = os.open(name, _OPEN, dir_fd=self._parent)
            try:
                self._empty(folder)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=self._parent)

    def _empty(self, folder: int) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    # A directory must be writable to be moved: its `..` changes.
                    os.chmod(entry.name, 0o700, dir_fd=folder)
                    moved = self._name()
                    os.rename(entry.name, moved, src_dir_fd=folder, dst_dir_fd=self._parent)
                    self._waiting.append(moved)
                else:
                    os.unlink(entry.name, dir_fd=folder)

    def _name(self) -> str:
        """Return a name that is free in the parent."""
        while True:
            self._count += 1
            name = f".removed-{os.getpid()}-{self._count}"
            try:
                os.lstat(name, dir_fd=self._parent)
            except FileNotFoundError:
                return name


def make_accessible(folder: Path) -> None:
    """Let the owner list and write a directory, if it is one."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o700 != 0o700:
            folder.chmod(stat.S_IMODE(found.st_mode) | 0o700)
