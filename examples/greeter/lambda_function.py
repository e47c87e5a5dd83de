"""Greets in a language of the data layer, and seals the greeting with a native library of the dependency layer."""

import functools
import json
from pathlib import Path

from cryptography.fernet import Fernet

PUNCTUATION = "!"


@functools.cache
def phrases():
    return json.loads(Path("/opt/phrases/phrases.json").read_text(encoding="utf-8"))


def lambda_handler(event, context):
    name, language = event.get("name", "world"), event.get("language", "en")
    greeting = f"{phrases()[language]}, {name}{PUNCTUATION}"
    box = Fernet(Fernet.generate_key())
    sealed = box.encrypt(greeting.encode())
    return {
        "greeting": box.decrypt(sealed).decode(),
        "sealed_bytes": len(sealed),
        "version": context.function_version,
    }
