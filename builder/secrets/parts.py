"""What is secret by itself in a secret: lines of key files, words of a netrc, values of a JSON object; but no hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from builder.jsontext import read_json

# A part of a secret (a line of a netrc file, a value of a JSON object) counts by itself if it is longer than this.
SHORTEST_PART = 8
_HOST = re.compile(r"(?:https?://)?[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?/?[\w./-]*|//[a-z0-9.-]+/:?_?\w*")
KEY = re.compile(r"pass|pwd|token|secret|key|cred|auth|account", re.IGNORECASE)
# `password x` of netrc, `_authToken=x` of npmrc, `TOKEN: x`; the value may be in quotes.
_UNDER_KEY = (
    r"(?i)[\w.:/-]*(?:pass(?:word|wd|phrase)?|pwd|token|secret|key|account|auth)[\"']?(?:\s*[=:]\s*|\s+)"
    r"(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s\"',;]+))"
)
_WORDS = frozenset({"machine", "login", "password", "account", "default", "macdef", "true", "false", "null", "none"})


def parts(secret: str) -> Iterator[tuple[str, bool]]:
    """Yield what is secret by itself in a secret of several lines, words or JSON values; and whether a key says so."""
    try:
        value = read_json(secret)
    except ValueError:
        value = None
    if isinstance(value, dict | list):
        for text, is_keyed in _texts(value, is_keyed=False):
            yield text, is_keyed
            yield from parts(text)
        return
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from ((line, False) for line in lines if len(line) > SHORTEST_PART and not line.startswith("-----"))
    if re.search(r"\s|_authToken=", secret):
        words = (word for word in re.split(r"[\s\"'=;,]+", secret) if len(word) > SHORTEST_PART)
        yield from ((word, False) for word in words if not _is_host(word) and not word.startswith("-----"))
    for match in re.finditer(_UNDER_KEY, secret):
        text = match[1] or match[2] or match[3]
        if text.lower() not in _WORDS and not _is_host(text) and not text.startswith("-----"):
            yield text, True


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None and number(text) is None  # 1234.5 is a number


def number(text: str) -> float | None:
    """Return the number that a secret is, however it is written."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except (ValueError, OverflowError):
        return None


def _texts(value: object, *, is_keyed: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, is_keyed=is_keyed or KEY.search(key) is not None)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, is_keyed=is_keyed)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if is_keyed:
            yield json.dumps(value), True
    elif isinstance(value, str) and (is_keyed or len(value) > SHORTEST_PART) and not _is_host(value):
        yield value, is_keyed
