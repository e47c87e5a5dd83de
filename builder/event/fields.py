"""Reads plain fields of one event: every problem is collected, none stops the reading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from builder.nearest import nearest


class Fields:
    """Takes fields out of `event` and collects their problems in `problems`. A field that is null is absent."""

    def __init__(self, event: Mapping[str, object]) -> None:
        self.event = {key: value for key, value in event.items() if value is not None}
        self.problems: list[str] = []

    def text(self, field: str) -> str | None:
        """Return the text of a field, None if it is absent or (which is a problem) not a text."""
        value = self.event.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            self.problems.append(f"{field}: must be a string, not {kind(value)} ({shown(value)})")
            return None
        if not value.strip() and field != "path":
            self.problems.append(f"{field}: is empty; leave it out")
            return None
        if any("\ud800" <= character <= "\udfff" for character in value):  # possible in JSON, impossible in UTF-8
            self.problems.append(f"{field}: {shown(value)} contains half of a surrogate pair")
            return None
        return value

    def matching(self, field: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """Return the text of a field if `pattern` matches all of it; `allowed` describes the pattern in words."""
        value = self.text(field)
        if value is not None and not pattern.fullmatch(value):
            self.problems.append(f"{field}: {shown(value)} is not allowed; use {allowed}")
            return None
        return value

    def printable(self, field: str, longest: int) -> str | None:
        """Return one line of free text."""
        value = self.text(field)
        if value is not None and (len(value) > longest or not value.isprintable()):
            self.problems.append(f"{field}: {shown(value)} is not allowed; use up to {longest} printable characters")
            return None
        return value

    def choice(self, field: str, known: Sequence[str]) -> str | None:
        """Return the text of a field that is one of `known`."""
        value = self.text(field)
        if value is not None and value not in known:
            listed = ", ".join(known)
            self.problems.append(f"{field}: {shown(value)} is unknown{nearest(value, known)}; it is one of {listed}")
            return None
        return value

    def names(self, field: str, pattern: re.Pattern[str], most: int) -> tuple[str, ...]:
        """Return a list of texts that `pattern` matches."""
        value = self.event.get(field, [])
        if not isinstance(value, list) or not all(isinstance(name, str) and pattern.fullmatch(name) for name in value):
            self.problems.append(f"{field}: must be a list of names, not {shown(value)}")
            return ()
        if len(value) > most:
            self.problems.append(f"{field}: {len(value)} names; at most {most}")
        return tuple(value)

    def flag(self, field: str) -> bool:
        """Return a boolean, also one spelled as text; false if absent."""
        value = self.event.get(field, False)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        self.problems.append(f"{field}: must be true or false, not {shown(value)}")
        return False

    def integer(self, field: str, lowest: int, highest: int, *, default: int) -> int:
        """Return a whole number within bounds, both included."""
        value = self.event.get(field, default)
        # True is an int in Python, and no number in JSON.
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            self.problems.append(f"{field}: must be a whole number from {lowest} to {highest}, not {shown(value)}")
            return default
        return value


def shown(value: object) -> str:
    """Return `value` as typed, for a message: one line, not long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def bare(key: object) -> str:
    """Return a key as typed, without quotes if it needs none."""
    text = str(key)
    return text if re.fullmatch(r"[\w.-]{1,60}", text) else shown(text)


def kind(value: object) -> str:
    """Return JSON's name for this kind of value."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list | tuple):
        return "a list"
    return "a number" if isinstance(value, int | float) else "null"
