"""Lines of text for people, plain and in colour, with control characters made visible."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from builder.characters import visible, visible_line

# Styles by their numbers in a terminal's escape sequences.
_CODES = {"title": "1", "good": "32", "quiet": "2", "warning": "33", "bad": "1;31", "hint": "36"}
# The narrowest column of names.
_NARROWEST = 12
# Bytes of JSON that one text may take, so that a reply with text still passes Lambda.
_MAX_BYTES = 150_000
# No line is cut to fewer of these bytes: rather are lines left out.
_LEAST = 600
_CUT = " … ({:,} characters are left out here) … "
_LEFT_OUT = "… {:,} lines are left out here …"

# Spans (text, style).
Line = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text of a page, plain and in colour; every line ends with a line break."""

    plain: str
    colour: str


@dataclass(kw_only=True)
class Page:
    """Lines of spans (text, style); a row is a line with two columns, a name and its text."""

    lines: list[Line] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)
    _end: int | None = None

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

    def end(self) -> None:
        """Keep room for all lines from here on, however long the lines above are."""
        self._end = len(self.lines)

    def text(self) -> Text:
        """Return the lines, as many as the limit of a reply allows, and say how many are left out."""
        wide = max((_NARROWEST, *(len(name) for name in self._names.values())))
        names = {number: (f"  {name:{wide}}  ", "") for number, name in self._names.items()}
        lines = [(names[number], *spans) if number in names else spans for number, spans in enumerate(self.lines)]
        # Counted here and not by whoever sends it: half a text would lose its end, which says what to do.
        if sum(map(_size, lines)) > _MAX_BYTES:
            split = len(lines) if self._end is None else self._end
            end = _fitted(lines[split:], _MAX_BYTES // 3)
            lines = _fitted(lines[:split], _MAX_BYTES - sum(map(_size, end))) + end
        plain = ("".join(text for text, _ in spans) for spans in lines)
        return Text(
            plain="".join(f"{line}\n" for line in plain), colour="".join(f"{_coloured(line)}\n" for line in lines)
        )


def _fitted(lines: list[Line], room: int) -> list[Line]:
    """Return the lines cut to `room` bytes of JSON: long lines lose their middles first, then all lines theirs."""
    sizes = [_size(line) for line in lines]
    if sum(sizes) <= room:
        return lines
    # The longest that each line may be for all of them to fit: short lines stay as they are.
    fits = bisect_right(range(room), room, key=lambda most: sum(min(size, most) for size in sizes)) - 1
    most = max(_LEAST, fits)
    lines = [_shortened(line, most) if size > most else line for line, size in zip(lines, sizes, strict=True)]
    if sum(map(_size, lines)) <= room:
        return lines
    # The note itself takes room too.
    first, room = list(_first(lines, room * 2 // 3)), room - len(_LEFT_OUT) - 10
    last = list(_first(lines[: len(first) - 1 : -1], room - sum(map(_size, first))))[::-1]
    left_out = len(lines) - len(first) - len(last)
    return [*first, ((_LEFT_OUT.format(left_out), ""),), *last] if left_out else lines


def _first(lines: list[Line], room: int) -> Iterator[Line]:
    for line in lines:
        room -= _size(line)
        if room < 0:
            return
        yield line


def _shortened(line: Line, room: int) -> Line:
    """Return the line with the middle of its longest span left out."""
    number = max(range(len(line)), key=lambda number: len(json.dumps(line[number][0])))
    text, style = line[number]

    def cut(kept: int) -> Line:
        note = _CUT.format(len(text) - kept)
        return (
            *line[:number],
            (text[: kept - kept // 3] + note + text[len(text) - kept // 3 :], style),
            *line[number + 1 :],
        )

    return cut(max(0, bisect_right(range(len(text)), room, key=lambda kept: _size(cut(kept))) - 1))


def _size(line: Line) -> int:
    """Return the number of bytes of a line in JSON, with its line break."""
    return len(json.dumps(_coloured(line)))


def _coloured(line: Line) -> str:
    return "".join(_painted(text, style) for text, style in line)


def _span(span: tuple[str, str] | str) -> tuple[str, str]:
    return (span, "") if isinstance(span, str) else span


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text
