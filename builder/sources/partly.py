"""Which files of a large repository are needed, and the content of those that were left out when it was fetched.

A large repository's commit and trees come first (git's `blob:none`); then, in few requests, the files that a build is
about to read. https://git-scm.com/docs/partial-clone
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from builder.amounts import megabytes
from builder.errors import UnsafeSource
from builder.paths import shown
from builder.sources.checkout import DIRECTORY, EXECUTABLE, LINK, SUBMODULE, Listed, TreeEntry, below, checked_object
from builder.sources.objects import Content, Objects
from builder.sources.snapshot import Snapshot

# What is likely to be read next, to decide which files are needed: brought along with the first of them, as each
# request takes as long as reading some thousand small files.
_READ_FIRST = re.compile(
    r"(.*/)?((build|template)\.(ya?ml|json)|serverless\.yml|[^/]*(requirements|constraints)[^/]*\.txt)"
)
_MOST_FIRST = 2000
# Repositories with no more files and directories are written whole: choosing would save little.
_FEW = 1000
# .gitmodules, .lfsconfig and build files are parsed in memory; real ones have some thousand bytes.
MAX_CONFIG_BYTES = 1 << 20
LFS_CONFIG = ".lfsconfig"

Choose = Callable[[Snapshot, Callable[[str], bytes]], Collection[str] | None]
"""Chooses paths of a snapshot of which no file is written yet; it gets a reader of single files."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a commit whose trees are all in `objects`.

    `bring` adds the content of files to the objects, by their ids; it may add the others as well.
    """

    objects: Objects
    listed: Listed
    bring: Callable[[Sequence[str]], None]

    def read(self, object_id: str) -> Content:
        """Return a file's content.

        Raises:
            KeyError, Damaged: as `Objects.read`.
        """
        if object_id not in self.objects:
            first = [entry for entry in self.listed.entries if _READ_FIRST.fullmatch(entry.path)][:_MOST_FIRST]
            self.bring([object_id, *(each for each in self._missing(first) if each != object_id)])
        return self.objects.read(object_id)

    def complete(self, chosen: Collection[str] | None) -> None:
        """Bring everything that is missing of the chosen paths, or of the commit."""
        if missing := self._missing(below(self.listed.entries, chosen)):
            self.bring(missing)

    def are_missing(self) -> bool:
        """Tell whether some are not there yet."""
        return bool(self._missing(self.listed.entries))

    def _missing(self, entries: Iterable[TreeEntry]) -> list[str]:
        ids = dict.fromkeys(entry.object_id for entry in entries if entry.mode not in (DIRECTORY, SUBMODULE))
        return [object_id for object_id in ids if object_id not in self.objects]


def choose_paths(files: Files, snapshot: Snapshot, choose: Choose | None) -> Collection[str] | None:
    """Return the paths that are needed; None for all.

    A small repository is written whole, and one with submodules, since what they have is not known yet.

    Raises:
        UnsafeSource: a file that decides it is damaged or huge.
    """
    snapshot = with_paths(snapshot, files.listed)
    if choose is None or snapshot.gitlinks or len(snapshot.ids) <= _FEW:
        return None

    def content(path: str) -> bytes:
        found = checked_object(files.read, snapshot.ids[path], "blob", path)
        if found.size > MAX_CONFIG_BYTES:
            raise UnsafeSource(f"{shown(path)} is larger than {megabytes(MAX_CONFIG_BYTES)}")
        return b"".join(found.chunks)

    chosen = choose(snapshot, content)
    return None if chosen is None else {*chosen, LFS_CONFIG}


def with_paths(snapshot: Snapshot, listed: Listed) -> Snapshot:
    """Return the snapshot with the ids of all that its tree has."""
    return replace(
        snapshot,
        ids=listed.ids,
        links=listed.paths(LINK),
        gitlinks=listed.paths(SUBMODULE),
        executables=listed.paths(EXECUTABLE),
    )
