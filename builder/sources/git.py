"""One commit of a git repository as a directory. The only importer of dulwich."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class GitCredentials:
    username: str
    token: str = field(repr=False)
    base: str | None = None  # URL they belong to; sent to no other origin. None: to the repository's own


@dataclass(frozen=True, kw_only=True)
class Resolved:
    url: str
    ref: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    root: Path
    url: str
    ref: str
    commit: str
    tree: str
    commit_time: int
    files: int
    submodules: tuple[str, ...] = ()  # left as empty directories
    lfs_pointers: tuple[str, ...] = ()  # files whose content is elsewhere; select_files refuses them


def repository_url(repo: str | None, repo_name: str | None, *, base: str, username: str | None) -> str:
    raise NotImplementedError


def resolve(url: str, ref: str | None, *, credentials: GitCredentials | None) -> Resolved:
    raise NotImplementedError


def fetch(
    resolved: Resolved, into: Path, *, credentials: GitCredentials | None, max_bytes: int | None = None
) -> Snapshot:
    raise NotImplementedError
