"""The request as a frozen value: what to do, to which function, from which source.

Only the standard library, for the same reason as `event.read`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal


class Action(StrEnum):
    """Actions of the builder."""

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
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """A repository and which commit of it.

    Exactly one of `repo` (https URL, or `owner/name`) and `repo_name` (a name below the builder's git base) is set.
    `ref` is a branch, tag, commit or full ref name; None means the repository's default branch.
    """

    repo: str | None = None
    repo_name: str | None = None
    ref: str | None = None

    @property
    def place(self) -> str:
        """Name of the source for people."""
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
        """Name of the source for people."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """Files in S3 that a manifest holds or names; see `sources.manifest`.

    `version_id` is the manifest's, `sha256` that of its JSON text; None for any.
    """

    bucket: str
    manifest: str
    version_id: str | None = None
    sha256: str | None = None

    @property
    def place(self) -> str:
        """Name of the source for people."""
        return f"s3://{self.bucket}/{self.manifest}"


Source = GitSource | ArchiveSource | ObjectSource | ManifestSource


@dataclass(frozen=True, kw_only=True)
class Request:
    """One checked event.

    `function` is set for build, plan, package, history, rollback and verify, `source` for build, plan and package.
    With `project` it names a project, whose single function is called so; several functions have names of their own in
    the build file. At a stage it ends with the stage's name. `key` names one function of several, `stage` a stage of
    the build file, both empty for none; `parameters` are those of a template, sorted, and `stack` is the stack whose
    functions get the code. `group` is the project that the one function belongs to. `independent`: of several
    functions, one that fails holds up no other.
    `path` is the project's directory in the repository or archive: posix, normalised, "" for the root. `components` is
    empty for "all". `upgrade` resolves requirements again, `force` also builds again what is kept. `weight` is the part
    of the alias's traffic that the new version gets, between 0 and 1; None for all of it. `payload` is the JSON text to
    invoke the new version with. `architecture` is the one to package for, None for the build file's; `attached` names
    layers from elsewhere that the caller attaches besides its own. `by` names the caller, in words. `build` is the id
    of an earlier build, `build_id` that of this one. `preview` only describes a rollback. `rights` also tries whether
    the builder may change itself, `publish_only` attaches its layer to nothing. `deleted`: something that once asked
    for this is being removed, and nothing else of the request counts. `made`: other invocations have made the functions
    of this build, which is only published here. `waits`: the sender takes an answer for the end.
    """

    action: Action
    function: str | None = None
    project: bool = False
    key: str = ""
    stage: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    stack: str = ""
    group: str = ""
    independent: bool = False
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
    made: bool = False
    waits: bool = False
