"""What a reply says of a deploy, a plan or a package: its parts, and what became of them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, final

from pydantic import Field
from typing_extensions import TypedDict


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


@final
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


@final
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


# `from` is no name that a class can have, so these two are written as calls; the texts are for the schema.
TakenLibrary = TypedDict(
    "TakenLibrary",
    {"library": str, "from": str, "size": int, "sha256": str, "needed_by": list[str]},
)
LibraryRow = TypedDict(
    "LibraryRow",
    {
        "component": str,
        "library": str,
        "from": Annotated[str, Field(description="Where that machine has it.")],
        "size": Annotated[int, Field(description="In bytes.")],
        "sha256": str,
        "needed_by": Annotated[list[str], Field(description="Names in the zip, or of other such libraries.")],
    },
)
LibraryRow.__doc__ = "A library that was taken from the machine that built."


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
    """What it answered; of more than 256 kB that much, as text; also text if nested more than 100 deep."""
    size: int
    """Of the answer, in bytes."""
    cut: bool
    error: str | None
    """Lambda's word for its failure."""
    log_tail: list[str]
    """The last 20 lines of its log."""


class Place(TypedDict):
    """Where an artifact is."""

    bucket: str
    key: str
    version_id: str | None
    code_sha256: str
    source_code_hash: str
    size: int


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


class TemplateRow(TypedDict):
    """Where a template is whose functions and layers point to what was built."""

    name: str
    """The template's file in the project."""
    bucket: str
    key: str
    sha256: str
    """Of its content, in hexadecimal."""


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
    """Whether all sizes are known. Those of layers from elsewhere are not."""
    layers: int
    """That the function will have, also those that someone else has attached."""
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
