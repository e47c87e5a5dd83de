"""Checks settings in Lambda's own names against AWS's own description of its services.

The description is botocore's, so names, types, enumerations and ranges are those of the SDK in use, not a list of
ours. It is loaded only for a build file that uses such names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from builder.aws import service_shapes
from builder.nearest import alike, meant, nearest
from builder.spec.document import Location
from builder.spec.separate import EVENT_INVOKE

# The build file's own keys for settings that Lambda names differently.
FRIENDLY: Mapping[str, str] = {
    "Architectures": "architecture",
    "Code": "files",
    "Description": "description",
    "Environment": "environment",
    "EphemeralStorage": "ephemeral_storage",
    "Handler": "handler",
    "Layers": "layers",
    "MemorySize": "memory",
    "Role": "role",
    "Runtime": "runtimes",
    "Tags": "tags",
    "Timeout": "timeout",
}
# Characters of a regular expression that a person may still read.
_LONGEST_PATTERN = 80
# Not settings, or not of functions made of zips.
_NOT_HERE: Mapping[str, str] = {
    "FunctionName": "the client names the function (deploy.sh -f)",
    "ImageConfig": "is for functions made of container images",
    "PackageType": "is always Zip",
    "Publish": "the client asks for it (deploy.sh -v, or -a ALIAS)",
    "PublishTo": "is not a setting",
    "RevisionId": "is not a setting",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem at a place below the value that was checked: `text`, or else `value` has the wrong type.

    `kind` is the wanted type, by pydantic's name for its error.
    """

    at: Location
    text: str = ""
    kind: str = ""
    value: object = None


def configuration_findings(given: Mapping[str, object]) -> Iterator[Finding]:
    """Yield the problems of the build file's `configuration`."""
    shapes = service_shapes("lambda")
    members = _configuration_members()
    for name, value in given.items():
        if name in members:
            yield from _findings((name,), value, members[name], shapes)
        elif name in FRIENDLY:
            key = FRIENDLY[name]
            where = f"`{key}:`" if key == "layers" else f"`function.{key}:`"
            yield Finding(at=(name,), text=f"is set by {where}; write it there")
        elif name in _NOT_HERE:
            yield Finding(at=(name,), text=f"does not belong here: {_NOT_HERE[name]}")
        else:
            near = nearest(name, members) or _near_friendly(name)
            yield Finding(at=(name,), text=f"unknown name{near or '; known are ' + ', '.join(sorted(members))}")


def cors_findings(given: Mapping[str, object]) -> Iterator[Finding]:
    """Yield the problems of the build file's `url.cors`."""
    yield from _findings((), given, "Cors", service_shapes("lambda"))


def configuration_schema() -> dict[str, object]:
    """Return the JSON Schema of the build file's `configuration`."""
    shapes = service_shapes("lambda")
    members = {name: _schema(shape, shapes) for name, shape in sorted(_configuration_members().items())}
    return {"type": "object", "properties": members, "additionalProperties": False}


def cors_schema() -> dict[str, object]:
    """Return the JSON Schema of the build file's `url.cors`."""
    return _schema("Cors", service_shapes("lambda"))


def _schema(shape_name: str, shapes: Mapping[str, Any]) -> dict[str, object]:
    """Return the JSON Schema of values without findings, except for patterns that it cannot express."""
    shape = shapes[shape_name]
    kind, low, high = _JSON_TYPES[shape["type"]]
    schema: dict[str, object] = {"type": kind}
    if "enum" in shape:
        return schema | {"enum": list(shape["enum"])}
    schema |= {key: shape[bound] for key, bound in ((low, "min"), (high, "max")) if key and bound in shape}
    # Editors read patterns in JavaScript's dialect, so only those that mean the same there are given.
    if "pattern" in shape and _PORTABLE.fullmatch(shape["pattern"]):
        schema["pattern"] = f"^(?:{shape['pattern']})$"
    if shape["type"] == "list":
        schema["items"] = _schema(shape["member"]["shape"], shapes)
    elif shape["type"] == "map":
        schema["additionalProperties"] = _schema(shape["value"]["shape"], shapes)
    elif shape["type"] == "structure":
        members = _members(shape)
        schema["properties"] = {name: _schema(member, shapes) for name, member in members.items()}
        schema["additionalProperties"] = False
        schema |= {"required": required} if (required := [n for n in shape.get("required", ()) if n in members]) else {}
    return schema


# By AWS's names of types: JSON Schema's type, and its names of their bounds.
_JSON_TYPES: Mapping[str, tuple[str, str, str]] = {
    "string": ("string", "minLength", "maxLength"),
    "integer": ("integer", "minimum", "maximum"),
    "long": ("integer", "minimum", "maximum"),
    "double": ("number", "minimum", "maximum"),
    "boolean": ("boolean", "", ""),
    "list": ("array", "minItems", "maxItems"),
    "map": ("object", "", ""),
    "structure": ("object", "", ""),
}
# Patterns without features of single dialects: flags, classes of Unicode, needless escapes.
_PORTABLE = re.compile(r"(?:[^\\(]|\\[dDsSwW.$*+?|/()\[\]{}^-]|\((?!\?)|\(\?:)*")


def _near_friendly(name: str) -> str:
    near = alike(name, FRIENDLY) or alike(name, FRIENDLY.values())
    return f"; `{FRIENDLY.get(near[0], near[0])}:` is a key beside `configuration:`" if near else ""


@cache
def _configuration_members() -> Mapping[str, str]:
    """Return the shapes of members of `configuration`, by name."""
    shapes = service_shapes("lambda")
    taken: dict[str, str] = {}
    for request in ("CreateFunctionRequest", "UpdateFunctionConfigurationRequest"):
        taken |= _members(shapes[request])
    known = {name: shape for name, shape in taken.items() if name not in FRIENDLY and name not in _NOT_HERE}
    event_invoke = _members(shapes["PutFunctionEventInvokeConfigRequest"])
    concurrency = _members(shapes["PutFunctionConcurrencyRequest"])
    return (
        known
        | {name: event_invoke[name] for name in EVENT_INVOKE}
        | {
            "ReservedConcurrentExecutions": concurrency["ReservedConcurrentExecutions"],
            "RuntimeManagementConfig": "PutRuntimeManagementConfigRequest",
        }
    )


def _members(shape: Mapping[str, Any]) -> dict[str, str]:
    """Return the shapes of a structure's members, without those that name the function, which belong to the call."""
    return {
        name: member["shape"]
        for name, member in shape.get("members", {}).items()
        if name not in ("FunctionName", "Qualifier")
    }


def _findings(at: Location, value: object, shape_name: str, shapes: Mapping[str, Any]) -> Iterator[Finding]:
    shape = shapes[shape_name]
    kind, python = _TYPES[shape["type"]]
    if not isinstance(value, python) or (isinstance(value, bool) and bool not in python):
        yield Finding(at=at, kind=kind, value=value)
    elif isinstance(value, str):
        yield from (Finding(at=at, text=text) for text in _text_problems(value, shape_name, shape))
    elif isinstance(value, dict):
        yield from _structure_findings(at, value, shape, shapes)
    elif isinstance(value, list):
        if problem := _outside(len(value), shape):
            yield Finding(at=at, text=f"has {len(value)} entries; {problem}")
        for position, item in enumerate(value):
            yield from _findings((*at, position), item, shape["member"]["shape"], shapes)
    elif isinstance(value, int | float) and (problem := _outside(value, shape)):
        yield Finding(at=at, text=f"must be {problem}, not {value}")


# By AWS's names of types: pydantic's name of the error, and the type in a build file.
_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "string": ("string_type", (str,)),
    "integer": ("int_type", (int,)),
    "long": ("int_type", (int,)),
    "double": ("float_type", (int, float)),
    "boolean": ("bool_type", (bool,)),
    "list": ("tuple_type", (list,)),
    "map": ("dict_type", (dict,)),
    "structure": ("dict_type", (dict,)),
}


def _structure_findings(
    at: Location, value: Mapping[str, object], shape: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Iterator[Finding]:
    members = _members(shape)
    if shape["type"] == "map":
        members = dict.fromkeys(value, shape["value"]["shape"])
    unknown = {name: nearest(name, members) for name in value if name not in members}
    for name, near in unknown.items():
        yield Finding(at=(*at, name), text=f"unknown name{near or '; known are ' + ', '.join(members)}")
    for name in shape.get("required", ()):
        # A mistyped name is one problem, and not also a missing name.
        if name in members and name not in value and meant([name]) not in unknown.values():
            yield Finding(at=(*at, name), text="missing")
    for name, item in value.items():
        if name in members:
            yield from _findings((*at, name), item, members[name], shapes)


def _text_problems(value: str, shape_name: str, shape: Mapping[str, Any]) -> Iterator[str]:
    allowed = shape.get("enum")
    if allowed and value not in allowed:
        yield f"must be {' or '.join(map(repr, allowed))}, not {value[:80]!r}"
    elif problem := _outside(len(value), shape):
        yield f"is {len(value)} characters long; {problem}"
    elif "pattern" in shape and not re.fullmatch(shape["pattern"], value):
        pattern = shape["pattern"]
        form = pattern if len(pattern) <= _LONGEST_PATTERN else f"{shape_name} in Lambda's API reference"
        yield f"{value[:80]!r} does not have the form that Lambda requires: {form}"


def _outside(size: float, shape: Mapping[str, Any]) -> str:
    """Say what a number or a length must be, if it is not; else nothing."""
    low, high = shape.get("min"), shape.get("max")
    if (low is None or size >= low) and (high is None or size <= high):
        return ""
    if high is None:
        return f"at least {low}"
    return f"from {low} to {high}" if low else f"at most {high}"
