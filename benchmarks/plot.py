"""A bar chart of all tools and sets as SVG: one panel for each set and figure, seconds on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape

from benchmarks.artifacts import COLD, FIRST, LINE, NOTHING, REQUIREMENT, Result

_FIGURES: Mapping[str, Callable[[Result], float | None]] = {
    COLD: lambda result: result.seconds.get(COLD),
    FIRST: lambda result: result.seconds.get(FIRST),
    REQUIREMENT: lambda result: result.seconds.get(REQUIREMENT),
    LINE: lambda result: result.seconds.get(LINE),
    NOTHING: lambda result: result.seconds.get(NOTHING),
    "import of the handler's modules": lambda result: result.import_s,
}
_COLOURS = ("#c2410c", "#fdba74", "#1d4ed8", "#2563eb", "#3b82f6", "#60a5fa", "#0f766e", "#14b8a6")
_STYLE = (
    "text{font:11px sans-serif;fill:#222}.title{font-weight:bold}.tool{text-anchor:end}"
    ".axis{fill:#888;text-anchor:middle}"
)
_LEFT, _TOP, _WIDTH, _BAR, _GAP = 210, 54, 168, 13, 26


def svg(sets: Mapping[str, Mapping[str, Result]]) -> str:
    """Draw the chart; all panels of a row share their axis."""
    tools = list(dict.fromkeys(tool for results in sets.values() for tool in results))
    row_height = _BAR * len(tools) + 2 * _GAP
    width, height = _LEFT + (_WIDTH + _GAP) * len(sets), _TOP + row_height * len(_FIGURES)
    parts = [_text(12, 20, "Seconds, shorter is better; logarithmic", "title")]
    parts += [_text(_x(column), 42, name, "title") for column, name in enumerate(sets)]
    for row, (figure, value) in enumerate(_FIGURES.items()):
        top = _TOP + row * row_height
        parts.append(_text(12, top + 10, figure, "title"))
        parts += [_text(_LEFT - 8, _y(top, i), tool, "tool") for i, tool in enumerate(tools)]
        known = [seconds for results in sets.values() for result in results.values() if (seconds := value(result))]
        scale = _scale(min(known), max(known))
        for column, results in enumerate(sets.values()):
            parts += _axis(_x(column), top, len(tools), scale, max(known))
            for number, tool in enumerate(tools):
                result = results.get(tool)
                seconds = None if result is None or result.failure else value(result)
                parts += _bar(_x(column), _y(top, number), scale(seconds) if seconds else 0, seconds, number)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join(
        [head, f"<style>{_STYLE}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"]
    )


def _x(column: int) -> int:
    return _LEFT + column * (_WIDTH + _GAP)


def _y(top: int, number: int) -> int:
    """Return the base line of a bar's text."""
    return top + _GAP + _BAR * number + _BAR - 3


def _axis(x: int, top: int, bars: int, scale: Callable[[float], float], most: float) -> list[str]:
    """Yield a line and a number for each power of ten."""
    lines = []
    for power in range(-3, math.floor(math.log10(most)) + 1):
        at = x + scale(10.0**power)
        if at >= x:
            bottom = _y(top, bars)
            lines.append(f'<path d="M{at:.1f} {top + _GAP - 2}V{bottom - 7}" stroke="#ccc"/>')
            lines.append(_text(at, bottom + 3, f"{10.0**power:g}", "axis"))
    return lines


def _scale(least: float, most: float) -> Callable[[float], float]:
    """Return the scale from seconds to a bar's length, with room for the number of the longest."""
    start = math.floor(math.log10(least))
    span = max(math.log10(most) - start, 1)
    return lambda seconds: (_WIDTH - 34) * (math.log10(seconds) - start) / span


def _bar(x: int, y: int, length: float, seconds: float | None, number: int) -> list[str]:
    if seconds is None:
        return [_text(x + 3, y, "–", "none")]
    colour = _COLOURS[number % len(_COLOURS)]
    shape = f'<rect x="{x}" y="{y - _BAR + 4}" width="{length:.1f}" height="{_BAR - 2}" fill="{colour}"/>'
    return [shape, _text(x + length + 3, y, f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}", "value")]


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{kind}">{escape(words)}</text>'
