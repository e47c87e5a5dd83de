"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.artifacts import FIRST, SCENARIOS, Result
from benchmarks.results import Results
from benchmarks.splice import Spliced

# Lambda's limit on a function with its layers, unzipped.
LIMIT = 262_144_000


def everything(results: Results) -> str:
    """Return all tables except the one of the deploys."""
    parts = ["## Artifacts against peers", *(artifacts(name, tools) for name, tools in results.artifacts.items())]
    return "\n".join([*parts, "## The splice alone", splices(results.splice)])


def artifacts(name: str, tools: Mapping[str, Result]) -> str:
    """Return the table of one set; in brackets the ratio to ours, which is the first tool."""
    ours = next(iter(tools.values()))
    facts = ["CPU s", "MB memory", "zip MB", "unzipped MB", "files", "same bytes twice", "import s"]
    lines = [f"### {name}", "", *_head([*SCENARIOS, *facts])]
    for tool, result in tools.items():
        if result.failure:
            lines.append(
                f"| {tool} | failed: {' '.join(result.failure.split())[-120:]} |" + " |" * (len(SCENARIOS) + 6)
            )
            continue
        cells = [_against(result.seconds[scenario], ours.seconds.get(scenario)) for scenario in SCENARIOS]
        cells += [f"{result.processor[FIRST]:.2f}", f"{result.memory_mb:.0f}", f"{result.zip / 1e6:.2f}"]
        cells += [f"{result.unzipped / 1e6:.1f}" + (" (too large)" if result.unzipped > LIMIT else "")]
        cells += [f"{result.files:,}", "yes" if result.reproducible else "no"]
        cells += [_against(result.import_s or 0, ours.import_s)]
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def splices(rows: Mapping[str, Spliced]) -> str:
    """Return the table of all sets; in brackets the ratio to the splice."""
    peers = list(dict.fromkeys(peer for row in rows.values() for peer in row.peers))
    columns = [
        "zip MB",
        "files",
        "splice s",
        "copy s",
        "copy and hash s",
        *(f"{peer} s" for peer in peers),
        "MB memory",
    ]
    lines = _head(columns)
    for name, row in rows.items():
        times = [row.copy_s, row.hashed_copy_s, *(row.peers.get(peer) for peer in peers)]
        cells = [f"{row.zip / 1e6:.1f}", f"{row.files:,}", f"{row.splice_s:.3f}"]
        cells += [_against(time, row.splice_s) if time else "" for time in times]
        lines.append(f"| {name} | " + " | ".join([*cells, f"{row.memory_mb:.0f}"]) + " |")
    return "\n".join(lines) + "\n"


def _head(columns: list[str]) -> list[str]:
    return ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]


def _against(value: float, ours: float | None) -> str:
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return f"{text} ({value / ours:.1f}×)" if ours else text
