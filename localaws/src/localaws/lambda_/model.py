"""What the embedded Lambda remembers: packages, configurations, versions, aliases, functions, layers.

Values are frozen; `Function`, `Layer` and `Region` are the mutable records that hold them, and are changed only under
`Region.lock`. All of it pickles, which is how the account survives a restart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import NewType

from localaws.wire.requests import Json

RevisionId = NewType("RevisionId", str)

LATEST = "$LATEST"
MAX_UNZIPPED_BYTES = 262_144_000
ACCOUNT_CONCURRENCY = 1000


def new_revision() -> RevisionId:
    return RevisionId(str(uuid.uuid4()))


def timestamp(at: float) -> str:
    """The ISO form Lambda uses: milliseconds and a numeric zone, 2026-01-31T09:08:07.123+0000."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}+0000"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A zip in the package store: hex sha256, size in bytes as uploaded and unzipped."""

    sha256: str
    size_bytes: int
    unzipped_bytes: int

    @property
    def code_sha256(self) -> str:
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()


@dataclass(frozen=True, kw_only=True)
class AttachedLayer:
    """A layer version as it was when attached: the function keeps it even when the version is deleted."""

    arn: str
    package: Package


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything a caller can configure on one version of a function. Sizes in MB, the timeout in seconds."""

    role: str
    runtime: str | None
    handler: str | None
    package_type: str = "Zip"
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    architecture: str = "x86_64"
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[AttachedLayer, ...] = ()
    tracing_mode: str = "PassThrough"
    kms_key_arn: str | None = None
    dead_letter_arn: str | None = None
    logging: Mapping[str, str] = field(default_factory=dict)
    vpc: Json | None = None
    file_systems: tuple[Json, ...] = ()
    snap_start: str = "None"
    image: Json | None = None
    image_uri: str | None = None
    others: Mapping[str, Json] = field(default_factory=dict)

    @property
    def per_tenant(self) -> bool:
        """Whether environments are kept apart by the tenant that an invoke names."""
        return bool(self.others.get("TenancyConfig"))

    def fingerprint(self) -> str:
        """The base64 sha256 of the configuration; equal configurations have equal fingerprints."""
        text = json.dumps(asdict(self), sort_keys=True, default=dict)
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass(frozen=True, kw_only=True)
class Version:
    """One state of a function: `$LATEST` at some moment, or a published number.

    `build` changes whenever code or configuration changes: it is the key under which environments are reused.
    `settled_at` is the wall-clock time at which Pending (of a creation) or InProgress (of an update) ends.
    `published_from` is the `content` that `$LATEST` had when this version was published from it.
    """

    number: str
    package: Package
    configuration: Configuration
    modified_at: float
    settled_at: float
    created: bool = False
    published_from: str = ""
    revision: RevisionId = field(default_factory=new_revision)
    build: str = field(default_factory=lambda: uuid.uuid4().hex)

    def settling(self, now: float) -> bool:
        return now < self.settled_at

    def state(self, now: float) -> str:
        return "Pending" if self.created and self.settling(now) else "Active"

    def last_update_status(self, now: float) -> str:
        return "InProgress" if not self.created and self.settling(now) else "Successful"

    def content(self) -> str:
        """Equal for two states that publish as one version: same code, same configuration."""
        return f"{self.package.sha256} {self.configuration.fingerprint()}"


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A name for a version; `weights` sends that share (0 to 1) of the invokes to one other version."""

    name: str
    version: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    revision: RevisionId = field(default_factory=new_revision)


@dataclass(frozen=True, kw_only=True)
class FunctionUrl:
    """A function URL's configuration; `url_id` is the host label, and the path element under /_localaws/url/."""

    url_id: str
    auth_type: str
    invoke_mode: str
    cors: Json | None
    created_at: float
    modified_at: float


@dataclass(kw_only=True)
class Policy:
    """A resource policy: its statements in order, and the revision that guards changes."""

    statements: list[Json] = field(default_factory=list)
    revision: RevisionId = field(default_factory=new_revision)


@dataclass(kw_only=True)
class Function:
    """A function with its versions, aliases and settings. Maps by qualifier use "$LATEST" for none."""

    name: str
    account: str
    region: str
    latest: Version
    previous: Version | None = None  # what invokes run while `latest` is being rolled out
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    next_number: int = 1  # numbers are never used twice, not even after a delete
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    urls: dict[str, FunctionUrl] = field(default_factory=dict)
    event_invoke: dict[str, Json] = field(default_factory=dict)
    provisioned: dict[str, Json] = field(default_factory=dict)
    runtime_management: dict[str, Json] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    recursive_loop: str = "Terminate"
    code_signing_arn: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    def qualified(self, qualifier: str | None) -> str:
        return f"{self.arn}:{qualifier}" if qualifier else self.arn

    def log_group(self, version: Version) -> str:
        return version.configuration.logging.get("LogGroup") or f"/aws/lambda/{self.name}"


@dataclass(frozen=True, kw_only=True)
class LayerVersion:
    """One published layer version."""

    name: str
    number: int
    arn: str
    package: Package
    description: str
    license: str
    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]
    created_at: float


@dataclass(kw_only=True)
class Layer:
    """A layer with its versions by number; numbers are never used twice."""

    name: str
    arn: str
    versions: dict[int, LayerVersion] = field(default_factory=dict)
    policies: dict[int, Policy] = field(default_factory=dict)
    next_number: int = 1


@dataclass(kw_only=True)
class EventSourceMapping:
    """An event source mapping: the members of its creation request, and what happened last."""

    uuid: str
    request: Json
    function_arn: str
    source_arn: str
    modified_at: float
    enabled: bool = True
    last_result: str = "No records processed"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Region:
    """All that one account has in one region."""

    account: str
    name: str
    functions: dict[str, Function] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    mappings: dict[str, EventSourceMapping] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __getstate__(self) -> Json:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def __setstate__(self, state: Json) -> None:
        self.__dict__.update(state, lock=threading.RLock())
