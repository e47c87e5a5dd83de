"""Results of a run, as the file from which tables and plot are made."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.artifacts import Result
from benchmarks.peers import PEERS
from benchmarks.splice import Spliced

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(kw_only=True)
class Results:
    """`artifacts` is {set: {tool: Result}}, ours first; `splice` is {set: Spliced}."""

    commit: str
    python: str
    machine: str
    runs: int
    peers: list[str]
    artifacts: dict[str, dict[str, Result]] = field(default_factory=dict)
    splice: dict[str, Spliced] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the results as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def of_this_checkout(runs: int) -> Results:
    """Return empty results for this checkout."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False)
    return Results(
        commit=commit.stdout.strip(),
        python=platform.python_version(),
        machine=platform.machine(),
        runs=runs,
        peers=list(PEERS),
    )


def read(path: Path) -> Results:
    """Read a file of `Results.write`."""
    known = json.loads(path.read_text())
    known["artifacts"] = {
        name: {tool: Result(**result) for tool, result in tools.items()} for name, tools in known["artifacts"].items()
    }
    known["splice"] = {name: Spliced(**row) for name, row in known["splice"].items()}
    return Results(**known)
