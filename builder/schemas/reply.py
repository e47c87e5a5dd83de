"""The JSON Schema of a reply. Nothing is made of these classes: they say what the modules that answer put together."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from builder.schemas.models import Schema, definitions_of


class Error(TypedDict):
    """What went wrong, and what to do."""

    code: str
    """Never changes its meaning."""
    message: str
    """What failed, in which input; all problems, a line each, where there are several."""
    phase: NotRequired[str]
    """In which part of the work."""
    hint: NotRequired[str]
    """What to do next."""
    log_tail: NotRequired[list[str]]
    """The last lines of the command or service that failed."""
    retryable: NotRequired[bool]
    """Whether the same again may succeed."""
    problems: NotRequired[list[str]]
    """Every single problem."""


class Phase(TypedDict):
    """A part of the work, and how long it took."""

    name: str
    seconds: float


class FunctionNow(TypedDict):
    """The function as it is deployed now."""

    name: str
    arn: str
    version: str | None
    """The published version, where one was asked for."""
    alias: str | None
    weight: float | None
    """The part of the alias's traffic that the version gets; null: all."""
    code_sha256: str
    """Of its zip, base64, as Lambda tells it."""
    url: NotRequired[str]
    """Its URL, where it has one."""


class FunctionWanted(TypedDict):
    """What the build file says of the function, for tools that deploy by themselves; null for what it does not say."""

    runtime: str
    handler: str
    architecture: str
    memory: int | None
    """In MB."""
    timeout: int | None
    """In seconds."""
    ephemeral_storage: int | None
    """In MB."""
    environment: dict[str, str] | None
    description: str | None
    tags: dict[str, str] | None
    role: str | None
    layers: list[str]
    """In the order of attachment: names of those that are built, ARNs of those from elsewhere."""
    log_retention: int | None
    """In days."""
    url: dict[str, object] | None
    configuration: dict[str, object]


class LayerNow(TypedDict):
    """A layer of the function."""

    name: str
    """As the build file names it."""
    layer: str
    """As Lambda names it."""
    arn: str | None
    reused: bool
    """Whether the version was there before."""
    size: NotRequired[int]
    """Of its zip, in bytes."""


class ArtifactRow(TypedDict):
    """A zip: the function's, or a layer's. Sizes are there where they are known."""

    name: str
    kind: str
    action: Literal["build", "reuse"]
    why: str
    """Why it was built, or not."""
    inputs: list[str]
    """What differs from the last deploy."""
    sha256: NotRequired[str]
    """Hexadecimal."""
    size: NotRequired[int]
    """Of the zip, in bytes."""
    unzipped: NotRequired[int]
    """In bytes."""
    files: NotRequired[int]
    """How many."""
    contents: NotRequired[list[str]]
    """What went into it, for example `requests 2.34.2`."""


class DistributionRow(TypedDict):
    """A distribution of the lock."""

    name: str
    version: str | None
    """null where only its build tells."""
    index: str | None
    """Host and path of the index; the server of a file or repository that was named outright; null: the project."""


class PrunedRow(TypedDict):
    """What one rule has left out."""

    rule: str
    files: int
    bytes: int


class LibraryRow(TypedDict):
    """A library that was taken from the machine that built."""

    component: str
    library: str
    origin: Annotated[str, Field(alias="from")]
    """Where that machine has it."""
    size: int
    """In bytes."""
    sha256: str
    needed_by: list[str]
    """Names in the zip, or of other such libraries."""


class Checks(TypedDict):
    """What was checked before publishing."""

    tried: bool
    """Whether the handler was imported."""
    why: str
    """Why not."""
    native_files: int
    reused: bool
    """Whether the same artifacts were checked before."""


class Invoked(TypedDict):
    """What the function answered when it was tried."""

    status: int
    version: str
    payload: object
    """What it answered; of more than 256 kB that much, as text."""
    size: int
    """Of the answer, in bytes."""
    cut: bool
    error: str | None
    """Lambda's word for its failure."""
    log_tail: list[str]
    """The last 20 lines of its log."""


class PackageRow(TypedDict):
    """Where an artifact is. The object never changes: its name is the hash of its content."""

    name: str
    kind: Literal["function", "layer"]
    description: NotRequired[str | None]
    """Of a layer, as the next three."""
    license: NotRequired[str | None]
    compatible_runtimes: NotRequired[list[str]]
    compatible_architectures: NotRequired[list[str]]
    bucket: str
    key: str
    version_id: str | None
    code_sha256: str
    """Base64, as Lambda tells it."""
    source_code_hash: str
    """The same, as Terraform calls it."""
    size: int
    """In bytes."""


class SettingRow(TypedDict):
    """A setting that is not as wanted. Of variables the values are not shown."""

    key: str
    now: object
    then: object
    by_hand: bool
    """The build file's value is that of the last deploy: someone else has changed the function since."""


class Limits(TypedDict):
    """How near to Lambda's limits it comes."""

    unzipped: int
    """Of function and layers together, in bytes."""
    max_unzipped: int
    complete: bool
    """Whether the sizes of all components are known."""
    layers: int
    max_layers: int


class AliasPlan(TypedDict):
    """What becomes of the alias."""

    name: str
    now: str | None
    """The version that it serves."""
    then: str | None
    weight: float | None


class Plan(TypedDict):
    """What a build would do."""

    components: list[ArtifactRow]
    publish: list[str]
    """In words."""
    configuration: list[SettingRow]
    limits: Limits
    alias: AliasPlan | None


class BuildState(TypedDict):
    """How far a build is, or how it ended; also `failed` a minute after the last sign of life of its builder."""

    build_id: str
    function: str | None
    state: Literal["running", "succeeded", "failed"]
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
    action: Literal["build", "rollback", "package"]
    state: Literal["succeeded", "failed"]
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

    build: str
    same: bool
    components: list[VerifiedRow]


class SystemLibrary(TypedDict):
    """A library that is there."""

    path: str
    soname: str


class Baseline(TypedDict):
    """What a runtime has to load."""

    system: str
    architecture: str
    runtime: str
    source: str
    versions: dict[str, str]
    """By family, the newest."""
    libraries: dict[str, SystemLibrary]
    runtime_libraries: dict[str, SystemLibrary]


class VersionDifference(TypedDict):
    """A family of symbol versions."""

    known: str | None
    found: str | None


class Difference(TypedDict):
    """How a runtime differs from what this version came with."""

    added: list[str]
    missing: list[str]
    versions: dict[str, VersionDifference]


class CacheKind(TypedDict):
    """What one kind of thing takes in the cache of a workstation."""

    kind: str
    files: int
    bytes: int


class CacheState(TypedDict):
    """The cache of a workstation."""

    place: str
    """Its directory."""
    cleared: bool
    """Whether all that is told here was removed."""
    bytes: int
    """What it took."""
    limit: int
    """In bytes; above it, what was used longest ago goes."""
    kinds: list[CacheKind]
    """The largest first."""


class OwnLayer(TypedDict):
    """The builder's own layer."""

    key: str
    reused: bool
    arn: NotRequired[str]
    size: NotRequired[int]
    unzipped: NotRequired[int]


class OwnSettings(TypedDict):
    """Where the builder keeps things."""

    bucket: str
    prefix: str
    layer: str


class Reply(TypedDict, total=False):
    """One JSON object for every action; what it does not concern is not in it."""

    status_code: Annotated[int, Field(alias="statusCode")]
    """200; 202 while another invocation works on the same `build_id`; else the error's."""
    build_id: str
    """The id under which the request may be sent again; Lambda's request id where the event had none."""
    error: Error
    """On failure. Only our own mistakes are Lambda errors."""
    commit: str | None
    """The commit that was built."""
    ref: str | None
    """The branch or tag that it was found by."""
    function: FunctionNow | FunctionWanted | None
    """The function as it is deployed now; of `package`, what the build file says of it."""
    layers: list[LayerNow]
    """The layers of the function, in the order of the build file."""
    artifacts: list[ArtifactRow]
    """The zips: what they were made from, and whether they were built again."""
    changed: list[str]
    """What was done in the account, in words."""
    removed: list[str]
    """What housekeeping took away."""
    invoke: Invoked
    """What the function answered when it was tried."""
    checks: Checks
    """What was checked before publishing."""
    distributions: list[DistributionRow]
    """What the lock of the Python dependencies has, and where each comes from."""
    pruned: list[PrunedRow]
    """What was left out."""
    native_libraries: list[LibraryRow]
    """What was taken from the machine that built."""
    phases: list[Phase]
    """What took how long."""
    seconds: float
    """All of it."""
    warnings: list[str]
    """What should be known, though nothing failed."""
    calls: dict[str, int]
    """Of AWS, by service."""
    stored: int
    """How many files of this build were put into the store."""
    plan: Plan
    """`plan`, in the place of what was done. A plan writes nothing but logs."""
    packages: list[PackageRow]
    """`package`: where the artifacts are. The function's own is also at the top, in the fields that follow."""
    bucket: str
    """The store's."""
    key: str
    """Of the object."""
    version_id: str | None
    """Of the object, where the bucket has versions."""
    code_sha256: str
    """Base64, as Lambda tells it."""
    source_code_hash: str
    """The same, as Terraform calls it."""
    size: int
    """In bytes."""
    restored: str
    """`rollback`: id of the build that was returned to."""
    rollback: WayBack
    """`rollback`: from what to what."""
    verify: Verified
    """`verify`: whether what is deployed is what its source makes."""
    history: list[HistoryRow]
    """`history`: builds of the function, the newest first; those that changed nothing are not in it."""
    cache: CacheState
    """`python -m builder cache`: what the cache on this machine takes."""
    build: BuildState
    """`status` of a `build_id`, and with 202: how far it is."""
    ready: bool
    """`ping`, `status`: whether the builder's layer is attached."""
    version: str
    """`ping`, `status`: the builder's."""
    versions: dict[str, str]
    """`ping`, `status`, `setup`: of the libraries of the builder."""
    layer_key: str | None
    """`ping`, `status`: stands for what is in the builder's layer."""
    may_change_itself: bool
    """`ping` with `rights`: whether IAM lets the builder change its own configuration now."""
    runtime: str
    """`ping`, `status`: the builder's; on a workstation that of the function."""
    architecture: str
    """As `runtime`."""
    git_base: str
    """`ping`, `status`: what `repo_name` is a name below of."""
    settings: OwnSettings
    """`ping`, `status`: where the builder keeps things."""
    builds: list[RecentRow]
    """`status`: the last ten of all functions."""
    storage: Storage
    """`status`: Lambda's storage for code."""
    layer: OwnLayer
    """`setup`: the builder's own layer."""
    baseline: Baseline
    """`probe`: what the runtime of the builder has."""
    difference: Difference
    """`probe`: how it differs from what this version came with."""
    recorded: str | None
    """`probe`: where the store has it, for later builds; null where the builder is not in Lambda's own system."""
    files: dict[str, str]
    """On a workstation: where each component's zip is, below OUT."""
    build_file: str
    """`python -m builder check`: the file that is valid."""
    components: list[str]
    """`python -m builder check`: what it makes."""


def reply_schema(*, strict: bool = False) -> Schema:
    """Every field that a reply can have. Later versions may add some; only `strict` allows none that is not known."""
    definitions = definitions_of(Reply)
    if strict:
        for definition in definitions.values():
            definition["additionalProperties"] = False
    reply = definitions.pop("Reply")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A reply of Lambdasmith",
        **reply,
        "required": ["statusCode"],
        "definitions": definitions,
    }
