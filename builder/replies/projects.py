"""What a reply says of a project with several functions."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from builder.replies.accounts import WayBack
from builder.replies.deploys import ArtifactRow, Error, FunctionWanted, Invoked, PackageRow, Plan

FunctionStatus = Literal["deployed", "restored", "unchanged", "failed", "built", "packaged", "create", "update"]


class FunctionRow(TypedDict):
    """One of the functions, and what became of it."""

    key: str
    """As the build file names it."""
    name: str
    """As Lambda names it."""
    status: FunctionStatus
    """`built`: not published, because another function has failed. `create`, `update`: what a plan would do."""
    changed: list[str]
    """What was done in the account, in words; of a plan what would be done."""
    build_id: str | None
    """The build that the function is of now; null where none is known."""
    error: NotRequired[Error]
    """Why it failed."""
    arn: NotRequired[str]
    version: NotRequired[str | None]
    alias: NotRequired[str | None]
    invoke: NotRequired[Invoked]
    """What it answered when it was tried."""
    size: NotRequired[int]
    """Of its zips, its layers' included, in bytes."""
    unzipped: NotRequired[int]
    """In bytes."""
    plan: NotRequired[Plan]
    """`plan`, of this function."""
    rollback: NotRequired[WayBack]
    """`rollback`, of this function."""
    packages: NotRequired[list[PackageRow]]
    """`package`, of this function."""
    function: NotRequired[FunctionWanted | None]
    """`package`: what the build file says of this function."""
    artifacts: NotRequired[list[ArtifactRow]]
    """`package`: the zips of this function."""
    files: NotRequired[dict[str, str]]
    """`python -m builder build`: where its zips are, by component."""
