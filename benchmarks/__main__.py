"""`make bench`: prints what benchmarks/README.md quotes. Takes minutes; the machine should be doing nothing else."""

from __future__ import annotations

import argparse
import sys

from benchmarks import deploys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each scenario (default: 7)")
    options = parser.parse_args()
    rows, bootstrap = deploys.measure(options.runs)
    print(deploys.report(rows, bootstrap))
    return 0


if __name__ == "__main__":
    sys.exit(main())
