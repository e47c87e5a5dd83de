"""Values held against the JSON Schemas."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from builder.schemas import schema
from builder.schemas.reply import reply_schema


def refused_by(name: str, value: object) -> list[str]:
    """What is not valid by the schema of that name; places and reasons. Of a reply every field must be known."""
    return [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]


@cache
def _validator(name: str) -> Draft7Validator:
    wanted: dict[str, Any] = schema(name) if name != "reply" else reply_schema(strict=True)
    Draft7Validator.check_schema(wanted)
    return Draft7Validator(wanted)
