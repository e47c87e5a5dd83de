"""The changes that a plan is made of, as values. Each says in one sentence what it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bootstrap.lifecycle import Rule
from bootstrap.policy import Document
from bootstrap.state import FunctionSettings, GitSecret


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change. A step starts when those in `needs` that the plan has are done.

    `writes_files`: it works in the temporary directory, which cannot be removed before it lets go.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    writes_files: ClassVar[bool] = False
    name: ClassVar[str]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class MakeBucket(Step):
    name: ClassVar[str] = "bucket"
    bucket: str
    create: bool


@dataclass(frozen=True, kw_only=True)
class PutLifecycle(Step):
    """This builder's rules in the bucket become `rules`."""

    name: ClassVar[str] = "lifecycle"
    needs: ClassVar[tuple[str, ...]] = ("bucket",)
    bucket: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, kw_only=True)
class PutSecret(Step):
    name: ClassVar[str] = "secret"
    secret: str
    value: GitSecret
    create: bool
    restore: bool


@dataclass(frozen=True, kw_only=True)
class PutRole(Step):
    name: ClassVar[str] = "role"
    role: str
    create: bool
    trust: Document
    policy: Document
    boundary: str | None


@dataclass(frozen=True, kw_only=True)
class MakeLogGroup(Step):
    name: ClassVar[str] = "log group"
    group: str


@dataclass(frozen=True, kw_only=True)
class PublishStarter(Step):
    name: ClassVar[str] = "starter layer"
    writes_files: ClassVar[bool] = True
    layer: str
    description: str
    runtime: str


@dataclass(frozen=True, kw_only=True)
class DeleteFunction(Step):
    name: ClassVar[str] = "function removed"
    function: str


@dataclass(frozen=True, kw_only=True)
class CreateFunction(Step):
    """`layer` is empty where this run publishes it."""

    name: ClassVar[str] = "function"
    needs: ClassVar[tuple[str, ...]] = ("role", "log group", "starter layer", "function removed")
    function: str
    layer: str
    architecture: str
    settings: FunctionSettings
    code: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UpdateConfiguration(Step):
    """`layer` replaces the builder's own in `layers`; None leaves the layers alone, empty is this run's."""

    name: ClassVar[str] = "configuration"
    needs: ClassVar[tuple[str, ...]] = ("role", "starter layer")
    function: str
    settings: FunctionSettings
    layer: str | None
    layers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UpdateCode(Step):
    name: ClassVar[str] = "code"
    needs: ClassVar[tuple[str, ...]] = ("configuration",)
    function: str
    architecture: str
    code: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class NeverRepeat(Step):
    """Lambda itself repeats an asynchronous invocation that failed twice, unless told otherwise."""

    name: ClassVar[str] = "retries"
    needs: ClassVar[tuple[str, ...]] = ("function", "configuration", "code")
    function: str


@dataclass(frozen=True, kw_only=True)
class AllowSetUp(Step):
    """The builder may change itself from here to `EndSetUp`: no longer than `SetUp` takes."""

    name: ClassVar[str] = "setup allowed"
    needs: ClassVar[tuple[str, ...]] = (
        *("bucket", "lifecycle", "secret", "role", "log group"),
        *("function", "configuration", "code", "retries"),
    )
    function: str
    role: str
    policy: Document


@dataclass(frozen=True, kw_only=True)
class SetUp(Step):
    """The builder installs its real dependencies and attaches them to itself. `layer_key` is what ping then says."""

    name: ClassVar[str] = "setup"
    needs: ClassVar[tuple[str, ...]] = (
        *("bucket", "lifecycle", "secret", "role", "log group"),
        *("function", "configuration", "code", "retries", "setup allowed"),
    )
    function: str
    layer_key: str


@dataclass(frozen=True, kw_only=True)
class EndSetUp(Step):
    """The role's standing policy, with which the builder cannot change itself, comes back."""

    name: ClassVar[str] = "setup ended"
    needs: ClassVar[tuple[str, ...]] = ("setup allowed", "setup")
    function: str
    role: str
    policy: Document


@dataclass(frozen=True, kw_only=True)
class DeleteLayers(Step):
    name: ClassVar[str] = "layers removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed",)
    layer: str
    versions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DeleteRole(Step):
    name: ClassVar[str] = "role removed"
    # The role is the proof that what is below our prefix is ours.
    needs: ClassVar[tuple[str, ...]] = ("function removed", "bucket emptied")
    role: str


@dataclass(frozen=True, kw_only=True)
class DeleteSecret(Step):
    name: ClassVar[str] = "secret removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed",)
    secret: str


@dataclass(frozen=True, kw_only=True)
class DeleteLogGroup(Step):
    name: ClassVar[str] = "log group removed"
    # A last invocation may still write, and Lambda would make the group anew if the role let it.
    needs: ClassVar[tuple[str, ...]] = ("function removed",)
    group: str


@dataclass(frozen=True, kw_only=True)
class EmptyBucket(Step):
    """`delete_bucket`: also the bucket itself, if nothing else is in it then."""

    name: ClassVar[str] = "bucket emptied"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "lifecycle")
    bucket: str
    prefix: str
    delete_bucket: bool
