"""What Lambda has, what is wanted of it, and the steps from the one to the other, as values.

Each step says in words what it does: a dry run prints the same steps that a build carries out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.plan import UNBUILT, Artifact
from builder.runtimes import Target


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


def _size(artifact: Artifact | None) -> str:
    if artifact is None or artifact is UNBUILT:
        return "if its content is new"
    size = artifact.size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
