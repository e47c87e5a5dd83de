"""A function's configuration: the build file's settings, and their differences from Lambda's.

Pure functions of values, in Lambda's own names. The arguments of CreateFunction and UpdateFunctionConfiguration are
made and compared here; settings with calls of their own (log retention, URL, concurrency …) are in `extras`, which uses
the same `differences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import InvalidBuildFile
from builder.spec.separate import SEPARATE

if TYPE_CHECKING:
    from builder.runtimes import Target
    from builder.spec.values import FunctionSpec

# CreateFunction takes these, UpdateFunctionConfiguration does not.
CREATION_ONLY = ("TenancyConfig",)

HIDDEN = "***"
"""Placeholder for the value of an environment variable: it may be secret, and differences are shown."""

_VARIABLES = "Environment.Variables"
# Defaults of members that Lambda's response leaves out.
_DEFAULTS: Mapping[str, object] = {
    "MemorySize": 128,
    "Timeout": 3,
    "EphemeralStorage.Size": 512,
    "TracingConfig.Mode": "PassThrough",
    "SnapStart.ApplyOn": "None",
    "LoggingConfig.LogFormat": "Text",
    "EventInvokeConfig.MaximumRetryAttempts": 2,
    "EventInvokeConfig.MaximumEventAgeInSeconds": 21_600,
    "RuntimeManagementConfig.UpdateRuntimeOn": "Auto",
}
# Lists without a meaningful order: Lambda may return them in another one.
_UNORDERED = ("SubnetIds", "SecurityGroupIds", "AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Setting that differs from the wanted one. `key` is dotted, in Lambda's names; None is: not set.

    Of environment variables `now` and `then` only say whether there is one (`HIDDEN`) or not.
    """

    key: str
    now: object
    then: object

    @property
    def sentence(self) -> str:
        """Text for people: `MemorySize: 128 → 512`, `Environment.Variables.LEVEL: changed`."""
        if HIDDEN not in (self.now, self.then):
            return f"{self.key}: {_shown(self.now)} → {_shown(self.then)}"
        return f"{self.key}: {'added' if self.now is None else 'removed' if self.then is None else 'changed'}"


def settings(function: FunctionSpec, target: Target) -> dict[str, object]:
    """Return the arguments of CreateFunction and UpdateFunctionConfiguration for a build file.

    Settings that it does not name are absent.

    Layers, code, architecture and tags are not part of it, nor is what `SEPARATE` lists.
    """
    named: dict[str, object] = {
        "MemorySize": function.memory,
        "Timeout": function.timeout,
        "Description": function.description,
        "Environment": None if function.environment is None else {"Variables": dict(function.environment)},
        "EphemeralStorage": None if function.ephemeral_storage is None else {"Size": function.ephemeral_storage},
        "Role": function.role,
    }
    return {
        "Runtime": target.runtime.name,
        "Handler": function.handler,
        **{name: value for name, value in named.items() if value is not None},
        **{name: value for name, value in function.configuration.items() if name not in SEPARATE},
    }


def differences(wanted: Mapping[str, object], present: Mapping[str, object]) -> tuple[Difference, ...]:
    """Return differences of `present` from `wanted`.

    Only members of `wanted` are compared: Lambda returns more than it was sent. Environment variables are an exception,
    since Lambda replaces all of them together: an unwanted one is also a difference.

    Args:
        wanted: as `settings` makes it.
        present: the `Configuration` from GetFunction; empty for a function that does not exist.
    """
    return tuple(_differences("", wanted, present))


def changes(wanted: Mapping[str, object], present: Mapping[str, object]) -> dict[str, object]:
    """Return the members of `wanted` that UpdateFunctionConfiguration must get, whole; empty if all is as wanted.

    Raises:
        InvalidBuildFile: Lambda cannot change one of them once the function exists.
    """
    different = dict.fromkeys(difference.key.partition(".")[0] for difference in differences(wanted, present))
    fixed = [name for name in different if name in CREATION_ONLY]
    if fixed:
        raise InvalidBuildFile(
            f"function.configuration: {', '.join(fixed)} can only be set when a function is created",
            hint="put it back as it was, or deploy under another name",
        )
    return {name: wanted[name] for name in different}


def _differences(at: str, wanted: object, present: object) -> Iterator[Difference]:
    if at == _VARIABLES:
        yield from _variable_differences(_mapping(wanted), _mapping(present))
    elif isinstance(wanted, Mapping):
        has = _mapping(present)
        for name, value in wanted.items():
            yield from _differences(f"{at}.{name}" if at else str(name), value, has.get(name))
    elif isinstance(wanted, list) and wanted and isinstance(present, list) and len(wanted) == len(present):
        yield from _list_differences(at, wanted, present)
    elif not _same(wanted, _DEFAULTS.get(at) if present is None else present):
        yield Difference(key=at, now=present, then=wanted)


def _list_differences(at: str, wanted: list[object], present: list[object]) -> Iterator[Difference]:
    """Yield the differences of two lists of equal length."""
    if at.rpartition(".")[2] in _UNORDERED:
        if sorted(map(str, wanted)) != sorted(map(str, present)):
            yield Difference(key=at, now=present, then=wanted)
        return
    for position, (one, other) in enumerate(zip(wanted, present, strict=True)):
        yield from _differences(f"{at}.{position}", one, other)


def _variable_differences(wanted: Mapping[str, object], present: Mapping[str, object]) -> Iterator[Difference]:
    for name in sorted({*wanted, *present}):
        if wanted.get(name) != present.get(name):
            now, then = (HIDDEN if name in variables else None for variables in (present, wanted))
            yield Difference(key=f"{_VARIABLES}.{name}", now=now, then=then)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _same(wanted: object, present: object) -> bool:
    # Lambda leaves out empty members. 0 is not empty: a concurrency of 0 differs from no limit.
    if _is_empty(wanted) or _is_empty(present):
        return _is_empty(wanted) and _is_empty(present)
    return wanted == present and isinstance(wanted, bool) == isinstance(present, bool)


def _is_empty(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str | list | Mapping) and not value)


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value) if value == "" else str(value)
