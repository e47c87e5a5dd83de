"""The decision about what to publish, and in which order. Pure functions of values.

Where an alias serves, callers never get a mixture of old and new: layers, configuration and code of $LATEST are
brought up to date first, then frozen as a version, then tried, and only then the alias moves, in one call.

Without an alias $LATEST serves, and Lambda has no call that changes layers, settings and code at once. The order is
then grow, swap, shrink: the new code's layers and variables come before it, and the old code's (which the build file no
longer names) stay until after the swap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from builder.arns import name_of_layer
from builder.errors import InvalidBuildFile, InvalidEvent
from builder.plan import MAX_LAYERS, Artifact
from builder.publishing import configuration
from builder.publishing.steps import (
    ApplyExtra,
    CreateFunction,
    FunctionState,
    LayerChoice,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    TagFunction,
    TryFunction,
    UpdateCode,
    UpdateConfiguration,
    Wanted,
)
from builder.trust.roles import role_missing

_ENVIRONMENT = "Environment"


def plan_publication(
    wanted: Wanted | None,
    code: Artifact | None,
    layers: Sequence[LayerChoice],
    state: FunctionState | None,
    *,
    foreign: Sequence[str] = (),
    gone: Collection[str] = (),
) -> tuple[Step, ...]:
    """Return the steps that make Lambda agree with the artifacts. Parts that already agree are not touched.

    Args:
        wanted: None where the build file has no function.
        code: the function's artifact; None where it was not part of this build.
        layers: all layers of the build file, in its order, which is the order in which they are attached.
        foreign: ARNs of attached layers that someone else has attached: they stay, in front of ours, which cover them.
            Other attached layers that are not among `layers` are detached.
        gone: ARNs of attached layer versions that were deleted: Lambda leaves them attached, but cannot attach them
            again.

    Raises:
        RoleMissing: the function must be created and no role is known.
        InvalidBuildFile: the result would be refused by Lambda.
    """
    steps: list[Step] = [PublishLayer(choice=choice) for choice in layers if choice.artifact and not choice.arn]
    if wanted is None:
        return tuple(steps)
    attached = _attached(layers, foreign)
    if len(attached) > MAX_LAYERS:
        raise InvalidBuildFile(
            f"{wanted.name} would have {len(attached)} layers: {', '.join(attached)}",
            hint=f"Lambda allows {MAX_LAYERS}; join layers or detach one",
        )
    if state is None:
        update: list[Step] = [_creation(wanted, code, attached)]
    else:
        names = {choice.component: choice.layer for choice in layers}
        update = _update(wanted, code, attached, state, names, gone)
    version = state.version if state and not update else None
    extras = _extras(wanted, state)
    # A log group of another name may be forbidden; it then exists before the first invoke.
    steps += [extra for extra in extras if extra.key == "LogRetention"]
    steps += update
    if state is not None and (tags := {k: v for k, v in wanted.tags.items() if state.tags.get(k) != v}):
        steps.append(TagFunction(name=wanted.name, tags=tags))
    steps += _served(wanted, state, version)
    # Last: a URL may belong to the alias, which must exist first.
    steps += [extra for extra in extras if extra.key != "LogRetention"]
    return tuple(steps)


def _extras(wanted: Wanted, state: FunctionState | None) -> list[ApplyExtra]:
    return [
        ApplyExtra(name=wanted.name, key=key, value=value, alias=wanted.alias)
        for key, value in configuration.changes(wanted.extras, state.extras if state else {}).items()
    ]


def _served(wanted: Wanted, state: FunctionState | None, version: str | None) -> Iterator[Step]:
    """Yield the steps from $LATEST to callers; `version` is a published one that equals it, if there is one."""
    if (wanted.publish or wanted.alias) and version is None:
        yield PublishVersion(name=wanted.name)
    if wanted.payload is not None:
        yield TryFunction(name=wanted.name, version=version, payload=wanted.payload, alias=wanted.alias)
    if wanted.alias:
        alias = state.alias if state else None
        if version is None or alias is None or not alias.serves(version, wanted.weight):
            yield PointAlias(name=wanted.name, alias=wanted.alias, version=version, weight=wanted.weight)


def explained(before: FunctionState | None, after: FunctionState | None, step: Step) -> bool:
    """Tell whether `step` alone accounts for the difference: it took effect, and only its response was lost.

    Any other difference means that someone else has changed the function meanwhile.
    """
    if before is None or after is None:
        return isinstance(step, CreateFunction) and after is not None and after.code_sha256 == step.code.code_sha256
    code = {before.code_sha256} | ({step.code.code_sha256} if isinstance(step, UpdateCode) else set())
    changes: Mapping[str, object] = step.changes if isinstance(step, UpdateConfiguration) else {}
    settings = all(after.settings.get(key) == value for key, value in before.settings.items() if key not in changes)
    layers = after.layers == before.layers or isinstance(step, UpdateConfiguration)
    return after.code_sha256 in code and settings and layers


def _creation(wanted: Wanted, code: Artifact | None, attached: tuple[str, ...]) -> CreateFunction:
    if not wanted.role:
        raise role_missing(wanted.name)
    if code is None:
        raise InvalidEvent(f"function {wanted.name} does not exist and its code was not built")
    return CreateFunction(wanted=wanted, role=wanted.role, code=code, layers=attached)


def _update(
    wanted: Wanted,
    code: Artifact | None,
    attached: tuple[str, ...],
    state: FunctionState,
    new_layers: Mapping[str, str],
    gone: Collection[str],
) -> list[Step]:
    """Return the changes of $LATEST.

    `new_layers`: names of the layers to publish, by component.
    """
    name, architecture = wanted.name, wanted.target.architecture
    changes = configuration.changes(wanted.settings, state.settings)
    swap = code is not None and (code.code_sha256 != state.code_sha256 or architecture != state.architecture)
    steps: list[Step] = []
    present = state.layers
    if swap and not wanted.alias:
        names = {new_layers.get(layer) or _layer_name(layer) for layer in attached}
        grown, layers = _grown(changes, attached, names, state, gone)
        if grown or layers != present:
            steps.append(UpdateConfiguration(name=name, changes=grown, layers=layers if layers != present else None))
        changes = {key: value for key, value in changes.items() if grown.get(key) != value}
        present = layers
    elif changes or attached != present:
        steps.append(UpdateConfiguration(name=name, changes=changes, layers=attached if attached != present else None))
        changes, present = {}, attached
    if swap and code is not None:
        steps.append(UpdateCode(name=name, code=code, architecture=architecture))
    if changes or present != attached:
        steps.append(UpdateConfiguration(name=name, changes=changes, layers=attached if attached != present else None))
    return steps


def _grown(
    changes: Mapping[str, object],
    attached: tuple[str, ...],
    names: Collection[str],
    state: FunctionState,
    gone: Collection[str],
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return settings and layers for both the present and the new code, as far as Lambda's limits allow.

    `names` are those of the layers to attach: a function cannot have two versions of one layer.
    """
    kept = tuple(arn for arn in state.layers if _layer_name(arn) not in names and arn not in gone)
    layers = (*kept, *attached) if len(kept) + len(attached) <= MAX_LAYERS else attached
    grown = dict(changes)
    if _ENVIRONMENT in grown:
        now, then = _variables(state.settings.get(_ENVIRONMENT)), _variables(grown[_ENVIRONMENT])
        grown[_ENVIRONMENT] = {"Variables": {**now, **then}}
        if _variables(grown[_ENVIRONMENT]) == now:
            del grown[_ENVIRONMENT]  # variables are only removed
    return grown, layers


def _variables(environment: object) -> Mapping[str, str]:
    given = environment.get("Variables") if isinstance(environment, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def _layer_name(arn: str) -> str:
    """Return the layer's name in a version's ARN; a layer that is not published yet goes by its component's."""
    return name_of_layer(arn) if arn.startswith("arn:") else arn


def _attached(layers: Sequence[LayerChoice], foreign: Sequence[str]) -> tuple[str, ...]:
    """Return the layers to attach, in order: ARNs, or component names of layers about to be published.

    Lambda unpacks them one over the other, so the last one wins.
    """
    ours = [choice.arn or choice.component for choice in layers if choice.arn or choice.artifact]
    return in_place([*(arn for arn in foreign if arn not in ours), *ours])


def in_place(layers: Iterable[str]) -> tuple[str, ...]:
    """Return each layer once: components of the same content are one layer version, whose last place counts in /opt."""
    return tuple(reversed(dict.fromkeys(reversed([*layers]))))
