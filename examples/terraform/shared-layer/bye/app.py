"""Says bye in the words of the shared layer."""

import json
from pathlib import Path

import idna

PHRASES = json.loads(Path("/opt/phrases.json").read_text(encoding="utf-8"))


def handler(event, context):
    return {"said": f"{PHRASES['bye']}, {event['name']}", "domain": idna.encode(event["name"].lower()).decode()}
