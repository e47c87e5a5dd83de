"""Finds characters that a text shows as something else, or not at all, and makes them visible.

Only the standard library: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1); characters that change the direction of writing, are invisible, or end a line for
# some readers; letters without a shape; halves of surrogate pairs. Terminals obey some of them, others deceive people.
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    r"\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
)
_HIDDEN = re.compile(rf"[\x00-\x1f\x7f-\x9f{_INVISIBLE}]")
_HIDDEN_IN_TEXT = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}]")
# A whole sequence that a terminal obeys: colours, moves, titles, links. The text that it frames stays.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


def hides(name: str) -> bool:
    """Tell whether a name has a character that is invisible, or affects those around it."""
    return _HIDDEN.search(name) is not None


def visible(text: str) -> str:
    """Return `text` for a person: colours and other sequences left out, other hidden characters as escapes.

    Line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    # Sequences first: their parts would otherwise be left as visible escapes.
    return _HIDDEN_IN_TEXT.sub(_escaped, _SEQUENCE.sub("", text.replace("\r\n", "\n")))


def visible_line(text: str) -> str:
    """Return the text in one line: line breaks are escaped as well."""
    return _HIDDEN.sub(_escaped, visible(text).replace("\t", " "))


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
