"""The JSON Schema of a build file: `builder.spec.values` in the shape that `builder.spec.build_file` reads.

Rules that need several places of the file, or the project's files, are mostly left to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from builder.schemas.models import Schema, definitions_of
from builder.spec.accepted import LAYER_VERSION
from builder.spec.base import RelativePath, Spec, given
from builder.spec.build_file import LAYER_NAME, MAX_LAYERS, SHARED
from builder.spec.builds import CommandBuild, GoBuild, NodeBuild, Package
from builder.spec.lambda_names import configuration_schema, cors_schema
from builder.spec.members import MemberSpec
from builder.spec.values import CheckingSpec, Dependencies, FunctionSpec, KeepingSpec, LayerSpec, PackingSpec, PruneSpec


class Go(Spec):
    """A Go command: its package, or a mapping."""

    go: Package | GoBuild | None
    """The package, for example `./cmd/api`, or a mapping."""


class Node(Spec):
    """A Node.js function: the file to bundle, or a mapping."""

    node: RelativePath | NodeBuild | None
    """The file that esbuild makes one bundle of, for example `src/index.ts`, or a mapping."""


Forms = Literal["go", "node", "none"] | Go | Node | CommandBuild | None


class Function(FunctionSpec):
    """The function itself. What is not named stays as it is in Lambda."""

    build: Forms = None  # type: ignore[assignment]


class Member(Function, MemberSpec):
    """One function of several, or what all of them have in common."""


class Stage(Spec):
    """What is different at a stage; everything else is as without one."""

    defaults: Member | None = None
    """Keys of all functions."""
    functions: Mapping[str, Member] | None = None
    """Keys of single functions, by name."""
    function: Member | None = None
    """Keys of the function, where there is only one."""


class Several(Spec):
    """Keys of a file with several functions."""

    defaults: Member | None = None
    """Keys that all functions have; a function's own win."""
    functions: Mapping[str, Member] | None = None
    """Functions by name, instead of `function`."""
    stages: Mapping[str, Stage | None] | None = None
    """Stages by name: what is different there. Mappings are merged key by key, everything else is replaced."""


class Layer(LayerSpec):
    """A layer with files of your own; they are unpacked under `/opt`."""

    build: Forms = None  # type: ignore[assignment]


_BESIDE = (KeepingSpec, PackingSpec, CheckingSpec)


def build_schema() -> Schema:
    """Return the schema of the whole file, every key with its meaning."""
    definitions = definitions_of(Function, Several, Layer, PruneSpec, Dependencies, *_BESIDE)
    dependencies = definitions.pop("Dependencies")["properties"]["dependencies"]
    beside = [definitions.pop(model.__name__)["properties"] for model in _BESIDE]
    several = definitions.pop("Several")["properties"]
    _finish_several(definitions, several)
    _finish_function(definitions["Function"])
    _finish_layer(definitions["Layer"])
    definitions["UrlSpec"]["properties"]["cors"] |= {"anyOf": [cors_schema(), {"type": "null"}]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A build file of Lambdasmith",
        "description": "build.yaml, build.yml or build.json: what to build, and the settings of its function.",
        "type": "object",
        "properties": {
            "function": {"$ref": "#/definitions/Function"},
            **several,
            "layers": _layers(dependencies),
            "prune": {
                "anyOf": [{"$ref": "#/definitions/PruneSpec"}, {"type": "null"}],
                "description": definitions["PruneSpec"]["description"],
            },
            **{key: schema for properties in beside for key, schema in properties.items()},
        },
        "additionalProperties": False,
        # Without a function there are layers, which cannot inherit its runtimes.
        "if": {"not": {"anyOf": [{"required": ["function"]}, {"required": ["functions"]}]}},
        "then": given(
            "layers",
            minProperties=1,
            properties={"dependencies": True},
            additionalProperties={"anyOf": [{"type": "string"}, {"required": ["runtimes"]}]},
        ),
        "definitions": definitions,
    }


def _layers(dependencies: Schema) -> Schema:
    own = {"anyOf": [{"$ref": "#/definitions/Layer"}, _text(LAYER_VERSION.pattern)]}
    described = "A mapping: a layer with files of your own. The ARN of a version: a layer from elsewhere, as it is."
    return {
        "type": ["object", "null"],
        "description": "Layers by name, attached in this order; where two have the same file, the later one wins.",
        "properties": {"dependencies": {**dependencies, "not": {"type": "string", "pattern": "^arn:"}}},
        "additionalProperties": {**own, "description": described},
        "propertyNames": {**_text(LAYER_NAME.pattern), "not": {"const": "function"}},
        "maxProperties": MAX_LAYERS,
    }


def _finish_several(definitions: dict[str, Schema], several: dict[str, Schema]) -> None:
    """Add what `builder.spec.members` requires: what one part of a function lacks, another may have."""
    definitions["Member"].pop("required", None)
    definitions["Member"]["properties"]["configuration"] |= configuration_schema()
    names = {**_text(LAYER_NAME.pattern), "not": {"enum": ["function", "dependencies"]}}
    for functions in (several["functions"], definitions["Stage"]["properties"]["functions"]):
        functions["propertyNames"] = names
    several["functions"]["minProperties"] = 1
    several["stages"]["propertyNames"] = _text(LAYER_NAME.pattern)
    # What is shared may differ as well; the reader looks at the whole.
    definitions["Stage"]["properties"] |= {key: {"description": "As in the file itself."} for key in SHARED}


def _finish_function(function: Schema) -> None:
    """Add what `builder.spec.build_file` requires of functions besides their model."""
    function["required"].remove("handler")  # custom runtimes need none, Python has a default, Node.js needs one
    ours, pythons = (_first_runtime(pattern) for pattern in ("(?:python|nodejs).*", "python.*"))
    handler = _text(r"(?:[^\s./]+[./])*[^\s./]+\.[^\s.]+")
    handler["patternErrorMessage"] = "must be FILE.FUNCTION, for example lambda_function.lambda_handler"
    function["if"] = {"required": ["runtimes"], "properties": {"runtimes": ours}}
    has_default = {"properties": {"runtimes": pythons, "build": {"enum": [None, "none"]}}}
    function["then"] = {"properties": {"handler": handler}, "anyOf": [{"required": ["handler"]}, has_default]}
    function["properties"]["configuration"] |= configuration_schema()


def _first_runtime(pattern: str) -> Schema:
    first = _text(pattern)
    return {"anyOf": [first, {"type": "array", "items": [first]}]}


def _finish_layer(layer: Schema) -> None:
    """Add what is not in the model of layers: the name is the key above, and runtimes may be inherited."""
    del layer["properties"]["name"], layer["required"]
    some: dict[str, JsonValue] = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]}
    layer["anyOf"] = [given("files", **some), given("build")]


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}
