"""JSON Schemas of what people write and of the replies, made from the code that reads and writes them.

Draft 7, because that is what editors know best.
"""

from __future__ import annotations

import json

NAMES = ("build", "event", "reply")


def schema_text(name: str) -> str:
    """Return one of `NAMES` as the text of a file."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def schema(name: str) -> dict[str, object]:
    """Return the JSON Schema `name`, one of `NAMES`."""
    if name == "build":
        from builder.schemas.build import build_schema

        return build_schema()
    if name == "event":
        from builder.schemas.event import event_schema

        return event_schema()
    from builder.schemas.reply import reply_schema

    return reply_schema()
