"""The builder's part of /tmp, and the time that it has left.

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

from builder.archives.trees import Keeping, is_intact
from builder.errors import OutOfSpace, OutOfTime
from builder.system import process, seals
from builder.system.removal import make_accessible, remove
from builder.workspace.domains import Domain

# Of the ephemeral storage: above this share, the least recently used files leave the caches before a build starts.
_CACHE_SHARE = 0.5
# Lambda's largest ephemeral storage; a workstation's larger disk is no reason to keep more.
_LARGEST_DISK = 10 << 30
# Caches of other programs, whose files belong together: removing one of them would leave a broken cache.
_CACHES_OF_OTHERS = {"uv", "pip", "zig"}
# Kept back so that the reply and the record still go out before Lambda ends the invocation.
_RESERVE_SHARE, _RESERVE_MAX_S = 0.1, 10.0


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The moment when the builder stops by itself, on the clock's scale, in seconds."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """Return a deadline shortly before `seconds` from now, so that there is time left to report it."""
        return cls(at=clock() + seconds - min(_RESERVE_MAX_S, seconds * _RESERVE_SHARE), clock=clock)

    def remaining(self) -> float:
        """Return the seconds left, negative when it has passed."""
        return self.at - self.clock()

    def check(self, doing: str) -> float:
        """Return the seconds left before something starts.

        Raises:
            OutOfTime: no seconds are left.
        """
        left = self.remaining()
        if left <= 0:
            raise OutOfTime(
                f"{doing}: no time left before Lambda's limit; nothing was changed that the next attempt cannot finish",
                hint="run the same command again: what is built is kept; or raise the builder's timeout and memory",
            )
        return left


class _Occupant:
    """The domain whose foreign code may have written to this environment's caches: its id, "" for none."""

    id = ""


def distrust() -> None:
    """Make the next build, of whatever domain, start with what the builder can vouch for, after an odd failure."""
    _Occupant.id = ""


class Workspace:
    """Directories below one root: `cache` survives a build, everything else does not.

    `scratch` may be given elsewhere: if several builds share a root, each needs its own, and none may remove what
    another one uses; `local_cache` keeps the bounds then. `sealed`: files in the cache count only as this very process
    has left them. Not on a workstation, whose cache is its owner's. `temporary`: a directory in which only the builder
    and its children write; it is emptied, except for the root.
    """

    def __init__(
        self, root: Path, *, scratch: Path | None = None, sealed: bool = False, temporary: Path | None = None
    ) -> None:
        self.root = root
        self._sealed = sealed
        self._temporary = temporary
        self.cache = root / "cache"
        self._scratch = scratch or root / "scratch"
        self._is_shared = scratch is not None

    def cached(self, kind: str) -> Path:
        """Return the cache directory of that kind, made if necessary."""
        path = self.cache / kind
        path.mkdir(parents=True, exist_ok=True)
        return path

    def enter(self, domain: Domain) -> None:
        """Prepare the place for a build of `domain`: remove all that another domain's code could have written.

        Files that the builder itself wrote, and has the hash of, may stay, and are compared before use. Between two
        builds of one domain the caches stay as they are.
        """
        if not self._sealed:
            return
        seals.compare_again()
        self.sweep()
        if not _is_folder(self.root):
            remove(self.root)  # a link that leads nowhere, or to what belongs to someone else, would be followed
        for path in _entries(self.root):
            if path != self.cache or not _is_folder(path):
                remove(path)
        # Clearing costs the caches, so it is done only if another domain's code may have written there.
        if process.foreign_code_ran() and _Occupant.id != domain.id:
            _clear(self.cache)
            process.forget_foreign_code()
        # "" equals no domain's id: whatever comes next starts clean.
        _Occupant.id = domain.id if domain.keeps else ""
        for folder in (self.root, self.cache, *_folders(self.cache)):
            make_accessible(folder)

    def sweep(self) -> None:
        """Remove what was put beside the builder's own place."""
        for path in _entries(self._temporary) if self._temporary else ():
            if path != self.root:
                remove(path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty directory that is removed afterwards, with what an earlier, killed invocation left."""
        remove(self._scratch)
        if not self._is_shared:
            self.trim()
        self._scratch.mkdir(parents=True)
        try:
            yield self._scratch
        finally:
            remove(self._scratch)
            self.sweep()  # now: removing millions of files is charged to the build that made them

    @contextlib.contextmanager
    def build_place(self) -> Iterator[Path]:
        """Yield an empty directory with a constant path, since build results contain it; for one build at a time."""
        folder = self.root / "build"
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "build.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # two builds on one workstation share the cache, and so this directory
            remove(folder)
            folder.mkdir()
            try:
                yield folder
            finally:
                remove(folder)

    @property
    def is_sealed(self) -> bool:
        """Whether an intact file is what this process has sealed, and needs no other proof."""
        return self._sealed

    def seal(self, path: Path, sha256: str = "") -> None:
        """Remember the content of a file in a cache as it is now; give `sha256` if it is known already."""
        if self._sealed:
            seals.seal(path, sha256)

    def intact(self, path: Path) -> bool:
        """Tell whether the file exists as it was sealed; remove one that does not."""
        if not self._sealed:
            return path.exists()
        if seals.is_intact(path):
            return True
        remove(path)
        return False

    def seal_tree(self, root: Path) -> None:
        """Remember everything below a directory of a cache as it is now."""
        if self._sealed:
            seals.seal_tree(root)

    def intact_tree(self, root: Path) -> bool:
        """Tell whether the directory exists as it was sealed; remove one that does not."""
        if not self._sealed:
            return root.exists()
        if seals.is_intact_tree(root):
            return True
        remove(root)
        return False

    def trees(self) -> Keeping:
        """Return where unpacked artifacts are kept."""
        folder = self.cached("unpacked")
        if not self._sealed:
            return Keeping(folder=folder, intact=is_intact, seal=lambda _: None)

        def intact(root: Path) -> bool:
            seals.compare_again()
            return seals.is_intact_tree(root)

        return Keeping(folder=folder, intact=intact, seal=seals.seal_tree)

    def used(self, path: Path) -> None:
        """Note that something in a cache was used: the least recently used goes first."""
        with contextlib.suppress(OSError):
            os.utime(path)

    def trim(self, limit_bytes: int | None = None) -> None:
        """Remove the least recently used things from the caches until they fit; the store still has most of them.

        Args:
            limit_bytes: for all caches together; by default a share of the disk.
        """
        if not self.cache.exists():
            return
        if limit_bytes is None:
            disk = shutil.disk_usage(self.cache)
            # Cheap, and nearly always enough: sizes of all cached files are added up only on a disk that is half full.
            if disk.used <= disk.total * _CACHE_SHARE:
                return
            limit_bytes = int(min(disk.total, _LARGEST_DISK) * _CACHE_SHARE)
        kept = [(path.lstat().st_mtime, _size(path), path) for path in self.things()]
        total = sum(size for _, size, _ in kept)
        # Oldest use first.
        for _, size, path in sorted(kept):
            if total <= limit_bytes:
                return
            remove(path)
            total -= size

    def things(self) -> Iterator[Path]:
        """Yield all that is kept or removed as one: a wheel, a part, a tool, or the whole cache of another program."""
        for kind in self.cache.iterdir() if self.cache.is_dir() else ():
            if kind.name in _CACHES_OF_OTHERS or not kind.is_dir():
                yield kind
            else:
                yield from kind.iterdir()

    def child_environment(self, inherited: Mapping[str, str], index_url: str, home: Path) -> dict[str, str]:
        """Return the environment of resolvers and the project's commands, with `home` as HOME, which is made."""
        home.mkdir(parents=True, exist_ok=True)
        environment = process.base_environment(inherited, home=home)
        if "LD_LIBRARY_PATH" in inherited:
            # Lambda's python needs its libpython. The rest of that path would shadow system libraries of tools.
            environment["LD_LIBRARY_PATH"] = str(Path(sys.base_prefix) / "lib")
        # Below the workspace, so that its size is bounded and another domain's build finds it cleared.
        environment["UV_CACHE_DIR"] = str(self.cached("uv"))
        self.used(self.cache / "uv")
        # An interpreter from elsewhere would resolve for another runtime, and fill /tmp.
        environment["UV_PYTHON_DOWNLOADS"] = "never"
        environment["UV_NO_PROGRESS"] = "1"
        environment["PIP_CACHE_DIR"] = str(self.cached("pip"))
        if index_url:
            environment["UV_DEFAULT_INDEX"] = environment["PIP_INDEX_URL"] = index_url
        return environment


def _entries(folder: Path) -> list[Path]:
    make_accessible(folder)
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _clear(cache: Path) -> None:
    """Remove everything that is not sealed."""
    files, trees = seals.sealed()
    parents = {parent for path in (*files, *trees) for parent in path.parents}
    waiting = [cache]
    while waiting:
        for path in _entries(waiting.pop()):
            if path in parents and _is_folder(path):
                waiting.append(path)
            elif path in trees and _is_folder(path):
                continue
            elif path not in files or path.is_symlink() or not path.is_file():
                remove(path)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Turn a full /tmp into the same, clear error wherever something is written."""
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
