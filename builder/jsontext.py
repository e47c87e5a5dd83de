"""Reads JSON from others: whatever is wrong with it ends in one kind of error."""

from __future__ import annotations

import json
import re

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str | bytes) -> object:
    """Parse `text`.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has half of a surrogate pair, which cannot be written.
    """
    # From bytes, json would also take UTF-16, and invalid UTF-8.
    text = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        value: object = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    # json accepts "\ud800", which later fails to encode, far from here.
    if _HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def json_or_text(text: str, *, deepest: int | None = None) -> object:
    """Return the value that `text` is, or `text` if it is none, or nested in more than so many lists and objects."""
    try:
        value = read_json(text)
    except ValueError:
        return text
    return text if deepest is not None and _levels(value) > deepest else value


def _levels(value: object) -> int:
    # Not recursive: what is counted here is what recursion would fail on.
    count, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        count += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return count
