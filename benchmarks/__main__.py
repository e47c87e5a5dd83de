"""`make bench`: prints what benchmarks/README.md quotes. Takes half an hour; the machine should be idle."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import artifacts, deploys, plot, report, results, splice
from benchmarks.peers import TOOLS

_PARTS = ("deploys", "splice", "artifacts")
_PLOT = Path(__file__).with_name("artifacts.svg")


def _parser() -> argparse.ArgumentParser:
    work = Path(tempfile.gettempdir()) / "lambdasmith-bench"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, default=3, help="counted runs of each scenario; deploys have twice as many (default: 3)")
    add("--only", nargs="+", choices=_PARTS, default=_PARTS, help="some of it")
    add("--sets", nargs="*", default=list(artifacts.SETS), choices=list(artifacts.SETS), metavar="SET")
    add("--work", type=Path, default=work, help="place of tools, caches and builds (default: %(default)s)")
    add("--results", type=Path, default=work / "results.json", help="what is measured goes here (default: %(default)s)")
    add("--plot", type=Path, metavar="RESULTS", help=f"measure nothing: print RESULTS and draw {_PLOT.name}")
    return parser


def main() -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args()
    if options.plot:
        known = results.read(options.plot)
        print(report.everything(known))
        _PLOT.write_text(plot.svg(known.artifacts))
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    if "deploys" in options.only:
        rows, bootstrap = deploys.measure(2 * options.runs + 1)
        print(f"## Deploys through the embedded AWS\n\n{deploys.report(rows, bootstrap)}\n", flush=True)
    found = results.of_this_checkout(options.runs)

    def keep_splice(name: str, row: splice.Spliced) -> None:
        found.splice[name] = row
        found.write(options.results)

    def keep_artifacts(name: str, tools: dict[str, artifacts.Result]) -> None:
        found.artifacts[name] = tools
        found.write(options.results)

    if "splice" in options.only:
        sets = [name for name in splice.SETS_SPLICED if name in options.sets]
        splice.measure(options.work, sets, options.runs, keep_splice)
    if "artifacts" in options.only:
        artifacts.measure(options.work, TOOLS, options.sets, options.runs, keep_artifacts)
    print(report.everything(found))
    print(f"written: {options.results}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
