"""The tables of TOML and JSON that other tools wrote: their values by kind, or an error that names file and place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from builder.errors import InvalidBuildFile
from builder.jsontext import read_json

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_KINDS: Mapping[type, str] = {
    str: "text",
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that knows `where` it is: `poetry.lock: package requests`. `hint` says what to do about what is wrong.

    Raises InvalidBuildFile for a value of another kind than it is asked for as, here and below.
    """

    values: Mapping[str, object]
    where: str
    hint: str = ""

    @classmethod
    def of_toml(cls, text: str, file: str, *, hint: str = "") -> Table:
        """The document of a TOML file."""
        try:
            return cls(values=tomllib.loads(text), where=file, hint=hint)
        # Also a number of more digits than Python converts, a date that is none, or brackets without end.
        except (ValueError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise InvalidBuildFile(f"{file} is not valid TOML: {what}", hint=hint) from error

    @classmethod
    def of_json(cls, text: str, file: str, *, hint: str = "") -> Table:
        """The object of a JSON file."""
        try:
            value = read_json(text)
        except ValueError as error:
            raise InvalidBuildFile(f"{file} is not valid JSON: {error}", hint=hint) from error
        return cls(values={"": value}, where=file, hint=hint).table("")

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def at(self, where: str) -> Table:
        """The same table under the name by which people know it."""
        return Table(values=self.values, where=where, hint=self.hint)

    def text(self, key: str, otherwise: str | None = None) -> str:
        """A text without control characters; `otherwise` where there is none, if it may be missing."""
        if key not in self and otherwise is not None:
            return otherwise
        return self._text(self._needed(key), key)

    def texts(self, key: str) -> list[str]:
        """A list of such texts, empty where there is none."""
        return [self._text(item, f"{key}[{number}]") for number, item in enumerate(self._list(key))]

    def table(self, key: str) -> Table:
        """A table, empty where there is none."""
        return self._table(self.values.get(key, {}), key)

    def tables(self, key: str) -> list[Table]:
        """A list of tables, empty where there is none."""
        return [self._table(item, f"{key}[{number}]") for number, item in enumerate(self._list(key))]

    def each(self) -> list[tuple[str, Table]]:
        """The tables in a table whose keys are names, by name."""
        return [(self._text(key, "a name"), self._table(value, key)) for key, value in self.values.items()]

    def problem(self, key: str, what: str) -> InvalidBuildFile:
        """The error for what stands at `key`."""
        return InvalidBuildFile(f"{self.where}: {key}: {what}" if key else f"{self.where} {what}", hint=self.hint)

    def _needed(self, key: str) -> object:
        if key not in self.values:
            raise self.problem(key, "is missing")
        return self.values[key]

    def _text(self, value: object, key: str) -> str:
        if not isinstance(value, str):
            raise self.problem(key, f"must be text, not {_kind(value)}")
        if _NO_TEXT.search(value):
            raise self.problem(key, f"{value[:80]!r} contains a character that no text here may have")
        return value

    def _list(self, key: str) -> list[object]:
        value = self.values.get(key)
        if value is not None and not isinstance(value, list):
            raise self.problem(key, f"must be a list, not {_kind(value)}")
        return value or []

    def _table(self, value: object, key: str) -> Table:
        if not isinstance(value, dict):
            raise self.problem(key, f"must be a table, not {_kind(value)}")
        where = f"{self.where}: {key[:80]}" if key else self.where
        return Table(values=value, where=where, hint=self.hint)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a date or a time")
