"""Answers with the ASCII form of an international host name."""

import idna


def handler(event, context):
    name = event["name"]
    print(f"encoding {name}")
    return {"name": name, "ascii": idna.encode(name).decode()}
