"""Builds that are not Python, through the embedded AWS: the first one against later ones, with what is kept in between.

`python -m benchmarks.kinds`. Seconds are the builder's own account of the phase that builds the function (its reply):
fetching a toolchain and restoring caches included; looking, fetching the source and publishing not. Between the runs of
a scenario one word of the source changes, so each of them compiles and links.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.deploys import ROOT, bootstrapped

_EXAMPLES = ROOT / "examples"


@dataclass(frozen=True, kw_only=True)
class Project:
    """Example: its files, and the file and word that change."""

    name: str
    files: tuple[str, ...]
    changing: str
    word: str

    def at(self, number: int) -> Mapping[str, str]:
        """Return the files after the `number`th change."""
        found = {file: (_EXAMPLES / self.name / file).read_text() for file in self.files}
        if self.word not in found[self.changing]:
            raise SystemExit(f"{self.changing} of examples/{self.name} has no {self.word!r}")
        return {**found, self.changing: found[self.changing].replace(self.word, f"{self.word}{number}")}


PROJECTS = (
    Project(name="go", files=("build.yaml", "go.mod", "go.sum", "main.go"), changing="main.go", word="Hello"),
    Project(
        name="node",
        files=("build.yaml", "package.json", "package-lock.json", "index.js"),
        changing="index.js",
        word="is not a length",
    ),
    Project(name="c", files=("build.yaml", "bootstrap.c"), changing="bootstrap.c", word='\\"C'),
)


def measure(project: Project, runs: int) -> dict[str, list[float]]:
    """Measure every build, in seconds by scenario.

    The first two scenarios have an embedded AWS of their own for each run.
    """
    seconds: dict[str, list[float]] = {"first": [], "new environment": [], "warm": [], "unchanged": []}
    with bootstrapped((project.name,)) as (bench, _):
        number = 0

        def built(scenario: str, prepare: Callable[[], object] = lambda: None, *, change: bool = True) -> None:
            nonlocal number
            prepare()
            number += change
            bench.push(project.at(number))
            reply = bench.build()
            phases = {phase["name"]: float(phase["seconds"]) for phase in reply["phases"]}
            seconds[scenario].append(phases.get("function", 0.0))

        built("first")
        for _ in range(runs):
            built("new environment", bench.chill)
        for _ in range(runs):
            built("warm")
        for _ in range(runs):
            built("unchanged", change=False)
    return seconds


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kinds", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each scenario but the first (default: 3)")
    parser.add_argument("--only", nargs="+", choices=[project.name for project in PROJECTS])
    options = parser.parse_args()
    print("| s, median | first | new environment | warm | unchanged | first / new | first / warm |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for project in PROJECTS:
        if options.only and project.name not in options.only:
            continue
        found = {scenario: statistics.median(values) for scenario, values in measure(project, options.runs).items()}
        ratios = (found["first"] / found["new environment"], found["first"] / found["warm"])
        cells = [*(f"{value:.2f}" for value in found.values()), *(f"{ratio:.1f}×" for ratio in ratios)]
        print(f"| {project.name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
