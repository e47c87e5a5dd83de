"""JSON as it is kept: written with a checksum of itself, read back as typed values or not at all.

A value has `as_json` and, beside it, `parse`, which takes `Fields`:

    @classmethod
    def parse(cls, kept: Fields) -> Version:
        return cls(arn=kept.text("arn"), runtimes=kept.texts("runtimes"))

Anything that is not as it was written (cut short, bits flipped, `{}`, a form of another version) raises `UnfitError`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

JsonObject = Mapping[str, object]
W = TypeVar("W", bound=str)
# The member with the hash of all others, which comes first.
CHECKSUM = "checksum"
SHA256 = re.compile(r"[0-9a-f]{64}")
_HEAD = re.compile(rb'\{"checksum": "(?P<checksum>[0-9a-f]{32})"(?:, )?')
# More than any size in bytes here; larger numbers are damage, and not exact in JSON of other programs.
_MAX_COUNT = 1 << 48


class UnfitError(ValueError):
    """Content that is not what was written; the message says how."""


def body(value: JsonObject) -> bytes:
    """Return the object as it is written."""
    rest = json.dumps(value, sort_keys=True).encode()[1:]
    return b'{"checksum": "%b"%b%b' % (_checksum(rest), b", " if value else b"", rest)


def value_of(content: bytes) -> dict[str, object]:
    """Return the object that `body` has written.

    Raises:
        UnfitError: `body` has not written this.
    """
    # Before JSON is parsed: damaged or foreign content is not even decoded.
    head = _HEAD.match(content)
    if head is None:
        raise UnfitError("does not begin with a checksum" if content else "is empty")
    if head["checksum"] != _checksum(content[head.end() :]):
        raise UnfitError("is cut short or changed: it does not match its checksum")
    try:
        value: dict[str, object] = json.loads(content)
    except (ValueError, RecursionError) as error:  # anyone can compute a checksum
        raise UnfitError("is not JSON") from error
    value.pop(CHECKSUM, None)
    return value


def _checksum(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest()[:32].encode()


class Fields:
    """The members of a JSON object, read with their types. A missing one, or one of another type, raises `UnfitError`.

    `place` says where the object is, for messages.
    """

    def __init__(self, value: object, place: str = "") -> None:
        self._place = place
        if not isinstance(value, Mapping):
            raise UnfitError(f"{place or 'it'} is not an object")
        self.value: JsonObject = value

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def _get(self, name: str) -> object:
        if name not in self.value:
            raise UnfitError(f"{self._at(name)} is missing")
        return self.value[name]

    def _at(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def _unfit(self, name: str, what: str) -> UnfitError:
        return UnfitError(f"{self._at(name)} is not {what}")

    def text(self, name: str, pattern: re.Pattern[str] | None = None, *, longest: int | None = None) -> str:
        """Return a text that the pattern matches completely, of at most `longest` characters."""
        value = self._get(name)
        if not isinstance(value, str) or (longest is not None and len(value) > longest):
            raise self._unfit(name, "a text" if longest is None else f"a text of at most {longest:,} characters")
        if pattern is not None and not pattern.fullmatch(value):
            raise UnfitError(f"{self._at(name)} is {value[:80]!r}, not {pattern.pattern}")
        return value

    def text_or_none(
        self, name: str, pattern: re.Pattern[str] | None = None, *, longest: int | None = None
    ) -> str | None:
        """Return a text, or None for null."""
        return None if self._get(name) is None else self.text(name, pattern, longest=longest)

    def one_of(self, name: str, allowed: Collection[W]) -> W:
        """Return one of the `allowed` texts."""
        value = self._get(name)
        for each in allowed:
            if each == value:
                return each
        raise self._unfit(name, f"one of {', '.join(allowed)}")

    def count(self, name: str) -> int:
        """Return a whole number from 0 on."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_COUNT:
            raise self._unfit(name, "a number of things")
        return value

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._unfit(name, "a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._unfit(name, "true or false")
        return value

    def texts(
        self, name: str, pattern: re.Pattern[str] | None = None, *, longest: int | None = None
    ) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(row.text(key, pattern, longest=longest) for row, key in self._rows(name))

    def fields(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self._get(name), self._at(name))

    def fields_or_none(self, name: str) -> Fields | None:
        """Return an object, or None for null."""
        return None if self._get(name) is None else self.fields(name)

    def rows(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        return [row.fields(key) for row, key in self._rows(name)]

    def _rows(self, name: str) -> Iterator[tuple[Fields, str]]:
        value = self._get(name)
        if not isinstance(value, list | tuple):
            raise self._unfit(name, "a list")
        listed = Fields({f"{name}[{number}]": item for number, item in enumerate(value)}, self._place)
        return ((listed, key) for key in listed.value)

    def members(self) -> Iterator[tuple[str, Fields]]:
        """Yield the members, each of which is an object."""
        return ((name, self.fields(name)) for name in self.value)

    def all_texts(self) -> dict[str, str]:
        """Return the members, each of which is a text."""
        return {name: self.text(name) for name in self.value}
