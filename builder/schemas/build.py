"""The JSON Schema of a build file: the values of `builder.spec_values` in the shape that `builder.spec` reads.

What needs more than one place of the file, or the project's files, to be judged is mostly left to the reader.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from builder.publishing.lambda_names import configuration_schema, cors_schema
from builder.spec import LAYER_NAME, MAX_LAYERS
from builder.spec_base import RelativePath, Spec, given
from builder.spec_builds import CommandBuild, GoBuild, NodeBuild, Package
from builder.spec_values import (
    LAYER_VERSION,
    CheckingSpec,
    Dependencies,
    FunctionSpec,
    KeepingSpec,
    LayerSpec,
    PackingSpec,
    PruneSpec,
)

Schema = dict[str, Any]


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


class Layer(LayerSpec):
    """A layer with files of your own; they are unpacked under `/opt`."""

    build: Forms = None  # type: ignore[assignment]


_BESIDE = (KeepingSpec, PackingSpec, CheckingSpec)


def build_schema() -> Schema:
    """The whole file, every key with its meaning."""
    definitions = _definitions(Function, Layer, PruneSpec, Dependencies, *_BESIDE)
    dependencies = definitions.pop("Dependencies")["properties"]["dependencies"]
    beside = [definitions.pop(model.__name__)["properties"] for model in _BESIDE]
    _finish_function(definitions["Function"])
    _finish_layer(definitions["Layer"])
    definitions["UrlSpec"]["properties"]["cors"] |= {"anyOf": [cors_schema(), {"type": "null"}]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A build file of Lambdasmith",
        "description": "build.yaml, build.yml or build.json: what is built, and what its function is to be like.",
        "type": "object",
        "properties": {
            "function": {"$ref": "#/definitions/Function"},
            "layers": _layers(dependencies),
            "prune": {
                "anyOf": [{"$ref": "#/definitions/PruneSpec"}, {"type": "null"}],
                "description": definitions["PruneSpec"]["description"],
            },
            **{key: schema for properties in beside for key, schema in properties.items()},
        },
        "additionalProperties": False,
        # Without a function there are layers, which have no runtimes to take over.
        "if": {"not": {"required": ["function"]}},
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


def _finish_function(function: Schema) -> None:
    """What `builder.spec` says of functions besides their model."""
    function["required"].remove("handler")  # custom runtimes need none, the others do
    first = _text("(?:python|nodejs).*")
    of_runtime = {"runtimes": {"anyOf": [first, {"type": "array", "items": [first]}]}}
    handler = _text(r"(?:[^\s./]+[./])*[^\s./]+\.[^\s.]+")
    function["if"] = {"required": ["runtimes"], "properties": of_runtime}
    function["then"] = {"required": ["handler"], "properties": {"handler": handler}}
    function["properties"]["configuration"] |= configuration_schema()


def _finish_layer(layer: Schema) -> None:
    """What `builder.spec` says of layers besides their model: the name is the key above, runtimes may be inherited."""
    del layer["properties"]["name"], layer["required"]
    some = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]}
    layer["anyOf"] = [given("files", **some), given("build")]


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _definitions(*models: type[Spec]) -> dict[str, Schema]:
    _, made = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/definitions/{model}",
        schema_generator=_Generator,
    )
    return cast("dict[str, Schema]", _tidied(made["$defs"]))


class _Generator(GenerateJsonSchema):
    """Pydantic's own, with the texts below the fields, and without what tells people nothing."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        for name, text in told(schema["cls"]).items():
            field = schema["cls"].model_fields[name]
            if (key := field.alias or name) in made["properties"]:
                made["properties"][key]["description"] = text
        return made

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if "type" not in inner:
            return {"anyOf": [*inner.get("anyOf", [inner]), {"type": "null"}]}
        more = {"enum": [*inner["enum"], None]} if "enum" in inner else {}
        return {**inner, "type": [inner["type"], "null"], **more}

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def _tidied(node: object) -> object:
    """Without titles and empty defaults; bounds of a list stand with the list, not with the text in its place."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {
        key: _tidied(item)
        for key, item in node.items()
        if not (key == "title" and isinstance(item, str)) and not (key == "default" and item in (None, "", [], {}))
    }
    if isinstance(tidy.get("anyOf"), list):
        bounds = {items: tidy.pop(key) for key, items in _BOUNDS.items() if key in tidy}
        tidy["anyOf"] = [each | bounds if each.get("type") == "array" else each for each in tidy["anyOf"]]
    return tidy


_BOUNDS: Mapping[str, str] = {"minLength": "minItems", "maxLength": "maxItems"}


@cache
def told(model: type[Spec]) -> Mapping[str, str]:
    """Field → the text below it in the source of the class, or of one that it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Spec) and base is not Spec:
            found |= _texts(base)
    return found


def _texts(model: type[Spec]) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    found = {}
    for field, text in itertools.pairwise(cast("ast.ClassDef", definition).body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as words)):
                found[name] = " ".join(words.split())
    return found
