"""Lines of text for people, plain and in colour, with control characters made visible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from builder.characters import visible, visible_line

# Styles by their numbers in a terminal's escape sequences.
_CODES = {"title": "1", "good": "32", "quiet": "2", "warning": "33", "bad": "1;31", "hint": "36"}
# The narrowest column of names.
_NARROWEST = 12
# Bytes of JSON that one text may take, so that a reply with text still passes Lambda.
_MAX_BYTES = 150_000


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text of a page, plain and in colour; every line ends with a line break."""

    plain: str
    colour: str


@dataclass(kw_only=True)
class Page:
    """Lines of spans (text, style); a row is a line with two columns, a name and its text."""

    lines: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)

    def add(self, *spans: tuple[str, str] | str, before: str = "") -> None:
        """Add a line; a line break in a span begins another one, also after `before`."""
        line: list[tuple[str, str]] = [(before, "")]
        for span in spans:
            text, style = (span, "") if isinstance(span, str) else span
            first, *others = visible(text).split("\n")
            line.append((first, style))
            for other in others:
                self.lines.append(tuple(line))
                line = [(before, ""), (other, style)]
        self.lines.append(tuple(line))

    def row(self, name: str, *spans: tuple[str, str] | str) -> None:
        """Add a row; an empty name continues the previous row."""
        self._names[len(self.lines)] = visible_line(name)
        self.lines.append(tuple((visible_line(text), style) for text, style in map(_span, spans)))

    def table(self, titles: str, rows: Sequence[Sequence[str]]) -> None:
        """Add a table in which all columns have a width of their own; an empty cell is a dash."""
        cells = [titles.split("|"), *([visible_line(cell) or "-" for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        for number, row in enumerate(cells):
            line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            bad = number > 0 and row[-1] in ("DIFFERENT", "failed")
            self.add((line, "quiet" if number == 0 else "bad" if bad else ""), before="  ")

    def text(self) -> Text:
        """Return the lines, as many as the limit of a reply allows."""
        wide = max((_NARROWEST, *(len(name) for name in self._names.values())))
        plain, coloured, left = [], [], _MAX_BYTES
        for number, spans in enumerate(self.lines):
            name = f"  {self._names[number]:{wide}}  " if number in self._names else ""
            plain.append(name + "".join(text for text, _ in spans))
            coloured.append(name + "".join(_painted(text, style) for text, style in spans))
            left -= len(json.dumps(coloured[-1])) + 2
            if left < 0:
                plain[-1] = coloured[-1] = f"… and {len(self.lines) - number} more lines: the reply has them"
                break
        return Text(plain="".join(f"{line}\n" for line in plain), colour="".join(f"{line}\n" for line in coloured))


def _span(span: tuple[str, str] | str) -> tuple[str, str]:
    return (span, "") if isinstance(span, str) else span


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text
