"""Values as typed, and typed access to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bootstrap.config.settings import BY_KEY


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value as typed. `rank`: 0 file, 1 environment, 2 flag; `origin` names the place in messages."""

    value: str = field(repr=False)
    rank: int
    origin: str


_T = TypeVar("_T")


@dataclass(frozen=True)
class Reader:
    """Typed access to the given values.

    Problems go to a list and a default is used, so that one run reports all of them.
    """

    given: Mapping[str, Given]
    problems: list[str]

    def take(self, key: str, default: _T, parse: Callable[[str], _T]) -> _T:
        """Return the parsed value of `key`; `parse` raises ValueError with the second half of the message."""
        if key not in self.given:
            return default
        item = self.given[key]
        # A message may end up in a log: neither secrets nor URLs with a login are shown.
        hidden = BY_KEY[key].secret or re.search(r"://[^/]*@", item.value)
        shown = "" if hidden else f" {item.value!r}"
        try:
            return parse(item.value)
        except ValueError as error:
            self.problems.append(f"{item.origin}:{shown} {error}")
            return default

    def text(self, key: str, pattern: str = r".+", rule: str = "is not valid") -> str | None:
        """Return a string that matches `pattern`, or None."""

        def parse(value: str) -> str | None:
            if not re.fullmatch(pattern, value):
                raise ValueError(rule)
            return value

        return self.take(key, None, parse)

    def number(self, key: str, default: int, low: int, high: int, unit: str) -> int:
        """Return a whole number from `low` to `high`."""

        def parse(value: str) -> int:
            if not re.fullmatch(r"\d{1,9}", value) or not low <= int(value) <= high:
                raise ValueError(f"must be a whole number of {unit} from {low} to {high}")
            return int(value)

        return self.take(key, default, parse)

    def names(self, key: str, default: tuple[str, ...], pattern: str, rule: str) -> tuple[str, ...]:
        """Return names separated by commas or white space."""

        def parse(value: str) -> tuple[str, ...]:
            names = tuple(dict.fromkeys(re.split(r"[,\s]+", value.strip(", \n"))))
            wrong = [name for name in names if not re.fullmatch(pattern, name)]
            if wrong:
                raise ValueError(f"{rule}: {', '.join(wrong)}")
            return names

        return self.take(key, default, parse)
