"""The JSON Schema of a reply, made from the typed dictionaries that replies are made of."""

from __future__ import annotations

from builder.replies.reply import Reply
from builder.schemas.models import Schema, definitions_of


def reply_schema(*, strict: bool = False) -> Schema:
    """Return the schema of replies. Later versions may add fields, which only `strict` forbids."""
    definitions = definitions_of(Reply)
    if strict:
        for definition in definitions.values():
            definition["additionalProperties"] = False
    reply = definitions.pop("Reply")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A reply of Lambdasmith",
        **reply,
        "required": ["statusCode"],
        "definitions": definitions,
    }
