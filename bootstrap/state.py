"""The present state of a builder in the account, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bootstrap import lifecycle
from bootstrap.invoke import Ping
from bootstrap.policy.statements import Document


@dataclass(frozen=True, kw_only=True)
class GitSecret:
    """The git token, as stored in Secrets Manager."""

    username: str
    token: str = field(repr=False)
    email: str

    def text(self) -> str:
        """Return the JSON that the builder reads."""
        return json.dumps({"username": self.username, "token": self.token, "email": self.email}, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class BucketState:
    """`made_here`: init made it, for this builder; its three settings are read only then.

    `used`: something is below the builder's prefix. `rules`: the lifecycle rules of this builder.
    """

    made_here: bool
    used: bool
    rules: tuple[lifecycle.Rule, ...] = ()
    versioned: bool = False
    private: bool = False
    encrypted: bool = False


@dataclass(frozen=True, kw_only=True)
class RoleState:
    made_here: bool
    trust: Document
    policy: Document | None
    boundary: str | None = None


@dataclass(frozen=True, kw_only=True)
class SecretState:
    """`current`: it holds the wanted value, or none is wanted. `deleted`: it is scheduled for deletion."""

    made_here: bool
    deleted: bool
    current: bool


@dataclass(frozen=True, kw_only=True)
class LogGroupState:
    made_here: bool


@dataclass(frozen=True, kw_only=True)
class LayerVersion:
    arn: str
    version: int
    description: str
    runtimes: tuple[str, ...]
    created: str


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """The part of a function's configuration that setup.py manages."""

    runtime: str
    handler: str
    role: str
    memory_mb: int
    timeout_s: int
    ephemeral_storage_mb: int
    description: str
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FunctionState:
    """`state` is Lambda's (Active, Failed, …).

    `retries_decided`: it has settings for asynchronous invocations, which limit the retries of a failed one.
    `per_tenant`: Lambda isolates the tenants that invokes name.
    """

    made_here: bool
    state: str
    retries_decided: bool
    architecture: str
    code_sha256: str
    layers: tuple[str, ...]
    settings: FunctionSettings
    per_tenant: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """State of a builder's worker. `store_role` is the role from which its access to the store is lent."""

    function: FunctionState | None = None
    role: RoleState | None = None
    store_role: RoleState | None = None
    log_group: LogGroupState | None = None

    @property
    def parts(self) -> tuple[FunctionState | RoleState | LogGroupState | None, ...]:
        return (self.function, self.role, self.store_role, self.log_group)


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """State of a state machine; `role` is an ARN, `definition` JSON."""

    made_here: bool
    role: str
    definition: str


@dataclass(frozen=True, kw_only=True)
class FanOutState:
    """State of a builder's means to have many functions made at a time."""

    machine: MachineState | None = None
    role: RoleState | None = None

    @property
    def parts(self) -> tuple[MachineState | RoleState | None, ...]:
        return (self.machine, self.role)


@dataclass(frozen=True, kw_only=True)
class Present:
    """State of a builder; None for a missing resource.

    `ping` is None as well when the builder did not answer, `silence` then says why.
    """

    bucket: BucketState | None
    role: RoleState | None
    secret: SecretState | None
    log_group: LogGroupState | None
    layers: tuple[LayerVersion, ...]
    function: FunctionState | None
    ping: Ping | None
    silence: str = ""
    worker: WorkerState = field(default_factory=WorkerState)
    fan_out: FanOutState = field(default_factory=FanOutState)

    @property
    def nothing(self) -> bool:
        """Whether the account has nothing of this builder."""
        parts = (self.bucket, self.role, self.secret, self.log_group, self.function)
        every = (*parts, *self.worker.parts, *self.fan_out.parts)
        return not self.layers and all(part is None or not part.made_here for part in every)
