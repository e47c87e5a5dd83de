"""The reply: one JSON object for every action."""

from __future__ import annotations

from typing_extensions import TypedDict

from builder.replies.accounts import BuildState, HistoryRow, RecentRow, Storage, Verified, WayBack
from builder.replies.deploys import (
    ArtifactRow,
    Checks,
    DistributionRow,
    Error,
    FunctionNow,
    FunctionWanted,
    Invoked,
    LayerNow,
    LibraryRow,
    PackageRow,
    Phase,
    Plan,
    PrunedRow,
    TemplateRow,
)
from builder.replies.machines import Baseline, CacheState, Difference, OwnLayer, OwnSettings
from builder.replies.projects import FunctionRow


class Texts(TypedDict):
    """What a reply says, for people: lines, each with its line break."""

    plain: str
    colour: str
    """The same, with colours as terminals know them."""
    times: str
    """How long each phase took; empty where there were none."""


class ShellText(TypedDict):
    """What a reply says, for deploy.sh."""

    shell: str
    """Lines of a name and a value, percent-encoded. What they are may change with any version."""


class Reply(TypedDict, total=False):
    """One JSON object for every action; what it does not concern is not in it."""

    statusCode: int
    """200; 202 while another invocation works on the same `build_id`; else the error's."""
    build_id: str
    """The id under which the request may be sent again; Lambda's request id where the event had none."""
    error: Error
    """On failure. Only our own mistakes are Lambda errors."""
    text: Texts | ShellText
    """With `text` in the event: what the reply says, for people. Always the last member."""
    commit: str | None
    """The commit that was built."""
    ref: str | None
    """The branch or tag that it was found by."""
    function: FunctionNow | FunctionWanted | None
    """The function as it is deployed now; of `package`, what the build file says of it."""
    functions: list[FunctionRow]
    """Of a project with several functions: what became of each."""
    partial: bool
    """Of a project with several functions: only some of them, or of their components, were asked for."""
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
    notes: list[str]
    """What was noticed, and is as it should be."""
    calls: dict[str, int]
    """Of AWS, by service."""
    stored: int
    """How many files of this build were put into the store."""
    plan: Plan
    """`plan`, in the place of what was done. A plan writes nothing but logs."""
    packages: list[PackageRow]
    """`package`: where the artifacts are. The function's own is also at the top, in the fields that follow."""
    template: TemplateRow
    """`package` of a SAM or CloudFormation template: the template that deploys what was built."""
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
