"""The request as a frozen value: what is to be done, to which function, from which source.

Standard library only, for the same reason as `event`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal


class Action(StrEnum):
    """What can be asked of the builder."""

    SETUP = "setup"
    BUILD = "build"
    PACKAGE = "package"
    PLAN = "plan"
    STATUS = "status"
    HISTORY = "history"
    ROLLBACK = "rollback"
    VERIFY = "verify"
    PROBE = "probe"
    PING = "ping"


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """A repository and what to take of it.

    Exactly one of `repo` (https URL, or `owner/name`) and `repo_name` (a name below the builder's git base) is set.
    `ref` is a branch, tag, commit or full ref name; None means the repository's default branch.
    """

    repo: str | None = None
    repo_name: str | None = None
    ref: str | None = None

    @property
    def place(self) -> str:
        """For people."""
        return self.repo or self.repo_name or ""


@dataclass(frozen=True, kw_only=True)
class ArchiveSource:
    """A zip, tar, tar.gz or tar.zst that came with the event."""

    content: bytes = field(repr=False)
    place: ClassVar[str] = "archive"


@dataclass(frozen=True, kw_only=True)
class ObjectSource:
    """An archive in S3; `version_id` None means the newest."""

    bucket: str
    key: str
    version_id: str | None = None

    @property
    def place(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """Files in S3 that a manifest holds or names; see `sources.manifest`.

    `version_id` is the manifest's, `sha256` that of its JSON text; None for whatever is there.
    """

    bucket: str
    manifest: str
    version_id: str | None = None
    sha256: str | None = None

    @property
    def place(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.manifest}"


Source = GitSource | ArchiveSource | ObjectSource | ManifestSource


@dataclass(frozen=True, kw_only=True)
class Request:
    """One checked event.

    `function` is set for build, plan, package, history, rollback and verify, `source` for build, plan and package.
    `path` is the project's directory in the repository or archive: posix, normalised, "" for the root. `components` is
    empty for "all". `upgrade` resolves requirements anew, `force` also builds anew what is kept. `weight` is the part
    of the alias's traffic that the new version gets, between 0 and 1; None for all of it. `payload` is the JSON text to
    invoke the new version with. `architecture` is the one to package for, None for what the build file says; `attached`
    are layers from elsewhere, by any names, that whoever deploys it attaches besides its own. `by` says who asks, in
    words. `build` is the id of an earlier build, `build_id` that of this one. `preview` only tells what a
    rollback would do. `rights` also tries whether the builder
    may change itself, `publish_only` attaches its layer to nothing. `deleted`: what once asked for this is taken away,
    and nothing else of the request counts.
    """

    action: Action
    function: str | None = None
    source: Source | None = None
    path: str = ""
    build_file: str | None = None
    components: tuple[str, ...] = ()
    version: bool = False
    alias: str | None = None
    weight: float | None = None
    payload: str | None = None
    preview: bool = False
    build: str | None = None
    count: int = 20
    by: str | None = None
    build_id: str | None = None
    architecture: Literal["x86_64", "arm64"] | None = None
    attached: tuple[str, ...] = ()
    force: bool = False
    upgrade: bool = False
    rights: bool = False
    publish_only: bool = False
    deleted: bool = False
