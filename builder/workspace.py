"""The builder's corner of /tmp, and the time it has left.

Caches stay for the next, warm, invocation and are bounded; everything else goes when the build ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder import process
from builder.errors import OutOfSpace, OutOfTime
from builder.hashing import sha256_of

# Of the ephemeral storage: above this part, what was used longest ago leaves the caches before a build starts.
_CACHE_SHARE = 0.5
# Lambda's largest ephemeral storage; a workstation's disk is no reason to keep more.
_LARGEST_DISK = 10 << 30
# Their files belong together.
_CACHES_OF_OTHERS = {"uv", "pip", "zig"}
# Kept back so that the reply and the record still leave before Lambda ends the invocation.
_RESERVE_SHARE, _RESERVE_MAX_S = 0.1, 10.0


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """When the builder stops by itself, on the clock's scale, in seconds."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """A deadline shortly before `seconds` from now, so that there is time left to say so."""
        return cls(at=clock() + seconds - min(_RESERVE_MAX_S, seconds * _RESERVE_SHARE), clock=clock)

    def remaining(self) -> float:
        """Seconds left, negative when it has passed."""
        return self.at - self.clock()

    def check(self, doing: str) -> float:
        """Seconds left before something starts.

        Raises:
            OutOfTime: none.
        """
        left = self.remaining()
        if left <= 0:
            raise OutOfTime(
                f"{doing}: no time left before Lambda's limit; nothing was changed that the next attempt cannot finish",
                hint="run the same command again: what is built is kept; or raise the builder's timeout and memory",
            )
        return left


# sha256 of what this process has put into sealed caches, by path. It is kept here and not beside the files, because
# commands of projects run as the same user as the builder and could write both.
_SEALS: dict[Path, str] = {}


class Workspace:
    """Directories below one root: `cache` survives a build, `scratch` does not.

    `scratch` may be given elsewhere: where several builds share a root, each needs its own. `sealed`: parts in the
    cache count only as this very process has left them. Not on a workstation: its cache is its owner's.
    """

    def __init__(self, root: Path, *, scratch: Path | None = None, sealed: bool = False) -> None:
        self.root = root
        self._sealed = sealed
        self.cache = root / "cache"
        self._scratch = scratch or root / "scratch"

    def cached(self, kind: str) -> Path:
        """The cache directory of that kind, made if it is not there."""
        path = self.cache / kind
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory that is gone afterwards, with what an earlier, killed invocation left."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self.trim()
        self._scratch.mkdir(parents=True)
        try:
            yield self._scratch
        finally:
            _make_writable(self._scratch)
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextlib.contextmanager
    def build_place(self) -> Iterator[Path]:
        """An empty directory that is always the same, so that paths in what is built are; for one build at a time."""
        folder = self.root / "build"
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "build.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # two builds on one workstation share the cache, and so this directory
            _make_writable(folder)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                _make_writable(folder)
                shutil.rmtree(folder, ignore_errors=True)

    def seal(self, path: Path) -> None:
        """Remember the content of a file in a cache as it is now."""
        if self._sealed:
            _SEALS[path] = sha256_of(path)

    def intact(self, path: Path) -> bool:
        """Whether the file is there, and as it was sealed."""
        if not path.exists():
            return False
        if not self._sealed or _SEALS.get(path) == sha256_of(path):
            return True
        path.unlink()
        return False

    def used(self, path: Path) -> None:
        """Note that something in a cache was of use: what was not goes first."""
        with contextlib.suppress(OSError):
            os.utime(path)

    def trim(self, limit_bytes: int | None = None) -> None:
        """Remove what was used longest ago from the caches until they fit; the store still has most of it.

        Args:
            limit_bytes: for all caches together; by default a share of the disk.
        """
        if not self.cache.exists():
            return
        if limit_bytes is None:
            disk = shutil.disk_usage(self.cache)
            if disk.used <= disk.total * _CACHE_SHARE:
                return
            limit_bytes = int(min(disk.total, _LARGEST_DISK) * _CACHE_SHARE)
        kept = [(path.lstat().st_mtime, _size(path), path) for path in self._cached_things()]
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= limit_bytes:
                return
            _make_writable(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            total -= size

    def _cached_things(self) -> Iterator[Path]:
        """What is kept or removed as one: a wheel, a part, a tool, or the whole cache of another program."""
        for kind in self.cache.iterdir():
            if kind.name in _CACHES_OF_OTHERS or not kind.is_dir():
                yield kind
            else:
                yield from kind.iterdir()

    def child_environment(self, inherited: Mapping[str, str], index_url: str) -> dict[str, str]:
        """What resolvers and the project's own commands get as environment."""
        home = self.root / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment = process.base_environment(inherited, home=home)
        if "LD_LIBRARY_PATH" in inherited:
            # Lambda's python needs its libpython. The rest of that path would shadow system libraries of tools.
            environment["LD_LIBRARY_PATH"] = str(Path(sys.base_prefix) / "lib")
        environment["UV_CACHE_DIR"] = str(self.cached("uv"))
        self.used(self.cache / "uv")
        environment["UV_PYTHON_DOWNLOADS"] = "never"
        environment["UV_NO_PROGRESS"] = "1"
        environment["PIP_CACHE_DIR"] = str(self.cached("pip"))
        if index_url:
            environment["UV_DEFAULT_INDEX"] = environment["PIP_INDEX_URL"] = index_url
        return environment


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """A full /tmp shows up wherever something is written; it is the same, clear error everywhere."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OutOfSpace(
            "the builder's /tmp is full", hint="raise ephemeral_storage in the [builder] section of config.ini"
        ) from error


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(found.lstat().st_size for found in path.rglob("*"))


def _make_writable(root: Path) -> None:
    """A project's command may leave directories that cannot be emptied."""
    for folder, _, _ in os.walk(root):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
