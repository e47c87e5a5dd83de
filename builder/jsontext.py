"""JSON that others wrote: of all that can be wrong with it, one kind of error is left."""

from __future__ import annotations

import json
import re

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str | bytes) -> object:
    """The value that `text` is.

    Raises:
        ValueError: it is none, is nested too deeply, or has a text that cannot be written (half of a surrogate pair).
    """
    # Given bytes, json takes UTF-16 as well, and of UTF-8 what is none.
    text = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        value: object = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def json_or_text(text: str) -> object:
    """Return the value that `text` is, or `text` if it is none."""
    try:
        return read_json(text)
    except ValueError:
        return text
