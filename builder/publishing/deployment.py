"""What a function is to be in the account, as one value: made of a built project, or of an earlier build's record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from builder.plan import DEPENDENCIES, FUNCTION, UNBUILT, Artifact
from builder.publishing import configuration, layers
from builder.publishing.extras import read_extras, wanted_extras
from builder.publishing.layer_names import layer_name, own_prefix
from builder.publishing.publication import plan_publication
from builder.publishing.steps import FunctionState, LayerChoice, Step, Wanted
from builder.reach import Reach
from builder.request import ArchiveSource
from builder.runtimes import RUNTIMES, Target, architecture_of

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.context import Context
    from builder.project import Outline
    from builder.publishing.publish import Published
    from builder.records.record import DeploymentRecord
    from builder.request import Request


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Code, layers and configuration that belong together.

    `code` is None where it was not part of the build, `wanted` where the project has no function. `own_layers` are the
    names of all layers that builds of this function have attached: those that it does not have any more are detached.
    `reach` is the builder's.
    """

    name: str
    target: Target
    code: Artifact | None
    layers: tuple[LayerChoice, ...]
    wanted: Wanted | None
    own_layers: frozenset[str] = field(default=frozenset())
    reach: Reach = field(default_factory=Reach)

    def steps(self, state: FunctionState | None, made: Mapping[str, str]) -> tuple[Step, ...]:
        """What makes Lambda agree, from `state`; `made` are ARNs of layer versions made meanwhile, by component.

        Raises:
            RoleMissing, InvalidBuildFile, InvalidEvent, OwnTarget, AccessDenied: it cannot be done.
        """
        choices = [replace(choice, arn=made.get(choice.component, choice.arn)) for choice in self.layers]
        steps = plan_publication(self.wanted, self.code, choices, state, own_layers=self.own_layers)
        if self.wanted is not None:
            self.reach.check_tags(self.name, self.wanted.tags, state.tags if state else None)
        self.reach.check_steps(steps)
        return steps

    def observed(self, state: FunctionState | None, clients: Clients) -> FunctionState | None:
        """`state` with those settings that have calls of their own, as far as any are wanted."""
        if state is None or self.wanted is None or not self.wanted.extras:
            return state
        found = read_extras(clients, self.name, self.wanted.extras, alias=self.wanted.alias)
        return replace(state, extras=found)

    def as_json(self, published: Published, request: Request, *, lock: str | None) -> dict[str, object]:
        """For the record of a build that has deployed it: all it takes to deploy the same again.

        What was not part of the build is taken from the function's state after it.
        """
        state, made = published.state, published.layers
        attached = {arn.split(":")[6]: arn for arn in (state.layers if state else ())}
        code = self.code.sha256 if self.code else state.code_hex if state else ""
        wanted = self.wanted
        return {
            "architecture": self.target.architecture,
            "runtime": self.target.runtime.name,
            "code": {"sha256": code},
            "layers": [
                {
                    "component": choice.component,
                    "layer": choice.layer,
                    "arn": made.get(choice.component) or choice.arn or attached.get(choice.layer),
                    "sha256": choice.artifact.sha256 if choice.artifact else None,
                    "description": choice.description,
                    "license": choice.license,
                    "runtimes": list(choice.runtimes),
                }
                for choice in self.layers
            ],
            "settings": dict(wanted.settings) if wanted else {},
            "tags": dict(wanted.tags) if wanted else {},
            "extras": dict(wanted.extras) if wanted else {},
            "role": wanted.role if wanted else None,
            # What was there already is as much what this build left as what it made.
            "version": published.version or (state.version if state else None),
            "alias": published.alias or (wanted.alias if wanted else None),
            "lock": lock,
            "source": None
            if request.source is None or isinstance(request.source, ArchiveSource)
            else asdict(request.source) | {"path": request.path, "build_file": request.build_file},
        }


def of_project(
    request: Request,
    project: Outline,
    artifacts: Mapping[str, Artifact],
    context: Context,
    state: FunctionState | None,
    *,
    before: Mapping[str, str],
) -> Deployment:
    """What a built project is to be. Every layer comes with the version in the account that has its artifact, if any.

    Args:
        before: ARNs of the layers that the last deploy of the function attached, by component.
    """
    name = request.function or ""
    present = state.layers if state else ()
    own = {arn.split(":")[6] for arn in present if _is_own(name, arn, before)}
    return Deployment(
        name=name,
        target=project.target,
        code=artifacts.get(FUNCTION),
        layers=tuple(_choices(project, name, artifacts, context, present, before)),
        wanted=_wanted(request, project, context, state),
        own_layers=frozenset(own),
        reach=context.settings.reach,
    )


def of_record(kept: DeploymentRecord, request: Request, name: str, reach: Reach) -> Deployment:
    """What the record of an earlier build says that it deployed.

    Layers come with the version that they had then; whether it still exists is not known here.
    """
    target = Target(runtime=RUNTIMES[kept.runtime], architecture=architecture_of(kept.architecture))
    return Deployment(
        name=name,
        target=target,
        code=_kept_artifact(kept.code) if kept.code else None,
        layers=tuple(
            LayerChoice(
                component=row.component,
                layer=row.layer,
                artifact=_kept_artifact(row.sha256) if row.sha256 else None,
                arn=row.arn,
                description=row.description,
                license=row.license,
                runtimes=row.runtimes,
            )
            for row in kept.layers
        ),
        wanted=Wanted(
            name=name,
            target=target,
            settings=kept.settings,
            tags=kept.tags,
            extras=kept.extras,
            role=kept.role,
            publish=request.version,
            alias=request.alias,
        ),
        reach=reach,
    )


def foreign_layers(function: str, state: FunctionState | None, before: Mapping[str, str]) -> list[str]:
    """ARNs of attached layers that no build of this function has attached."""
    return [arn for arn in (state.layers if state else ()) if not _is_own(function, arn, before)]


def _is_own(function: str, arn: str, before: Mapping[str, str]) -> bool:
    """Whether the layer is one of this function: by name, or as another function's with the same content."""
    return arn in before.values() or arn.split(":")[6].startswith(own_prefix(function))


def _kept_artifact(sha256: str) -> Artifact:
    """An artifact of which nothing but the content is known any more."""
    return Artifact(sha256=sha256, size=0, unzipped=0, files=0)


def _choices(
    project: Outline,
    function: str,
    artifacts: Mapping[str, Artifact],
    context: Context,
    attached: Collection[str],
    before: Mapping[str, str],
) -> list[LayerChoice]:
    spec = project.spec
    default = spec.function.runtimes if spec.function else (project.target.runtime.name,)
    choices = []
    for entry in spec.layer_order:
        if not isinstance(entry, str):
            choices.append(
                LayerChoice(component=entry.name, layer=entry.arn.split(":")[6], artifact=None, arn=entry.arn)
            )
            continue
        layer = project.layer(entry) if entry != DEPENDENCIES else None
        artifact = artifacts.get(entry)
        runtimes = (layer.runtimes if layer else None) or default
        arn = before.get(entry) if artifact is None and before.get(entry) in attached else None
        if artifact is not None and artifact is not UNBUILT:
            arn = layers.known_version(
                context.clients,
                context.store,
                artifact,
                target=project.target,
                runtimes=runtimes,
                attached=attached,
            )
        choices.append(
            LayerChoice(
                component=entry,
                layer=layer_name(function, entry),
                artifact=artifact,
                arn=arn,
                description=(layer.description if layer else None) or f"{entry} of {function}",
                license=(layer.license if layer else None) or "",
                runtimes=runtimes,
            )
        )
    return choices


def _wanted(request: Request, project: Outline, context: Context, state: FunctionState | None) -> Wanted | None:
    function = project.spec.function
    if function is None:
        return None
    return Wanted(
        name=request.function or "",
        target=project.target,
        settings=configuration.settings(function, project.target),
        extras=wanted_extras(function, request.function or "", state.settings if state else {}),
        tags=dict([tag] if (tag := context.settings.reach.tag) else []) | dict(function.tags or {}),
        role=function.role or context.settings.role or None,
        publish=request.version,
        alias=request.alias,
        weight=request.weight,
        payload=request.payload,
    )
