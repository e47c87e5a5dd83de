"""The wanted state of a function as one value, made from a built project or from an earlier build's record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.arns import Arn, layer_of, name_of_layer
from builder.errors import InvalidBuildFile, InvalidEvent
from builder.event.request import ArchiveSource
from builder.plan import FUNCTION, MAX_LAYERS, UNBUILT, Artifact
from builder.publishing import configuration, layers
from builder.publishing.extras import read_extras, wanted_extras
from builder.publishing.origins import Origins
from builder.publishing.publication import in_place, plan_publication
from builder.publishing.steps import FunctionState, LayerChoice, Step, UpdateConfiguration, Wanted, touched
from builder.records.record import DeploymentRecord, LayerRow, SourceRecord
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.spec.layer_names import layer_name, own_prefix
from builder.trust.reach import Reach

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.context import Context
    from builder.event.request import Request
    from builder.making.project import Outline
    from builder.publishing.publish import Published
    from builder.records.record import Origin


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Code, layers and configuration that belong together.

    `code` is None if it was not part of the build, `wanted` if the project has no function. `origins` knows who
    attached a layer. `reach` is the builder's.
    """

    name: str
    target: Target
    code: Artifact | None
    layers: tuple[LayerChoice, ...]
    wanted: Wanted | None
    origins: Origins
    reach: Reach = field(default_factory=Reach)

    def steps(self, state: FunctionState | None, made: Mapping[str, str]) -> tuple[Step, ...]:
        """Return the steps from `state` to this deployment.

        `made` are ARNs of layer versions made meanwhile, by component.

        Raises:
            RoleMissing, InvalidBuildFile, InvalidEvent, OwnTarget, AccessDenied: it cannot be deployed.
        """
        choices = [replace(choice, arn=made.get(choice.component, choice.arn)) for choice in self.layers]
        foreign = self._foreign(choices, state)
        if state is not None and len(foreign) + len(choices) > MAX_LAYERS:
            foreign = [arn for arn in foreign if not self.origins.is_gone(arn)]
        steps = plan_publication(self.wanted, self.code, choices, state, foreign=foreign)
        if state is not None and any(isinstance(step, UpdateConfiguration) and step.layers for step in steps):
            gone = self.origins.gone(state.layers)
            if gone:
                choices, foreign = self._attachable(choices, foreign, gone)
                steps = plan_publication(self.wanted, self.code, choices, state, foreign=foreign, gone=gone)
        if self.wanted is not None:
            self.reach.check_tags(self.name, self.wanted.tags, state.tags if state else None)
        self.reach.check_steps(map(touched, steps))
        return steps

    def note_layers(self) -> None:
        """Note the versions to attach, also those that are already attached: someone may have attached them by hand."""
        self.origins.note(choice.arn for choice in self.layers if choice.arn)

    def kept_layers(self, state: FunctionState | None) -> list[str]:
        """Return ARNs of attached layers that someone else has attached, and that stay."""
        return self._foreign(self.layers, state)

    def has_layers_of(self, state: FunctionState) -> bool:
        """Tell whether the function has exactly these layers, apart from those that someone else has attached."""
        wanted = in_place(choice.arn for choice in self.layers if choice.arn)
        return [*wanted] == [arn for arn in state.layers if arn in wanted or self.origins.is_ours(arn)]

    def _content_of(self, choice: LayerChoice) -> str | None:
        """Return the sha256 of a layer's artifact, also of one that was left out of the build.

        It is None for a layer from elsewhere.
        """
        if choice.artifact is None and choice.arn and not choice.is_named:
            content = self.origins.readable(choice.arn)
            return content.sha256 if content else None
        return choice.artifact.sha256 if choice.artifact else None

    def _foreign(self, choices: Sequence[LayerChoice], state: FunctionState | None) -> list[str]:
        """Return the attached layers that stay though the build file does not name them.

        Raises:
            InvalidEvent: a component was left out of the build, and its attached layer is not known.
        """
        if state is None:
            return []
        here = Arn.read(state.arn)
        taken = {
            layer_of(choice.arn) if choice.arn else str(here._replace(resource=f"layer:{choice.layer}"))
            for choice in choices
        }
        rest = [arn for arn in state.layers if layer_of(arn) not in taken]
        foreign = [arn for arn in rest if not self.origins.is_ours(arn)]
        self._warn_of_detached([arn for arn in rest if arn not in foreign])
        lost = [one.component for one in choices if not (one.arn or one.artifact)]
        if lost:
            raise InvalidEvent(
                f"components: {', '.join(lost)} is not built, and it is unknown which layer of {self.name} it is",
                hint="deploy once without `components`: everything is built then, and nothing has to be guessed",
            )
        return foreign

    def _warn_of_detached(self, arns: Sequence[str]) -> None:
        """Warn of layers of other functions that will be detached although no note shows that a build attached them."""
        for arn in arns:
            own = name_of_layer(arn).startswith(own_prefix(self.name))
            if not own and not self.origins.is_noted(arn):
                self.origins.warn(
                    f"layer {arn} is detached from {self.name}: a builder made it, and the build file does not name "
                    "it; if someone attached it on purpose, name it in the build file's `layers`"
                )

    def _attachable(
        self, choices: Sequence[LayerChoice], foreign: Sequence[str], gone: Collection[str]
    ) -> tuple[list[LayerChoice], list[str]]:
        """Return the layers without the versions `gone`, which were deleted while they were attached.

        Raises:
            InvalidEvent: a component was left out of the build, and its layer version is gone.
        """
        found = []
        for choice in choices:
            if choice.arn in gone and choice.artifact is None:
                raise InvalidEvent(
                    f"layer {choice.component}: version {choice.arn} was deleted, and Lambda will not attach it again",
                    hint="name a version that exists"
                    if choice.is_named
                    else "deploy without `components`, so that it is built again",
                )
            found.append(replace(choice, arn=None) if choice.arn in gone else choice)
        found = [*distinct(found, self.name)]
        for arn in (arn for arn in foreign if arn in gone):
            self.origins.warn(f"layer {arn} was deleted while it was attached to {self.name}: it is detached now")
        return found, [arn for arn in foreign if arn not in gone]

    def observed(self, state: FunctionState | None, clients: Clients) -> FunctionState | None:
        """Return `state` with the wanted settings that have calls of their own."""
        if state is None or self.wanted is None or not self.wanted.extras:
            return state
        found = read_extras(clients, self.name, self.wanted.extras, alias=self.wanted.alias)
        return replace(state, extras=found)

    def record(
        self, published: Published, request: Request, *, lock: str | None, origin: Origin | None
    ) -> DeploymentRecord:
        """Return the deployment for the build's record, with everything needed to deploy the same again.

        Parts outside of the build come from the function's state after it.
        """
        state, made = published.state, published.layers
        code = self.code.sha256 if self.code else state.code_hex if state else ""
        wanted, source = self.wanted, request.source
        return DeploymentRecord(
            architecture=self.target.architecture,
            runtime=self.target.runtime.name,
            code=code,
            layers=tuple(
                LayerRow(
                    component=choice.component,
                    layer=choice.layer,
                    arn=made.get(choice.component) or choice.arn,
                    sha256=self._content_of(choice),
                    description=choice.description,
                    license=choice.license,
                    runtimes=choice.runtimes,
                )
                for choice in self.layers
            ),
            settings=wanted.settings if wanted else {},
            tags=wanted.tags if wanted else {},
            extras=wanted.extras if wanted else {},
            role=wanted.role if wanted else None,
            # Components that were already in place also belong to the result of this build.
            version=published.version or (state.version if state else None),
            alias=published.alias or (wanted.alias if wanted else None),
            lock=lock,
            source=None
            if source is None or isinstance(source, ArchiveSource)
            else SourceRecord(
                source=source,
                path=request.path,
                build_file=request.build_file,
                key=request.key,
                stage=request.stage,
            ),
            origin=origin,
        )


def of_project(
    request: Request,
    project: Outline,
    artifacts: Mapping[str, Artifact],
    context: Context,
    state: FunctionState | None,
    origins: Origins,
    *,
    before: Mapping[str, str],
) -> Deployment:
    """Return the deployment of a built project. Every layer has the version in the account with its artifact, if any.

    Args:
        origins: knows who attached a layer.
        before: ARNs of the layers that the function has, by component, as far as they are known.
    """
    name = request.function or ""
    return Deployment(
        name=name,
        target=project.target,
        code=next((artifacts[name] for name in project.functions if name in artifacts), None),
        layers=distinct(_choices(project, name, artifacts, context, state, before, origins), name),
        wanted=_wanted(request, project, context, state),
        origins=origins,
        reach=context.settings.reach,
    )


def of_record(
    kept: DeploymentRecord, request: Request, name: str, context: Context, *, sizes: Mapping[str, int]
) -> Deployment:
    """Return the deployment in the record of an earlier build; `sizes` are bytes of its artifacts, by component.

    Layers have the version that they had then; it may no longer exist.
    """
    target = Target(runtime=RUNTIMES[kept.runtime], architecture=architecture_of(kept.architecture))
    return Deployment(
        name=name,
        target=target,
        code=_kept_artifact(kept.code, sizes.get(FUNCTION, 0)) if kept.code else None,
        layers=tuple(
            LayerChoice(
                component=row.component,
                layer=row.layer,
                artifact=_kept_artifact(row.sha256, sizes.get(row.component, 0)) if row.sha256 else None,
                arn=row.arn,
                description=row.description,
                license=row.license,
                runtimes=row.runtimes,
            )
            for row in kept.layers
            if row.arn or row.sha256
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
        origins=Origins(context.clients, context.store, name, warn=context.progress.warn),
        reach=context.settings.reach,
    )


def _kept_artifact(sha256: str, size: int) -> Artifact:
    """Return an artifact of which only its content and size are still known."""
    return Artifact(sha256=sha256, size=size, unzipped=0, files=0)


def _choices(
    project: Outline,
    function: str,
    artifacts: Mapping[str, Artifact],
    context: Context,
    state: FunctionState | None,
    before: Mapping[str, str],
    origins: Origins,
) -> list[LayerChoice]:
    attached = state.layers if state else ()
    spec = project.spec
    default = spec.function.runtimes if spec.function else (project.target.runtime.name,)
    choices = []
    for entry in spec.layer_order:
        if not isinstance(entry, str):
            choices.append(
                LayerChoice(component=entry.name, layer=name_of_layer(entry.arn), artifact=None, arn=entry.arn)
            )
            continue
        layer = project.holder(entry)
        artifact = artifacts.get(entry)
        runtimes = (layer.runtimes if layer else None) or default
        arn = before.get(entry) if artifact is None else None
        if artifact is not None and artifact is not UNBUILT:
            arn = layers.known_version(
                context.clients,
                context.store,
                artifact,
                name=layer_name(function, entry),
                target=project.target,
                runtimes=runtimes,
                attached=attached,
                others=[arn for arn in attached if arn not in origins.known],
                read=origins.readable,
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


def known_layers(
    state: FunctionState | None, memories: Iterable[Sequence[tuple[str, str]]], origins: Origins
) -> dict[str, str]:
    """Return ARNs of the function's layers by component, from the first of several memories that is still true.

    A memory lists components and their layer versions in order. It is true if the function has exactly those now, in
    that order. Names prove nothing: an exchange of contents, a rollback and another builder leave them the same.
    """
    for memory in memories:
        arns = in_place(arn for _, arn in memory)
        if state is not None and [*arns] == [arn for arn in state.layers if arn in arns or origins.is_ours(arn)]:
            return dict(memory)
    return {}


def distinct(choices: Sequence[LayerChoice], function: str) -> tuple[LayerChoice, ...]:
    """Return the choices with at most one version of each layer: other content gets a version of its own layer.

    A component to publish takes its own layer's name, and another component may have borrowed a version of that.

    Raises:
        InvalidBuildFile: layers that the build file names cannot be attached together with its own.
        InvalidEvent: the component that would resolve it was left out.
    """
    found = list(choices)
    while (at := _clashing(found)) is not None:
        choice = found[at]
        if choice.is_named:
            raise InvalidBuildFile(
                f"layers.{choice.component}: {choice.arn} is a version of a layer of which {function} gets another "
                "one, and Lambda attaches only one version of a layer",
                hint="give the component of that layer another name, or do not name its versions",
            )
        if choice.artifact is None:
            raise InvalidEvent(
                f"components: {choice.component} also has to be built: its version {choice.arn} cannot be attached "
                "together with another version of that layer",
                hint="deploy once without `components`",
            )
        found[at] = replace(choice, arn=None)
    return tuple(found)


def _clashing(choices: Sequence[LayerChoice]) -> int | None:
    """Return the index of a choice that must give way: another version of its layer is attached."""
    taken: dict[str, str] = {}
    for choice in choices:  # a layer to publish, or one named by its ARN, does not give way
        if choice.artifact is not None and not choice.arn:
            taken[choice.layer] = ""
    order = sorted(range(len(choices)), key=lambda at: not choices[at].is_named)
    for at in order:
        arn = choices[at].arn
        if arn and taken.setdefault(name_of_layer(arn), arn) != arn:
            return at
    return None


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
