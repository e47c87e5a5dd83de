"""The decision what is published, and in which order. Pure functions of values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from builder.errors import InvalidBuildFile, InvalidEvent, RoleMissing
from builder.plan import MAX_LAYERS, Artifact
from builder.steps import (
    CreateFunction,
    FunctionState,
    LayerChoice,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    TagFunction,
    UpdateCode,
    UpdateConfiguration,
    Wanted,
)


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
