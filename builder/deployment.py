"""A project's function and layers in the account: what is wanted of Lambda, what is known of it, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder import functions, publish, reply
from builder.plan import DEPENDENCIES, FUNCTION, UNBUILT, Artifact
from builder.steps import FunctionState, LayerChoice, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.context import Context
    from builder.event import Request
    from builder.project import Project


def layer_choices(
    project: Project, function: str, artifacts: Mapping[str, Artifact], context: Context
) -> list[LayerChoice]:
    """Every layer of the build file, with the version in the account that already has its artifact."""
    spec = project.spec
    default = spec.function.runtimes if spec.function else (project.target.runtime.name,)
    choices = []
    for name in project.names:
        if name == FUNCTION:
            continue
        layer = project.layer(name) if name != DEPENDENCIES else None
        artifact = artifacts.get(name)
        layer_name = f"{function}-{name}"
        arn = _layer_arn(layer_name, artifact, context) if artifact and artifact is not UNBUILT else None
        choices.append(
            LayerChoice(
                component=name,
                layer=layer_name,
                artifact=artifact,
                arn=arn,
                description=(layer.description if layer else None) or f"{name} of {function}",
                license=(layer.license if layer else None) or "",
                runtimes=(layer.runtimes if layer else None) or default,
            )
        )
    return choices


def _layer_arn(layer: str, artifact: Artifact, context: Context) -> str | None:
    arn = publish.known_layer_arn(context.store.read_json(publish.layer_record(layer, artifact.sha256)))
    return arn if arn and functions.layer_version_exists(context.clients, arn) else None


def own_layers(function: str, state: FunctionState | None) -> set[str]:
    """Names of attached layers that an earlier build of this function made."""
    names = {arn.split(":")[6] for arn in (state.layers if state else ())}
    return {name for name in names if name.startswith(f"{function}-")}


def foreign_layers(function: str, state: FunctionState | None) -> list[str]:
    """ARNs of attached layers that are not this function's own."""
    own = own_layers(function, state)
    return [arn for arn in (state.layers if state else ()) if arn.split(":")[6] not in own]


def wanted(request: Request, project: Project, context: Context) -> Wanted | None:
    function = project.spec.function
    if function is None:
        return None
    settings: dict[str, object] = {"Runtime": project.target.runtime.name, "Handler": function.handler}
    if function.memory is not None:
        settings["MemorySize"] = function.memory
    if function.timeout is not None:
        settings["Timeout"] = function.timeout
    if function.description is not None:
        settings["Description"] = function.description
    if function.environment is not None:
        settings["Environment"] = {"Variables": dict(function.environment)}
    if function.ephemeral_storage is not None:
        settings["EphemeralStorage"] = {"Size": function.ephemeral_storage}
    if function.role is not None:
        settings["Role"] = function.role
    return Wanted(
        name=request.function or "",
        target=project.target,
        settings=settings,
        tags=dict(function.tags or {}),
        role=function.role or context.settings.role or None,
        publish=request.version,
        alias=request.alias,
    )


def outcome(
    request: Request,
    choices: Sequence[LayerChoice],
    published: publish.Published,
    state: FunctionState | None,
) -> reply.Reply:
    """What is deployed now."""
    layers = [
        {
            "name": choice.component,
            "layer": choice.layer,
            "arn": published.layers.get(choice.component, choice.arn),
            "reused": choice.component not in published.layers,
            "size": choice.artifact.size,
        }
        for choice in choices
        if choice.artifact
    ]
    function = None
    if state is not None:
        function = {
            "name": request.function,
            "arn": state.arn,
            "version": published.version,
            "alias": published.alias,
            "code_sha256": state.code_sha256,
        }
    return {"function": function, "layers": layers, "changed": list(published.steps)}
