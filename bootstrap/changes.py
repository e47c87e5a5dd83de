"""Steps of a plan, as values. Each describes itself in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bootstrap.lifecycle import Rule
from bootstrap.policy.statements import Document
from bootstrap.state import FunctionSettings, GitSecret


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change.

    A step starts when those steps in `needs` that the plan contains are done. `writes_files`: it works in the temporary
    directory, which must not be removed while it runs.
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
    """Replaces this builder's rules in the bucket by `rules`."""

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
    description: str
    trust: Document
    policy: Document
    boundary: str | None


@dataclass(frozen=True, kw_only=True)
class PutWorkerRole(PutRole):
    name: ClassVar[str] = "worker role"


@dataclass(frozen=True, kw_only=True)
class PutStoreRole(PutRole):
    """IAM refuses trust in a role that does not exist."""

    name: ClassVar[str] = "store role"
    needs: ClassVar[tuple[str, ...]] = ("role",)


@dataclass(frozen=True, kw_only=True)
class PutMachineRole(PutRole):
    name: ClassVar[str] = "state machine role"


@dataclass(frozen=True, kw_only=True)
class PutMachine(Step):
    """Makes or changes the state machine; `role` is an ARN, `definition` JSON."""

    name: ClassVar[str] = "state machine"
    needs: ClassVar[tuple[str, ...]] = ("state machine role",)
    machine: str
    arn: str
    create: bool
    role: str
    definition: str


@dataclass(frozen=True, kw_only=True)
class MakeLogGroup(Step):
    name: ClassVar[str] = "log group"
    group: str


@dataclass(frozen=True, kw_only=True)
class MakeWorkerLogGroup(MakeLogGroup):
    name: ClassVar[str] = "worker log group"


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
class DeleteWorker(DeleteFunction):
    """Comes after the builder's settings no longer name the worker."""

    name: ClassVar[str] = "worker removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "configuration")


@dataclass(frozen=True, kw_only=True)
class ReplaceWorker(DeleteFunction):
    """Deletes a worker that cannot be changed into the wanted one."""

    name: ClassVar[str] = "worker replaced"


# The worker must exist before the builder's settings name it.
_WORKER = ("worker role", "store role", "worker", "worker configuration", "worker code")
# So must the state machine.
_NAMED = (*_WORKER, "state machine")


@dataclass(frozen=True, kw_only=True)
class CreateFunction(Step):
    """`layer` is empty if this run publishes it. `per_tenant`: Lambda isolates the tenants that invokes name."""

    name: ClassVar[str] = "function"
    needs: ClassVar[tuple[str, ...]] = ("role", "log group", "starter layer", "function removed", *_NAMED)
    function: str
    layer: str
    architecture: str
    settings: FunctionSettings
    per_tenant: bool = False
    code: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CreateWorker(CreateFunction):
    name: ClassVar[str] = "worker"
    needs: ClassVar[tuple[str, ...]] = ("worker role", "worker log group", "starter layer", "worker replaced")


@dataclass(frozen=True, kw_only=True)
class UpdateConfiguration(Step):
    """`layer` replaces the builder's own in `layers`.

    None leaves the layers alone, empty means the one from this run.
    """

    name: ClassVar[str] = "configuration"
    needs: ClassVar[tuple[str, ...]] = ("role", "starter layer", *_NAMED)
    function: str
    settings: FunctionSettings
    layer: str | None
    layers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UpdateWorkerConfiguration(UpdateConfiguration):
    name: ClassVar[str] = "worker configuration"
    needs: ClassVar[tuple[str, ...]] = ("worker role", "starter layer")


@dataclass(frozen=True, kw_only=True)
class UpdateCode(Step):
    name: ClassVar[str] = "code"
    needs: ClassVar[tuple[str, ...]] = ("configuration", *_NAMED)
    function: str
    architecture: str
    code: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UpdateWorkerCode(UpdateCode):
    name: ClassVar[str] = "worker code"
    needs: ClassVar[tuple[str, ...]] = ("worker configuration",)


@dataclass(frozen=True, kw_only=True)
class NeverRepeat(Step):
    """Turns off retries: by default Lambda repeats a failed asynchronous invocation twice."""

    name: ClassVar[str] = "retries"
    needs: ClassVar[tuple[str, ...]] = ("function", "configuration", "code")
    function: str


@dataclass(frozen=True, kw_only=True)
class NeverRepeatWorker(NeverRepeat):
    name: ClassVar[str] = "worker retries"
    needs: ClassVar[tuple[str, ...]] = ("worker", "worker configuration", "worker code")


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
    """The builder installs its real dependencies and attaches them to itself.

    `layer_key` is the key that ping then returns.
    """

    name: ClassVar[str] = "setup"
    needs: ClassVar[tuple[str, ...]] = (
        *("bucket", "lifecycle", "secret", "role", "log group"),
        *("function", "configuration", "code", "retries", "setup allowed"),
    )
    function: str
    layer_key: str


@dataclass(frozen=True, kw_only=True)
class EndSetUp(Step):
    """Restores the role's standing policy, with which the builder cannot change itself."""

    name: ClassVar[str] = "setup ended"
    needs: ClassVar[tuple[str, ...]] = ("setup allowed", "setup")
    function: str
    role: str
    policy: Document


@dataclass(frozen=True, kw_only=True)
class AttachToWorker(Step):
    """Attaches the layer that `SetUp` has attached to the builder: the worker itself may not do that."""

    name: ClassVar[str] = "worker layer"
    needs: ClassVar[tuple[str, ...]] = ("setup", "worker", "worker configuration", "worker code", "worker retries")
    builder: str
    function: str
    layer: str  # without the version


@dataclass(frozen=True, kw_only=True)
class DeleteLayers(Step):
    name: ClassVar[str] = "layers removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "worker removed")
    layer: str
    versions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DeleteRole(Step):
    name: ClassVar[str] = "role removed"
    # The role proves that the objects below our prefix are ours, so it goes after them. The store role trusts it.
    needs: ClassVar[tuple[str, ...]] = ("function removed", "bucket emptied", "store role removed")
    role: str


@dataclass(frozen=True, kw_only=True)
class DeleteWorkerRole(DeleteRole):
    name: ClassVar[str] = "worker role removed"
    needs: ClassVar[tuple[str, ...]] = ("worker removed", "configuration")


@dataclass(frozen=True, kw_only=True)
class DeleteStoreRole(DeleteRole):
    name: ClassVar[str] = "store role removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "configuration")


@dataclass(frozen=True, kw_only=True)
class DeleteMachine(Step):
    """Comes after the builder's settings no longer name the state machine."""

    name: ClassVar[str] = "state machine removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "configuration")
    arn: str


@dataclass(frozen=True, kw_only=True)
class DeleteMachineRole(DeleteRole):
    name: ClassVar[str] = "state machine role removed"
    needs: ClassVar[tuple[str, ...]] = ("state machine removed",)


@dataclass(frozen=True, kw_only=True)
class DeleteSecret(Step):
    name: ClassVar[str] = "secret removed"
    needs: ClassVar[tuple[str, ...]] = ("function removed",)
    secret: str


@dataclass(frozen=True, kw_only=True)
class DeleteLogGroup(Step):
    name: ClassVar[str] = "log group removed"
    # A last invocation may still write, and Lambda would create the group again while the role allows it.
    needs: ClassVar[tuple[str, ...]] = ("function removed",)
    group: str


@dataclass(frozen=True, kw_only=True)
class DeleteWorkerLogGroup(DeleteLogGroup):
    name: ClassVar[str] = "worker log group removed"
    needs: ClassVar[tuple[str, ...]] = ("worker removed", "configuration")


@dataclass(frozen=True, kw_only=True)
class EmptyBucket(Step):
    """`delete_bucket`: also the bucket itself, if it is empty then."""

    name: ClassVar[str] = "bucket emptied"
    needs: ClassVar[tuple[str, ...]] = ("function removed", "worker removed", "lifecycle")
    bucket: str
    prefix: str
    delete_bucket: bool
