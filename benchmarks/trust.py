"""What keeping projects apart costs: `isolation = split` beside `shared`, build by build in turn; two projects in turn.

    python -m benchmarks.trust --runs 9

Seconds are the builder's own account of each build (its reply). Ratios and differences are of pairs in one run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from benchmarks.deploys import CODE, REQUIREMENTS, Bench, bootstrapped

WAYS = ("shared", "split")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with ExitStack() as stack:
        benches = {way: stack.enter_context(bootstrapped(names=("web", "other"), isolation=way))[0] for way in WAYS}
        for bench in benches.values():
            for name in bench.names:
                bench.push(_files(bench, 0), name=name)
                bench.build(name=name)
        print("| warm | shared s | split s | split − shared s |\n|---|---|---|---|")
        print(_row("nothing changed", benches, runs, lambda bench, number: None))
        print(
            _row(
                "one source line changed",
                benches,
                runs,
                lambda bench, number: bench.push({"app.py": CODE.format(line=number)}),
            )
        )
        for bench in benches.values():
            bench.push(_files(bench, 0, name="other"), name="other")
        print(_turns("one line, after another project's build in the same environment", benches, runs))


def _files(bench: Bench, line: int, name: str = "web") -> Mapping[str, str]:
    build_file = (
        f"function:\n  runtimes: [{bench.runtime}]\n  handler: app.handler\n  files: [app.py]\n  timeout: 30\n"
        "layers:\n  dependencies: [requirements.txt]\n"
    )
    return {
        "build.yaml": build_file,
        "requirements.txt": REQUIREMENTS,
        "app.py": f"# {name}\n" + CODE.format(line=line),
    }


def _row(title: str, benches: Mapping[str, Bench], runs: int, change: Callable[[Bench, int], object]) -> str:
    seconds: dict[str, list[float]] = {way: [] for way in benches}
    for number in range(1, runs + 1):
        for way, bench in benches.items():
            change(bench, number)
            seconds[way].append(float(bench.build()["seconds"]))
    return _table(title, seconds)


def _turns(title: str, benches: Mapping[str, Bench], runs: int) -> str:
    seconds: dict[str, list[float]] = {way: [] for way in benches}
    for number in range(1, runs + 1):
        for way, bench in benches.items():
            for name in bench.names:
                bench.push({"app.py": f"# {name}\n" + CODE.format(line=1000 + number)}, name=name)
                seconds[way].append(float(bench.build(name=name)["seconds"]))
    return _table(title, seconds)


def _table(title: str, seconds: Mapping[str, Sequence[float]]) -> str:
    shared, split = (seconds[way] for way in WAYS)
    difference = statistics.median(b - a for a, b in zip(shared, split, strict=True))
    return f"| {title} | {statistics.median(shared):.3f} | {statistics.median(split):.3f} | {difference:+.3f} |"


if __name__ == "__main__":
    main()
