"""Lambda's present state, the wanted state, and the steps from one to the other, as values.

Each step has a sentence about itself: a dry run prints the same steps that a build carries out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from builder.amounts import size
from builder.plan import UNBUILT, Artifact
from builder.runtimes import Target
from builder.trust.reach import Touched


@dataclass(frozen=True, kw_only=True)
class AliasState:
    """Content of an alias: a version, and the share of the traffic of others."""

    name: str
    version: str
    weights: Mapping[str, float]
    revision_id: str

    def serves(self, version: str, weight: float | None) -> bool:
        """Tell whether `version` has all of the traffic, or the share `weight`."""
        if version == self.version:
            return not self.weights
        return weight is not None and dict(self.weights) == {version: weight}


@dataclass(frozen=True, kw_only=True)
class FunctionState:
    """Present state of the function. `settings` has Lambda's own names, normalised for comparison.

    `busy`: an update is under way. `failure`: why the last update could not be applied, empty if it was. `version` is a
    published version with exactly this code and configuration; `alias` is the request's. Both are None if there is none
    or it was not read.
    """

    arn: str
    code_sha256: str
    architecture: str
    layers: tuple[str, ...]
    settings: Mapping[str, object]
    revision_id: str
    busy: bool
    failure: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, object] = field(default_factory=dict)
    version: str | None = None
    alias: AliasState | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables of its environment, as far as the builder may read them."""
        environment = self.settings.get("Environment")
        given = environment.get("Variables") if isinstance(environment, Mapping) else None
        return {str(name): str(value) for name, value in given.items()} if isinstance(given, Mapping) else {}

    @property
    def code_hex(self) -> str:
        """`code_sha256` (base64) in hex, as the store names artifacts."""
        return base64.b64decode(self.code_sha256).hex()


@dataclass(frozen=True, kw_only=True)
class LayerChoice:
    """Layer of the build file: the artifact if it was part of this build, and the version with it if known.

    A layer from elsewhere has an ARN and no artifact.
    """

    component: str
    layer: str
    artifact: Artifact | None
    arn: str | None
    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether the build file names it by its ARN, so that it is never built: only components have runtimes."""
        return not self.runtimes


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Function as the build file describes it; settings that it does not name are absent. Names are Lambda's.

    `extras` are the settings that have calls of their own. `weight` is the share of the alias's traffic for a new
    version, None for all of it. `payload` is JSON text for a trial before the alias moves; None if there is none.
    """

    name: str
    target: Target
    settings: Mapping[str, object]
    extras: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    role: str | None
    publish: bool = False
    alias: str | None = None
    weight: float | None = None
    payload: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishLayer:
    """Make a new layer version."""

    choice: LayerChoice

    @property
    def sentence(self) -> str:
        return f"publish layer {self.choice.layer} ({_size(self.choice.artifact)})"


@dataclass(frozen=True, kw_only=True)
class CreateFunction:
    """Make the function. `layers` are component names or ARNs, in order."""

    wanted: Wanted
    role: str
    code: Artifact
    layers: tuple[str, ...]

    @property
    def sentence(self) -> str:
        # One that is not built yet has no size, but is created in any case.
        of = "" if self.code is UNBUILT else f" ({_size(self.code)})"
        return f"create function {self.wanted.name}{of}"


@dataclass(frozen=True, kw_only=True)
class UpdateConfiguration:
    """Change settings; `layers` is None where they stay. `changes` has Lambda's names."""

    name: str
    changes: Mapping[str, object]
    layers: tuple[str, ...] | None

    @property
    def sentence(self) -> str:
        named = [*self.changes, *(["Layers"] if self.layers is not None else [])]
        return f"update configuration of {self.name}: {', '.join(named)}"


@dataclass(frozen=True, kw_only=True)
class UpdateCode:
    """Upload new code."""

    name: str
    code: Artifact
    architecture: str

    @property
    def sentence(self) -> str:
        return f"update code of {self.name} ({_size(self.code)})"


@dataclass(frozen=True, kw_only=True)
class TagFunction:
    """Add or change tags; others stay."""

    name: str
    tags: Mapping[str, str]

    @property
    def sentence(self) -> str:
        return f"tag {self.name}: {', '.join(sorted(self.tags))}"


@dataclass(frozen=True, kw_only=True)
class ApplyExtra:
    """Set something with a call of its own: log retention, URL, concurrency …; the alias's if it belongs to one."""

    name: str
    key: str
    value: object
    alias: str | None

    @property
    def sentence(self) -> str:
        return f"set {self.key} of {self.name}"


@dataclass(frozen=True, kw_only=True)
class PublishVersion:
    """Freeze code and configuration as a version."""

    name: str

    @property
    def sentence(self) -> str:
        return f"publish a version of {self.name}"


@dataclass(frozen=True, kw_only=True)
class TryFunction:
    """Invoke with a payload; `version` is None for the one just published, or $LATEST where none was.

    `alias` is the one that moves afterwards.
    """

    name: str
    version: str | None
    payload: str
    alias: str | None

    @property
    def sentence(self) -> str:
        return f"invoke {self.name}" + (f" version {self.version}" if self.version else "")


@dataclass(frozen=True, kw_only=True)
class PointAlias:
    """Let an alias serve a version, None for the one just published; with `weight`, give it a share of the traffic."""

    name: str
    alias: str
    version: str | None
    weight: float | None = None

    @property
    def sentence(self) -> str:
        version = f"version {self.version}" if self.version else "that version"
        if self.weight is not None:
            return f"give {version} {self.weight:.0%} of alias {self.alias} of {self.name}"
        return f"point alias {self.alias} of {self.name} at {version}"


Step = (
    PublishLayer
    | CreateFunction
    | UpdateConfiguration
    | UpdateCode
    | TagFunction
    | ApplyExtra
    | PublishVersion
    | TryFunction
    | PointAlias
)


def writes(steps: Iterable[Step]) -> bool:
    """Tell whether one of the steps changes anything in the account."""
    return any(not isinstance(step, TryFunction) for step in steps)


def touched(step: Step) -> Touched:
    """Return the resource that the step touches, for the permission check."""
    match step:
        case PublishLayer():
            return Touched(layers=(step.choice.layer,))
        case CreateFunction():
            wanted = step.wanted
            return Touched(function=wanted.name, role=step.role, layers=step.layers, settings=wanted.settings)
        case UpdateConfiguration():
            role = str(step.changes["Role"]) if "Role" in step.changes else None
            return Touched(function=step.name, role=role, layers=step.layers or (), settings=step.changes)
        case ApplyExtra():
            signing = str(step.value) if step.key == "CodeSigningConfigArn" else None
            return Touched(function=step.name, signing=signing, settings=step.value)
        case _:
            return Touched(function=step.name)


def _size(artifact: Artifact | None) -> str:
    return "if its content is new" if artifact is None or artifact is UNBUILT else size(artifact.size)
