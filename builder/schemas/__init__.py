"""JSON Schemas of what people write and what they are answered, made from the code that reads and writes it.

Draft 7, because that is what editors know best.
"""

from __future__ import annotations

import json

NAMES = ("build", "event", "reply")


def schema_text(name: str) -> str:
    """One of `NAMES` as the text of a file."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def schema(name: str) -> dict[str, object]:
    """The JSON Schema `name`, one of `NAMES`."""
    if name == "build":
        from builder.schemas.build import build_schema

        return build_schema()
    if name == "event":
        from builder.schemas.event import event_schema

        return event_schema()
    from builder.schemas.reply import reply_schema

    return reply_schema()
