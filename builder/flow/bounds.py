"""Limits of a reply: its size, which Lambda restricts, and the length of its texts, which people read.

Secrets must be masked before: half a secret would not be recognized.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, cast

from builder.amounts import megabytes
from builder.characters import visible, visible_line

if TYPE_CHECKING:
    from builder.replies.deploys import Error
    from builder.replies.reply import Reply

# Lambda accepts 6 MB, as its runtime encodes them; the rest is for members that an entry point adds.
MAX_REPLY_BYTES = 5_500_000
MAX_LINE = 2_000
_MAX_TEXT = 20_000
_MAX_LINES, _MAX_TAIL = 200, 40_000
# Limits of entries in a list or object and of characters in a text, tried in order until the reply is small enough.
_TRIED = ((5_000, 8_000), (1_000, 4_000), (200, 1_000), (50, 500), (10, 200))


def short(text: str, most: int = MAX_LINE) -> str:
    """Return the beginning of `text` and the number of characters left out."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"


def short_line(text: str) -> str:
    """Return `text` as one short line without control characters."""
    return short(visible_line(short(text, 2 * MAX_LINE)))


def bounded(reply: Reply) -> Reply:
    """Return `reply` with short, printable errors and warnings, and small enough for Lambda.

    A warning says what was cut.
    """
    shown: Reply = {**reply}
    if "error" in shown:
        shown["error"] = _error(shown["error"])
    if "warnings" in shown:
        shown["warnings"] = _lines(shown["warnings"], first=True)
    if "notes" in shown:
        shown["notes"] = _lines(shown["notes"], first=True)
    size = _size(shown)
    if size <= MAX_REPLY_BYTES:
        return shown
    for entries, characters in _TRIED:
        cut = cast("Reply", _cut(shown, entries, characters))  # shorter, and of the same form
        note = (
            f"the reply had {megabytes(size)}, more than Lambda allows: each list is cut to {entries:,} "
            f"entries, each text to {characters:,} characters"
        )
        cut["warnings"] = [*cut.get("warnings", ()), note]
        if _size(cut) <= MAX_REPLY_BYTES:
            return cut
    least: Reply = {"statusCode": shown["statusCode"]}
    if "build_id" in shown:
        least["build_id"] = shown["build_id"]
    return least | {"warnings": [note]}


def _error(error: Error) -> Error:
    shown: Error = {**error}
    shown["message"] = visible(short(shown["message"], _MAX_TEXT))
    if "hint" in shown:
        shown["hint"] = visible(short(shown["hint"], _MAX_TEXT))
    if "log_tail" in shown:
        shown["log_tail"] = _lines(shown["log_tail"], first=False)
    if "problems" in shown:
        shown["problems"] = _lines(shown["problems"], first=True)
    return shown


def _lines(lines: Sequence[str], *, first: bool) -> list[str]:
    """Return the `first` of the lines, or the last ones, each short, within limits of their number and total length."""
    kept: list[str] = []
    left = _MAX_TAIL * (5 if first else 1)
    for line in lines if first else reversed(lines):
        text = short_line(line)
        left -= len(text)
        if len(kept) == _MAX_LINES or (kept and left < 0):
            break
        kept.append(text)
    more = len(lines) - len(kept)
    if not first:
        kept.reverse()
    return [*kept, f"and {more:,} more"] if more and first else kept


def _cut(value: object, entries: int, characters: int) -> object:
    if isinstance(value, str):
        return short(value, characters)
    if isinstance(value, Mapping):
        return {key: _cut(item, entries, characters) for key, item in islice(value.items(), entries)}
    if isinstance(value, list | tuple):
        return [_cut(item, entries, characters) for item in islice(value, entries)]
    return value


def _size(reply: Mapping[str, object]) -> int:
    # Escaped: the longest encoding of characters outside of ASCII, so the runtime's is never longer.
    return len(json.dumps(reply, default=str))
