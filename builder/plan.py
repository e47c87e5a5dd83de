"""The decision: which components are built or reused, and what is published. Pure functions of values.

Two moments need a decision. Before building it is known what the project asks for and what the store has:
`plan_components`. When all artifacts are known, the function's present state decides what is published:
`plan_publication`. A dry run prints the same steps that a build carries out.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from builder.errors import InvalidBuildFile, InvalidEvent, RoleMissing
from builder.runtimes import Target

Kind = Literal["function", "dependencies", "layer"]
DEPENDENCIES = "dependencies"
FUNCTION = "function"

# Lambda's quotas: unzipped function with its layers; layers per function.
MAX_UNZIPPED = 262_144_000
MAX_LAYERS = 5


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A zip in the store. Sizes in bytes, `sha256` in hex, `pruned` is [{rule, files, bytes}]."""

    sha256: str
    size: int
    unzipped: int
    files: int
    pruned: tuple[Mapping[str, str | int], ...] = ()
    contents: tuple[str, ...] = ()  # what went into it: "requests 2.34.2", …
    parts: tuple[str, ...] = ()  # names of the parts of `contents` in the store, where it is made of parts
    notes: tuple[str, ...] = ()  # what the user should know of it, every time it is used

    @property
    def code_sha256(self) -> str:
        """As Lambda reports it: base64."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()

    @property
    def name(self) -> str:
        """Where it is in the store."""
        return f"artifacts/{self.sha256}.zip"

    def as_json(self) -> dict[str, object]:
        """For the store and the reply."""
        return {
            "sha256": self.sha256,
            "size": self.size,
            "unzipped": self.unzipped,
            "files": self.files,
            "pruned": [dict(row) for row in self.pruned],
            "contents": list(self.contents),
            "parts": list(self.parts),
            "notes": list(self.notes),
        }


# Stands for what a dry run does not build: its content, and so whether anything must be published, is not known.
UNBUILT = Artifact(sha256="", size=0, unzipped=0, files=0)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that gets its own zip. `key` is the hash of its inputs; `artifact` is set where the store has it."""

    name: str
    kind: Kind
    key: str
    artifact: Artifact | None = None


@dataclass(frozen=True, kw_only=True)
class ComponentPlan:
    """What happens to a component, and why, in words."""

    component: Component
    action: Literal["reuse", "build"]
    why: str


def choose_components(known: Sequence[str], wanted: Sequence[str], *, function_exists: bool) -> tuple[str, ...]:
    """The names to look at, in the build file's order.

    A function that does not exist yet needs all of its layers, whatever was asked for.

    Raises:
        InvalidEvent: a wanted component is not in the build file.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        import difflib

        problems = []
        for name in unknown:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(
                f"component {name!r} is not in the build file" + (f"; did you mean {near[0]}?" if near else "")
            )
        raise InvalidEvent(
            "; ".join(problems), hint=f"components of this project: {', '.join(known)}", problems=problems
        )
    if not wanted or not function_exists:
        return tuple(known)
    return tuple(name for name in known if name in wanted)


def plan_components(components: Sequence[Component], *, force: bool) -> tuple[ComponentPlan, ...]:
    """Reuse what the store has under the same key, build the rest."""
    plans = []
    for component in components:
        if component.artifact is not None and not force:
            plans.append(ComponentPlan(component=component, action="reuse", why="its inputs have not changed"))
        elif component.artifact is not None:
            plans.append(ComponentPlan(component=component, action="build", why="asked for by force"))
        else:
            plans.append(ComponentPlan(component=component, action="build", why="not built from these inputs before"))
    return tuple(plans)


@dataclass(frozen=True, kw_only=True)
class FunctionState:
    """What Lambda says of the function now. `settings` has Lambda's own names, normalised for comparison.

    `busy`: an update is under way. `failure`: why the last one could not be applied, empty if it was.
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


@dataclass(frozen=True, kw_only=True)
class LayerChoice:
    """A layer of the build file: the artifact if it was part of this build, the version that has it if one is known."""

    component: str
    layer: str
    artifact: Artifact | None
    arn: str | None
    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The function as the build file describes it; settings it does not name are absent. Names are Lambda's."""

    name: str
    target: Target
    settings: Mapping[str, object]
    tags: Mapping[str, str]
    role: str | None
    publish: bool
    alias: str | None


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
        return f"create function {self.wanted.name} ({_size(self.code)})"


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
class PublishVersion:
    """Freeze code and configuration as a version; Lambda makes none if nothing changed since the last."""

    name: str

    @property
    def sentence(self) -> str:
        return f"publish a version of {self.name}, if it differs from the last"


@dataclass(frozen=True, kw_only=True)
class PointAlias:
    """Let an alias serve the version just published."""

    name: str
    alias: str

    @property
    def sentence(self) -> str:
        return f"point alias {self.alias} of {self.name} at that version"


Step = PublishLayer | CreateFunction | UpdateConfiguration | UpdateCode | TagFunction | PublishVersion | PointAlias


def plan_publication(
    wanted: Wanted | None,
    code: Artifact | None,
    layers: Sequence[LayerChoice],
    state: FunctionState | None,
    *,
    own_layers: Collection[str],
) -> tuple[Step, ...]:
    """The steps that make Lambda agree with the artifacts, in the order that keeps a running function whole.

    Layers come first, then the configuration that points at them, then the code: new code never runs without a layer
    that it needs. Nothing that agrees already is touched.

    Args:
        wanted: None where the build file has no function.
        code: the function's artifact; None where it was not part of this build.
        layers: all layers of the build file, in its order.
        own_layers: names of all layers that belong to this function; attached ones that are no longer in the build
            file are detached, layers of others stay.

    Raises:
        RoleMissing: the function must be created and no role is known.
        InvalidBuildFile: the result would be refused by Lambda.
    """
    steps: list[Step] = [PublishLayer(choice=choice) for choice in layers if choice.artifact and not choice.arn]
    if wanted is None:
        return tuple(steps)
    attached = _attached(layers, state, own_layers)
    if len(attached) > MAX_LAYERS:
        raise InvalidBuildFile(
            f"{wanted.name} would have {len(attached)} layers: {', '.join(attached)}",
            hint=f"Lambda allows {MAX_LAYERS}; join layers or detach one",
        )
    if state is None:
        steps.append(_creation(wanted, code, attached))
    else:
        steps += _update(wanted, code, attached, state)
    if wanted.publish or wanted.alias:
        steps.append(PublishVersion(name=wanted.name))
    if wanted.alias:
        steps.append(PointAlias(name=wanted.name, alias=wanted.alias))
    return tuple(steps)


def _creation(wanted: Wanted, code: Artifact | None, attached: tuple[str, ...]) -> CreateFunction:
    if not wanted.role:
        raise RoleMissing(
            f"function {wanted.name} does not exist, and no role is named to create it with",
            hint="set role: in the build file's function, or role in the [builder] section of config.ini",
        )
    if code is None:
        raise InvalidEvent(f"function {wanted.name} does not exist and its code was not built")
    return CreateFunction(wanted=wanted, role=wanted.role, code=code, layers=attached)


def _update(wanted: Wanted, code: Artifact | None, attached: tuple[str, ...], state: FunctionState) -> list[Step]:
    steps: list[Step] = []
    changes = {key: value for key, value in wanted.settings.items() if state.settings.get(key) != value}
    layers = attached if attached != state.layers else None
    if changes or layers is not None:
        steps.append(UpdateConfiguration(name=wanted.name, changes=changes, layers=layers))
    architecture = wanted.target.architecture
    if code is not None and (code.code_sha256 != state.code_sha256 or architecture != state.architecture):
        steps.append(UpdateCode(name=wanted.name, code=code, architecture=architecture))
    tags = {key: value for key, value in wanted.tags.items() if state.tags.get(key) != value}
    if tags:
        steps.append(TagFunction(name=wanted.name, tags=tags))
    return steps


def _attached(
    layers: Sequence[LayerChoice], state: FunctionState | None, own_layers: Collection[str]
) -> tuple[str, ...]:
    """Layers to attach, in order: ARNs, or component names of layers about to be published."""
    present = {arn.split(":")[6]: arn for arn in (state.layers if state else ())}
    result = []
    for choice in layers:
        if choice.arn or choice.artifact:
            result.append(choice.arn or choice.component)
        elif choice.layer in present:
            result.append(present[choice.layer])
    ours = {choice.layer for choice in layers} | set(own_layers)
    return (*result, *(arn for name, arn in present.items() if name not in ours))


def _size(artifact: Artifact | None) -> str:
    if artifact is None or artifact is UNBUILT:
        return "if its content is new"
    size = artifact.size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
