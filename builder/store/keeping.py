"""Operations of every store, and what is done about damage.

Three ways to read, by what the object is worth:
    find    for objects that can be made again: a damaged one counts as absent, with a warning
        read    for objects that nothing can replace: a damaged one is an error that names it
        look    leaves the decision to the caller
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.errors import ContentMismatch, StoreDamaged
from builder.hashing import sha256_of
from builder.store.values import Fields, JsonObject, UnfitError, value_of

log = logging.getLogger(__name__)

T = TypeVar("T")
Parse = Callable[[Fields], T]


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """An object that is not what was written. `place` is its name for people, `why` what is wrong with it."""

    place: str
    why: str

    def error(self, hint: str) -> StoreDamaged:
        """Return the error to raise if nothing else can replace it."""
        return StoreDamaged(f"{self.place} is damaged: {self.why}", hint=hint)


class Store(ABC):
    """A store of parts, artifacts and records. Every method may be called from several threads.

    `warn` is called for damaged objects that count as absent, since they can be made again.
    """

    def __init__(self, warn: Callable[[str], None] = lambda _: None) -> None:
        self._warn = warn

    @abstractmethod
    def place(self, name: str) -> str:
        """Return the object's name for people."""

    @abstractmethod
    def read_bytes(self, name: str) -> bytes | None:
        """Return the content at `name`, None if there is none."""

    def look(self, name: str, parse: Parse[T]) -> T | Damaged | None:
        """Parse the JSON at `name` with `parse`; None if there is none."""
        content = self.read_bytes(name)
        try:
            return None if content is None else parse(Fields(value_of(content)))
        except UnfitError as error:
            return Damaged(place=self.place(name), why=str(error))

    def find(self, name: str, parse: Parse[T]) -> T | None:
        """Look for something that can be made again: if damaged, it counts as absent, with a warning."""
        found = self.look(name, parse)
        if isinstance(found, Damaged):
            self.forsake(found)
            return None
        return found

    def forsake(self, damaged: Damaged) -> None:
        """Warn that something damaged counts as absent."""
        # The object itself is left: it shows what happened, and is overwritten when its content is made again.
        log.warning("damaged", extra={"fields": {"object": damaged.place, "why": damaged.why}})
        self._warn(f"{damaged.place} is damaged ({damaged.why}); it counts as absent, and what it had is made again")

    def read(self, name: str, parse: Parse[T], *, hint: str) -> T | None:
        """Read something that nothing can replace.

        Raises:
            StoreDamaged: it is damaged; `hint` says what to do then.
        """
        found = self.look(name, parse)
        if isinstance(found, Damaged):
            raise found.error(hint)
        return found

    @abstractmethod
    def write_json(self, name: str, value: JsonObject) -> None:
        """Write `value`, replacing what is there."""

    @abstractmethod
    def fetch(self, name: str, into: Path, *, sha256: str = "") -> bool:
        """Copy the content at `name` to the file `into`, whole or not at all; False if there is none.

        With `sha256`, content with another hash counts as none.
        """

    @abstractmethod
    def put(self, name: str, path: Path, *, sha256: str) -> None:
        """Keep a copy of the file, which must have that hash while it is copied.

        Raises:
            ContentMismatch: it does not; nothing is kept.
        """

    @abstractmethod
    def exists(self, name: str, *, sha256: str = "") -> bool:
        """Tell whether there is content at `name`, and with `sha256`, whether it was put there with that hash."""


def matching(partial: Path, sha256: str) -> bool:
    """Tell whether the file has the hash, or none is wanted; otherwise remove it."""
    if not sha256 or sha256_of(partial) == sha256:
        return True
    partial.unlink()
    return False


def mismatch(name: str, sha256: str) -> ContentMismatch:
    return ContentMismatch(
        f"{name} changed on its way to the store: it no longer has the sha256 of what was built, {sha256}",
        hint="code that the build runs must not write to the builder's own files; nothing was deployed",
    )
