"""The cache directory of a workstation: who uses it, how large it may grow, what is in it.

Below it are `store/`, which corresponds to the builder function's bucket, and `cache/`, as in the function's /tmp.
Many builds may use it at the same time. Every ten minutes, the last of them to end removes the least recently used
files, until the rest fits.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.errors import InvalidConfiguration
from builder.system.removal import remove
from builder.workspace.directory import Workspace

LIMIT_VARIABLE = "LAMBDASMITH_CACHE_MB"
# Room for toolchains, wheels and artifacts of some projects.
DEFAULT_MB = 5000
# All of ours in the directory, which may have existed before.
_OURS = ("cache", "store", "build", "build.lock", "cache.trimmed")
# The lock is a file of its own: `clear` removes the others while it holds it.
_LOCK, _TRIMMED, _EVERY_S = "cache.lock", "cache.trimmed", 600


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Space that one kind of thing takes; a file that two kinds share by a hard link is half of each."""

    kind: str
    files: int
    bytes: int


def limit_bytes(environment: Mapping[str, str]) -> int:
    """Return how large the cache may be.

    Raises:
        InvalidConfiguration: the variable is not a number.
    """
    text = environment.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_MB * 1_000_000
    if not (text.isascii() and text.isdigit()):
        raise InvalidConfiguration(
            f"{LIMIT_VARIABLE}: {text!r} is not a number of megabytes", hint=f"for example {LIMIT_VARIABLE}=2000"
        )
    return int(text) * 1_000_000


@contextlib.contextmanager
def in_use(root: Path, limit: int) -> Iterator[None]:
    """Use the cache in the block. No other build removes anything from it meanwhile.

    Raises:
        InvalidConfiguration: a directory is in the place of a file, or the other way round.
    """
    with _explaining(root), _locked(root) as lock:
        # Shared: builds don't disturb each other, only removal does, which takes the lock alone.
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _is_due(root):
                with contextlib.suppress(BlockingIOError):  # another build goes on, and will trim when it ends
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _trim(root, limit)
                    (root / _TRIMMED).touch()


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[IO[str]]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("w") as lock:
        yield lock


@contextlib.contextmanager
def _explaining(root: Path) -> Iterator[None]:
    """Explain a path in the cache that is not what the cache has there."""
    try:
        yield
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        places = [
            Path(os.fsdecode(name)) for name in (error.filename2, error.filename) if isinstance(name, str | bytes)
        ]
        place = next((each for each in places if each.is_relative_to(root)), None)
        if place is None:
            raise
        what = "a directory" if place.is_dir() else "not a directory"
        raise InvalidConfiguration(
            f"{place} is {what}, and not what the cache has there", hint="remove it; what is missing is made again"
        ) from error


def clear(root: Path) -> None:
    """Remove all that builds have kept.

    Raises:
        InvalidConfiguration: a build uses it.
    """
    if not root.is_dir():
        return
    with _explaining(root), _locked(root) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidConfiguration(
                f"{root} is used by a running build", hint="run the same command again when it has ended"
            ) from error
        for name in _OURS:
            remove(root / name)


def usage(root: Path) -> list[Usage]:
    """Return the space of each kind, the largest first."""
    found = []
    for part in ("cache", "store"):
        for kind in _entries(root / part):
            sizes = [_share(path) for path in (kind, *_below(kind)) if not path.is_dir() or path.is_symlink()]
            found.append(Usage(kind=f"{part}/{kind.name}", files=len(sizes), bytes=sum(sizes)))
    return sorted(found, key=lambda each: (-each.bytes, each.kind))


def _is_due(root: Path) -> bool:
    """Tell whether to look again: looking at all of a large cache takes longer than many a build."""
    try:
        return time.time() - (root / _TRIMMED).stat().st_mtime >= _EVERY_S
    except FileNotFoundError:
        return True


def _trim(root: Path, limit: int) -> None:
    """Remove the least recently used things until the rest fits, and all that a killed build left half done."""
    things = []
    for path in (*Workspace(root).things(), *(path for path in _below(root / "store") if not path.is_dir())):
        # Unfinished files begin with a dot, see `store.whole`. No one else holds the lock, so they are abandoned.
        if path.name.startswith("."):
            remove(path)
        else:
            things.append((path.lstat().st_mtime, str(path), sum(map(_share, (path, *_below(path))))))
    total = sum(size for _, _, size in things)
    for _, name, size in sorted(things):
        if total <= limit:
            return
        remove(Path(name))
        total -= size


def _share(path: Path) -> int:
    """Return the space that removing a file would free; 0 for a directory."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return 0 if path.is_dir() and not path.is_symlink() else found.st_size // found.st_nlink


def _below(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder):
        yield from (Path(at, name) for name in (*folders, *files))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
