"""Definitions of JSON Schema for classes that describe mappings: pydantic's, with the texts below the fields."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

Schema = dict[str, Any]

_BOUNDS: Mapping[str, str] = {"minLength": "minItems", "maxLength": "maxItems"}


def definitions_of(*models: type) -> dict[str, Schema]:
    """Return definitions, by name, of classes, models or typed dictionaries, and of those that they use."""
    _, made = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in models],
        ref_template="#/definitions/{model}",
        schema_generator=_Generator,
    )
    return {name: _tidied(definition) for name, definition in made["$defs"].items()}


class _Generator(GenerateJsonSchema):
    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        keys = {name: field.alias or name for name, field in schema["cls"].model_fields.items()}
        return _described(made, schema["cls"], keys)

    def typed_dict_schema(self, schema: Any) -> JsonSchemaValue:
        keys = {name: str(field.get("validation_alias", name)) for name, field in schema["fields"].items()}
        return _described(super().typed_dict_schema(schema), schema["cls"], keys)

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if "type" not in inner:
            return {"anyOf": [*inner.get("anyOf", [inner]), {"type": "null"}]}
        more = {"enum": [*inner["enum"], None]} if "enum" in inner else {}
        return {**inner, "type": [inner["type"], "null"], **more}

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def _described(made: JsonSchemaValue, model: type, keys: Mapping[str, str]) -> JsonSchemaValue:
    for name, text in field_texts(model).items():
        field = made["properties"][keys[name]]
        # Up to draft 7, keys beside a reference are ignored.
        made["properties"][keys[name]] = ({"allOf": [field]} if "$ref" in field else field) | {"description": text}
    return made


def _tidied(node: Any) -> Any:
    """Return the schema without titles and empty defaults; bounds of a list move to the list itself."""
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


@cache
def field_texts(model: type) -> Mapping[str, str]:
    """Return field → the text below it in the source of the class, or of one that it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith(__package__.partition(".")[0]):
            found |= _texts(base)
    return found


def _texts(model: type) -> dict[str, str]:
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    except OSError:  # it was made by a call, and its fields have their own texts
        return {}
    found: dict[str, str] = {}
    if not isinstance(definition, ast.ClassDef):
        return found
    for field, text in itertools.pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as words)):
                found[name] = " ".join(words.split())
    return found
