"""The JSON Schema of an event, from its table of fields.

Stricter than the parser where older clients may do more (`"True"`), and silent where one field contradicts another;
otherwise everything that is valid here is accepted there.
"""

from __future__ import annotations

from builder.event.request import Action
from builder.event.table import ACTION, BUILDING, FIELDS, EventField, Schema

# Exactly one of these names the project's source.
SOURCES = ("repo", "repo_name", "archive", "source")
# The third shape, which has no action: a request to package.
_PACKAGE = ("name", "architecture", "archive")


def event_schema() -> dict[str, object]:
    """Return the schema: every field with its meaning, and for each action the fields that it takes and needs."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An event for Lambdasmith",
        "description": "Unknown fields, and fields that the action would ignore, are refused. Null counts as left out.",
        "type": "object",
        "properties": {
            ACTION.name: {**ACTION.schema, "description": "What to do."},
            **{name: _property(name) for name in dict.fromkeys(field.name for field in FIELDS)},
            "name": {
                **_schemas("function")[0],
                "description": "Instead of `function` in events without `action`.",
            },
        },
        "allOf": [*(_of_action(action) for action in Action), _without_action()],
    }


def values(field: EventField) -> Schema:
    """Return the schema of a field's values, or null."""
    schema = field.schema
    if "enum" in schema:
        return {**schema, "enum": [*_list(schema["enum"]), None]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*_list(schema["anyOf"]), {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _schemas(name: str) -> list[Schema]:
    return [values(field) for field in FIELDS if field.name == name]


def _property(name: str) -> Schema:
    """Return a field for every action; the values of one with several meanings are given with the actions."""
    rows = [field for field in FIELDS if field.name == name]
    meaning = (
        "; ".join(f"{row.meaning} ({', '.join(row.actions)})" for row in rows) if len(rows) > 1 else rows[0].meaning
    )
    described = {"description": f"{meaning[0].upper()}{meaning[1:]}."}
    return {**values(rows[0]), **described} if len(rows) == 1 else described


def _of_action(action: Action) -> Schema:
    several = {field.name for field in FIELDS if len(_schemas(field.name)) > 1}
    fields = {
        field.name: values(field) if field.name in several else True for field in FIELDS if action in field.actions
    }
    then: dict[str, object] = {
        "properties": {ACTION.name: True, **fields},
        "additionalProperties": {"type": "null"},
    }
    if "project" in fields:
        then["allOf"] = [{"oneOf": [_given("function"), _given("project")]}]
    elif "function" in fields:
        then |= _given("function")
        then["properties"] = {ACTION.name: True, **fields, "function": {"not": {"type": "null"}}}
    if action is Action.STOP:
        then |= {
            "required": ["build_id"],
            "properties": {ACTION.name: True, **fields, "build_id": {"not": {"type": "null"}}},
        }
    if action in BUILDING:
        then["oneOf"] = [_given(source) for source in SOURCES]
    asked = {"pattern": "^build(?: |$)"} if action is Action.BUILD else {"const": action.value}
    return {"if": {"required": [ACTION.name], "properties": {ACTION.name: asked}}, "then": then}


def _without_action() -> Schema:
    return {
        "if": {"not": {"required": [ACTION.name]}},
        "then": {
            "required": ["name", "archive"],
            "properties": dict.fromkeys(_PACKAGE, True),
            "additionalProperties": {"type": "null"},
        },
    }


def _given(name: str) -> dict[str, object]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
