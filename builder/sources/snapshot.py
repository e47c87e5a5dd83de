"""A commit that was found, and a commit that was fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A commit and the name that it was found by: `ref` is a full ref name, or the commit id again.

    `tips` are full names of refs that have it as their tip, as far as the server was asked: all that were asked about,
    none for a full commit id. `git.tips` asks for all.
    """

    url: str
    ref: str
    commit: str
    tips: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One commit's files below `root`.

    `tree` is the id of the whole tree, `subtree` that of the requested directory ("" if there is none).
    `commit_time` is the committer's, in seconds since the epoch. `submodules` are those that were left empty,
    `lfs_pointers` the files whose content could not be had, both posix paths relative to `root`; `warnings` say why,
    and so do `lfs_reasons`, by path. Without `unpacked` no file was written, because the caller already knows the
    tree.
    """

    root: Path
    url: str
    ref: str
    commit: str
    tree: str
    subtree: str
    commit_time: int
    files: int = 0
    submodules: tuple[str, ...] = ()
    lfs_pointers: tuple[str, ...] = ()
    lfs_reasons: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unpacked: bool = True
