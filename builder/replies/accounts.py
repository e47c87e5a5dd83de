"""What a reply says of builds that were: how they went, what they left, whether it is still the same."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from builder.replies.deploys import Phase

RecordedAction = Literal["build", "rollback", "package"]
Ended = Literal["succeeded", "failed"]
AnyState = Literal["running", "succeeded", "failed"]


class BuildState(TypedDict):
    """How far a build is, or how it ended; also `failed` a minute after the last sign of life of its builder."""

    build_id: str
    function: str | None
    state: AnyState
    execution: NotRequired[str]
    """ARN of the Step Functions execution in which it goes on."""
    phase: NotRequired[str]
    message: NotRequired[str]
    seconds: NotRequired[float]
    phases: NotRequired[list[Phase]]
    started: NotRequired[str]
    """Like `2026-11-21T10:16:36Z`."""
    ended: NotRequired[str]
    reply: NotRequired[dict[str, object]]
    """What the build answered."""


class HistoryRow(TypedDict):
    """A build that changed something, or failed."""

    build_id: str
    action: RecordedAction
    state: Ended
    seconds: float
    started: str
    ended: str
    function: str | None
    by: str | None
    repo: str | None
    path: str
    ref: str | None
    commit: str | None
    alias: str | None
    version: str | None
    builder: str
    """The builder's version."""
    changed: list[str]
    sizes: dict[str, int]
    """Of each component's zip, in bytes."""
    error: str | None
    """The code, if it failed."""
    message: str | None
    restored: str | None
    """The build that a rollback has returned to."""


class BuildThere(TypedDict):
    """A build whose result a function, or its alias, has."""

    build_id: str
    commit: str | None
    ref: str | None
    by: str | None
    version: str | None
    ended: str
    age_seconds: float
    """Since it ended."""
    changed_since: NotRequired[bool]
    """The present state is not the one that this build left: someone changed it by hand."""


class WayBack(TypedDict):
    """What a rollback does, or would do."""

    now: BuildThere | None
    """What was there before; null where no build is recorded."""
    then: BuildThere
    """What is returned to."""
    alias: str | None
    differences: list[str]
    """Between the two: `code`, `layer NAME`, names of settings."""
    steps: NotRequired[list[str]]
    """With `preview`: what would be done in the account, in words."""


class RecentRow(TypedDict):
    """A build of any function."""

    build_id: str
    function: str | None
    state: str
    seconds: float
    ended: str
    by: str | None
    ref: str | None
    """Empty for files that were sent: then `commit` is the id of their tree."""
    commit: str | None
    error: str | None


class Storage(TypedDict, total=False):
    """Lambda's storage for code, in bytes, and how much of it is what this builder has deployed."""

    limit_bytes: int
    used_bytes: int
    ours_bytes: int
    functions: int
    versions: int
    layers: int
    problem: str
    """Why it is not known."""


class VerifiedRow(TypedDict):
    """A component, with SHA-256 in hexadecimal."""

    name: str
    deployed: str | None
    rebuilt: str | None
    same: bool


class Verified(TypedDict):
    """Whether what is deployed is what its source makes."""

    build: str | None
    """Which build made it; null where several functions have each their own."""
    same: bool
    components: list[VerifiedRow]
