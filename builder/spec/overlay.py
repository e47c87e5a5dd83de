"""Puts a document together from parts of another, and remembers where each part was typed."""

from __future__ import annotations

from dataclasses import dataclass, field

from builder.spec.document import Document, Location

# Either of several ways: one of them replaces another, instead of being mixed with it.
_WHOLE = frozenset({"build"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """A value of the file, and where it was typed."""

    value: object
    at: Location

    def get(self, key: str) -> Part | None:
        """Return the part below a key; None if there is none."""
        if not isinstance(self.value, dict) or key not in self.value:
            return None
        return Part(value=self.value[key], at=(*self.at, key))


class TooMany(Exception):
    """The parts come to more values than any real file has."""


@dataclass(kw_only=True)
class Room:
    """How many values may still be put together, in all documents of one file: defaults count in every function."""

    left: int = 200_000

    def take(self) -> None:
        """Count a value.

        Raises:
            TooMany: there were too many.
        """
        self.left -= 1
        if self.left < 0:
            raise TooMany


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A document in the making: `put` gives it its values, `document` is what became of them."""

    source: Document
    room: Room
    places: dict[Location, Location] = field(default_factory=dict)

    def put(self, at: Location, *parts: Part | None) -> object:
        """Return the value for `at`: mappings are merged key by key, of anything else the last part wins."""
        there = [part for part in parts if part is not None]
        last = there[-1]
        self.places[at] = last.at
        self.room.take()
        if not isinstance(last.value, dict):
            return self._copied(at, last)
        if at and at[-1] in _WHOLE:
            there = [last]
        mappings = [part for part in there if isinstance(part.value, dict)]
        keys = dict.fromkeys(key for part in mappings if isinstance(part.value, dict) for key in part.value)
        return {key: self.put((*at, key), *(part.get(key) for part in mappings)) for key in keys}

    def _copied(self, at: Location, part: Part) -> object:
        if not isinstance(part.value, list):
            return part.value
        return [
            self.put((*at, position), Part(value=item, at=(*part.at, position)))
            for position, item in enumerate(part.value)
        ]

    def document(self, value: object) -> Document:
        """Return the document with this value."""
        source = self.source
        return Document(
            value=value,
            lines={at: source.lines[place] for at, place in self.places.items() if place in source.lines},
            typed={at: source.typed[place] for at, place in self.places.items() if place in source.typed},
            problems=(),
            places={at: source.place(place) for at, place in self.places.items()},
        )
