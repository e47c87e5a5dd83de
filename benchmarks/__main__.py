"""`make bench`: prints what benchmarks/README.md quotes. Takes minutes; the machine should be doing nothing else."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import artifacts, deploys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each scenario (default: 7)")
    parser.add_argument("--only", choices=("deploys", "artifacts"), help="one half of it")
    parser.add_argument("--sets", nargs="*", default=list(artifacts.SETS), choices=list(artifacts.SETS))
    options = parser.parse_args()
    if options.only != "artifacts":
        rows, bootstrap = deploys.measure(options.runs)
        print(f"## Deploys through the embedded AWS\n\n{deploys.report(rows, bootstrap)}\n", flush=True)
    if options.only != "deploys":
        work = Path(tempfile.gettempdir()) / "lambdasmith-bench"
        work.mkdir(exist_ok=True)
        results = artifacts.measure(work, max(3, options.runs // 2), options.sets)
        print(f"## Artifacts against peers\n\n{artifacts.report(results)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
