"""A directory on this machine as the source of a build: copied, as git would give it, to where nothing changes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import PathNotFound
from builder.sources.archive import FIXED_TIME
from builder.sources.gitlib import ignored_by, read_work_tree

_NEVER = frozenset({".git", "__pycache__"})
IGNORE_FILE = ".lambdaignore"


@dataclass(frozen=True, kw_only=True)
class DirectorySnapshot:
    """The files of a directory, below `root`. `commit` is the one checked out there, empty outside of git."""

    root: Path
    commit: str
    commit_time: int


def snapshot(directory: Path, into: Path, *, leave_out: Sequence[Path] = ()) -> DirectorySnapshot:
    """Copy `directory` to `into`, which is made.

    In a git work tree that is what git has or would take, changes that are not committed included, ignored files not;
    elsewhere it is everything. What a `.lambdaignore` names, in gitignore's syntax and from its own directory on, is
    left out of either. Modes and times are those of a checkout by the builder function.

    Args:
        leave_out: directories that belong to the build and not to the project, such as its output.

    Raises:
        PathNotFound: there is no such directory.
        SourceError: the git repository around it cannot be read.
    """
    if not directory.is_dir():
        raise PathNotFound(f"{directory} is not a directory", hint="name the directory that has the build file")
    tree = read_work_tree(directory)
    commit_time = tree.commit_time if tree and tree.commit else FIXED_TIME
    paths = tree.paths if tree else tuple(_everything(directory))
    ignored = _ignored(directory, paths)
    paths = tuple(path for path in paths if path not in ignored)
    inside = directory.resolve()
    skipped = [place for path in leave_out if (place := path.resolve()).is_relative_to(inside)]
    into.mkdir()
    for name in paths:
        source, target = directory / name, into / name
        if any(source.parent.resolve().is_relative_to(place) for place in skipped):
            continue
        if source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.readlink())
        elif source.is_file():  # a tracked file may have been deleted
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
            os.utime(target, (commit_time, commit_time))
    return DirectorySnapshot(root=into, commit=tree.commit if tree else "", commit_time=commit_time)


def _ignored(directory: Path, paths: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for file in (path for path in paths if path.rpartition("/")[2] == IGNORE_FILE and (directory / path).is_file()):
        folder = file.removesuffix(IGNORE_FILE)
        below = (path.removeprefix(folder) for path in paths if path.startswith(folder))
        found.update(folder + path for path in ignored_by(directory / file, below))
    return frozenset(found)


def _everything(directory: Path) -> Iterator[str]:
    for folder, names, files in os.walk(directory):
        links = [name for name in names if Path(folder, name).is_symlink()]
        names[:] = [name for name in names if name not in _NEVER and name not in links]
        yield from (os.path.relpath(Path(folder, name), directory) for name in (*files, *links) if name not in _NEVER)
