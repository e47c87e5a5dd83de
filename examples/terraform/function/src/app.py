"""Greets, and says how the name is written in a domain."""

import os

import idna

MARK = "!"


def handler(event, context):
    name = event.get("name", "world")
    return {"greeting": f"{os.environ['GREETING']}, {name}{MARK}", "domain": idna.encode(name.lower()).decode()}
