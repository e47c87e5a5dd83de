"""A commit that was found, and a commit that was fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    tree. `ids` are git's ids of files and directories by posix path, `links` the paths of symbolic links, `gitlinks`
    those of submodules, `executables` those of files that may be executed. Unless `whole`, only files that a caller has
    chosen were written.
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
    ids: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: frozenset[str] = frozenset()
    gitlinks: frozenset[str] = frozenset()
    executables: frozenset[str] = frozenset()
    whole: bool = True

    @property
    def lacks_files(self) -> bool:
        """Whether submodules or LFS files are missing: then settings at the repository's root decide what is there."""
        return bool(self.submodules or self.lfs_pointers)

    def id_of(self, path: str) -> str:
        """Return git's id of a file or directory (posix, "" for the whole tree); "" if there is none.

        Submodules have the ids of their commits, and what is below them has none.
        """
        return self.ids.get(path, "") if path else self.tree

    def identity_of(self, path: str) -> str:
        """Return what tells a file or directory from every other: its id, and for a file whether it is executable.

        The id of a directory covers the modes of what is in it, that of a file not its own.
        """
        return f"{self.id_of(path)}{' x' if path in self.executables else ''}"

    def below(self, directory: str) -> frozenset[str]:
        """Return the paths of everything below a directory (posix, "" for the root), relative to it."""
        prefix = f"{directory}/" if directory else ""
        return frozenset(path.removeprefix(prefix) for path in self.ids if path.startswith(prefix))

    def leads_elsewhere(self, path: str) -> bool:
        """Tell whether a symbolic link is at the path, on the way to it, or below it."""
        return not self.links.isdisjoint(_ways(path)) or any(
            not path or link.startswith(f"{path}/") for link in self.links
        )

    def has_submodule(self, path: str) -> bool:
        """Tell whether a submodule is at the path, on the way to it, or below it, so that files have no ids here."""
        return not self.gitlinks.isdisjoint(_ways(path)) or any(
            not path or gitlink.startswith(f"{path}/") for gitlink in self.gitlinks
        )

    def is_reached_here(self, path: str) -> bool:
        """Tell whether neither a link nor a submodule is on the way to the path, so that its id says what is there."""
        return all(known.isdisjoint(_ways(path)) for known in (self.links, self.gitlinks))


def _ways(path: str) -> Iterator[str]:
    """Yield a path and all directories on the way to it."""
    while path:
        yield path
        path = path.rpartition("/")[0]
