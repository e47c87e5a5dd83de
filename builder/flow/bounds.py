"""How much of a reply is told: as much as Lambda lets through, and of texts what a person can read.

Only after secrets are masked: half a secret is not found any more.
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

# Lambda lets 6 MB through, counted as its runtime writes them; the rest is for what a door adds.
MAX_REPLY_BYTES = 5_500_000
MAX_LINE = 2_000
_MAX_TEXT = 20_000
_MAX_LINES, _MAX_TAIL = 200, 40_000
# Entries of a list or object and characters of a text, tried one after the other until the whole reply is small enough.
_TRIED = ((5_000, 8_000), (1_000, 4_000), (200, 1_000), (50, 500), (10, 200))


def short(text: str, most: int = MAX_LINE) -> str:
    """The beginning of `text`, and how much there is more."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"


def short_line(text: str) -> str:
    """`text` as one line that can be shown anywhere."""
    return short(visible_line(short(text, 2 * MAX_LINE)))


def bounded(reply: Reply) -> Reply:
    """`reply` as it may leave: errors and warnings readable and not long, all of it small enough for Lambda.

    What is left out is said in its warnings.
    """
    shown: Reply = {**reply}
    if "error" in shown:
        shown["error"] = _error(shown["error"])
    if "warnings" in shown:
        shown["warnings"] = _lines(shown["warnings"], first=True)
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
    """The `first` of the lines, or the last ones, each short, as many as are not too much together."""
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
    # Escapes for what is not ASCII are the longest way to write it, whichever the runtime takes.
    return len(json.dumps(reply, default=str))
