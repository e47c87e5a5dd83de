"""A directory on this machine as the source of a build: copied as git would give it, to where nothing changes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import PathNotFound
from builder.sources.archive import FIXED_TIME
from builder.sources.excludes import SECRETS, Excludes, text_of_build_file
from builder.sources.gitlib.files import ignored_by, read_work_tree

IGNORE_FILE = ".lambdaignore"


@dataclass(frozen=True, kw_only=True)
class DirectorySnapshot:
    """The files of a directory, below `root`. `commit` is the one checked out there, empty outside of git.

    `secrets` are the paths that were left out because such files usually hold secrets.
    """

    root: Path
    commit: str
    commit_time: int
    secrets: tuple[str, ...] = ()


def snapshot(
    directory: Path, into: Path, *, build_file: str | None = None, leave_out: Sequence[Path] = ()
) -> DirectorySnapshot:
    """Copy `directory` to `into`, which is made.

    In a git work tree these are the files that git has or would add, with changes that are not committed, without
    ignored files; elsewhere all files. Files that git doesn't have are left out if the default excludes (`excludes.py`)
    name them, and all that a `.lambdaignore` names, in gitignore's syntax and relative to its own directory. Modes and
    times are those of a checkout by the builder function.

    Args:
        build_file: its name, if it is not a usual one.
        leave_out: directories that belong to the build and not to the project, such as its output.

    Raises:
        PathNotFound: there is no such directory.
        SourceError: the git repository around it cannot be read.
    """
    if not directory.is_dir():
        raise PathNotFound(f"{directory} is not a directory", hint="name the directory that has the build file")
    tree = read_work_tree(directory)
    commit_time = tree.commit_time if tree and tree.commit else FIXED_TIME
    excludes = Excludes(text_of_build_file(directory, build_file))
    groups = {path: excludes.group_of(path) for path in tree.others} if tree else dict(_everything(directory, excludes))
    taken = [path for path, group in groups.items() if not group]
    paths = tuple(sorted(tree.tracked.union(taken) if tree else taken))
    secrets = tuple(sorted(path for path, group in groups.items() if group == SECRETS))
    ignored = _ignored(directory, (*paths, *secrets))
    secrets = tuple(path for path in secrets if path not in ignored)
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
            # The commit's time, or a fixed one: file dates of this machine would change the artifact.
            os.utime(target, (commit_time, commit_time))
    return DirectorySnapshot(root=into, commit=tree.commit if tree else "", commit_time=commit_time, secrets=secrets)


def place_in_repository(directory: Path) -> str:
    """Return where an existing directory is in the git work tree around it (posix); "" at its top, or without one."""
    real = directory.resolve()
    top = next((folder for folder in (real, *real.parents) if (folder / ".git").exists()), real)
    return "" if top == real else real.relative_to(top).as_posix()


def copy_beside(directory: Path, copy: Path, path: str, top: Path, *, leave_out: Sequence[Path] = ()) -> None:
    """Copy a file or directory of the repository beside the copy of one of its directories, by the same rules.

    Args:
        path: relative to `directory`, out of which it leads.
        top: of the copied repository; nothing is copied to places out of it.
    """
    source, target = directory.resolve() / path, Path(os.path.normpath(copy / path))
    if target.exists() or not target.is_relative_to(top):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        snapshot(source, target, leave_out=leave_out)
    elif source.is_file():
        tree = read_work_tree(source.parent)
        time = tree.commit_time if tree and tree.commit else FIXED_TIME
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        os.utime(target, (time, time))


def _ignored(directory: Path, paths: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for file in (path for path in paths if path.rpartition("/")[2] == IGNORE_FILE and (directory / path).is_file()):
        folder = file.removesuffix(IGNORE_FILE)
        below = (path.removeprefix(folder) for path in paths if path.startswith(folder))
        found.update(folder + path for path in ignored_by(directory / file, below))
    return frozenset(found)


def _everything(directory: Path, excludes: Excludes) -> Iterator[tuple[str, str | None]]:
    """Yield (path, group of excludes) of every file and link; a directory that is left out is one path."""
    for folder, names, files in os.walk(directory):
        below = Path(folder).relative_to(directory)

        def decided(name: str, below: Path = below) -> tuple[str, str | None]:
            path = (below / name).as_posix()
            return path, excludes.group_of(path) if excludes.named(name) else None

        yield from map(decided, files)
        deeper = []
        for name in names:
            path, group = decided(name)
            # A link to a directory is copied as a link, so it is not walked.
            if group or Path(folder, name).is_symlink():
                yield path, group
            else:
                deeper.append(name)
        names[:] = deeper
