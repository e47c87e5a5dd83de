"""Steps to the wanted builder function: code, configuration, layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bootstrap.changes import (
    CreateFunction,
    DeleteFunction,
    NeverRepeat,
    PublishStarter,
    SetUp,
    Step,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.names import Names
from bootstrap.plan.wanted import ENVIRONMENT_PREFIX, Wanted
from bootstrap.state import FunctionSettings, Present


def has_moved(want: Wanted, present: Present) -> bool:
    """Return whether the builder changes to another runtime or architecture, which its layer does not fit."""
    function = present.function
    return function is not None and (
        function.settings.runtime != want.settings.runtime or function.architecture != want.architecture
    )


def function_steps(want: Wanted, present: Present) -> list[Step]:
    function, names = present.function, want.names
    settings = _settings(want, present)
    # A function whose creation failed can be neither updated nor invoked, only deleted (Lambda Developer Guide,
    # functions-states).
    if function is None or function.state == "Failed":
        return _new_function(want, present, settings)
    steps = list[Step]()
    own = [layer for layer in function.layers if layer.startswith(f"{names.layer_arn}:")]
    moved = has_moved(want, present)
    layer: str | None = None
    if moved or not own:
        # The new runtime cannot load wheels for the old one, so `setup` must start from the starter layer again.
        layer, publish = starter_layer(want, present)
        steps += publish
    changed = differences(function.settings, settings)
    if changed or layer is not None:
        listed = ", ".join([*changed, *(["layers"] if layer is not None else [])])
        others = tuple(layer for layer in function.layers if layer not in own)
        steps.append(
            UpdateConfiguration(
                sentence=f"update the configuration of function {names.function}: {listed}",
                function=names.function,
                settings=settings,
                layer=layer,
                layers=others,
            )
        )
    if function.code_sha256 != want.package.code_sha256 or function.architecture != want.architecture:
        steps.append(
            UpdateCode(
                sentence=f"update the code of function {names.function}",
                function=names.function,
                architecture=want.architecture,
                code=want.package.code,
            )
        )
    if not function.retries_decided:
        steps.append(_never_repeat(names))
    ping = present.ping
    # The key decides, not the layer's version: `setup` makes the same layer from the same lock.
    if moved or not own or ping is None or not ping.ready or ping.layer_key != want.package.layer_key:
        steps.append(_set_up(want))
    return steps


def _new_function(want: Wanted, present: Present, settings: FunctionSettings) -> list[Step]:
    names, steps = want.names, list[Step]()
    if present.function is not None:
        text = f"remove function {names.function}, whose creation failed"
        steps.append(DeleteFunction(sentence=text, function=names.function))
    layer, publish = starter_layer(want, present)
    text = (
        f"create function {names.function} ({settings.runtime}, {want.architecture}, {settings.memory_mb} MB, "
        f"{settings.timeout_s} s, /tmp {settings.ephemeral_storage_mb} MB)"
    )
    return [
        *steps,
        *publish,
        CreateFunction(
            sentence=text,
            function=names.function,
            layer=layer,
            architecture=want.architecture,
            settings=settings,
            code=want.package.code,
        ),
        _never_repeat(names),
        _set_up(want),
    ]


def _never_repeat(names: Names) -> NeverRepeat:
    # By default Lambda repeats a failed asynchronous invocation after one and after two minutes (Lambda Developer
    # Guide, invocation-async): a build that failed would deploy later, unasked.
    text = f"tell Lambda never to repeat a failed invocation of function {names.function} by itself"
    return NeverRepeat(sentence=text, function=names.function)


def starter_layer(want: Wanted, present: Present) -> tuple[str, list[Step]]:
    """Return the starter layer's ARN if it exists, else an empty string and the step that publishes it."""
    runtime = want.settings.runtime
    for version in present.layers:
        # By the description, which has the key of the content: layers have no tags.
        if version.description == want.starter and runtime in version.runtimes:
            return version.arn, []
    text = f"publish {want.names.layer} with boto3 and pip"
    step = PublishStarter(sentence=text, layer=want.names.layer, description=want.starter, runtime=runtime)
    return "", [step]


def _set_up(want: Wanted) -> SetUp:
    return SetUp(
        sentence=f"let function {want.names.function} install its own dependencies",
        function=want.names.function,
        layer_key=want.package.layer_key,
    )


def _settings(want: Wanted, present: Present) -> FunctionSettings:
    """Return the function's settings, with variables that someone else has added to its environment."""
    environment = dict(want.settings.environment)
    if want.secret or (present.secret and present.secret.made_here and not present.secret.deleted):
        environment[ENVIRONMENT_PREFIX + "GIT_SECRET"] = want.names.secret
    # UpdateFunctionConfiguration replaces all variables, so those of others are sent again.
    if present.function is not None:
        environment |= variables_of_others(present.function.settings.environment)
    return replace(want.settings, environment=environment)


def variables_of_others(there: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that someone else has added."""
    return {name: value for name, value in there.items() if not name.startswith(ENVIRONMENT_PREFIX)}


_TITLES: Mapping[str, str] = {
    "memory_mb": "memory",
    "timeout_s": "timeout",
    "ephemeral_storage_mb": "ephemeral storage",
}


def differences(there: FunctionSettings, wanted: FunctionSettings) -> list[str]:
    """Return the names of the settings that differ, for people."""
    return [
        _TITLES.get(name, name)
        for name in FunctionSettings.__dataclass_fields__
        if getattr(there, name) != getattr(wanted, name)
    ]
