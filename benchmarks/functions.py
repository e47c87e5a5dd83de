"""A project with many functions: what a deploy costs when nothing, one line or a shared file has changed.

    python -m benchmarks.functions --functions 30 --runs 5

Seconds are the builder's own account of each deploy (its reply), publishing included. Beside them
`sam build --parallel --cached` of the same functions, which publishes nothing; the runs of both alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.deploys import Bench, bootstrapped
from benchmarks.peers import SAM, install
from localaws.runtime.interpreters import find

REQUIREMENTS = "idna==3.10\nattrs==24.3.0\n"
CODE = "import attrs, idna\n\n\ndef handler(event, context):\n    return {line}\n"


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lambdasmith-bench")
    options = parser.parse_args()
    names = [f"f{number:03}" for number in range(options.functions)]
    with bootstrapped(names=("many",)) as (bench, _):
        sam = _Sam(install(options.work / "sam", (SAM,)), bench, names)
        bench.push(_files(bench, names))
        print(f"| {options.functions} functions | builder s | sam build s | ratio |\n|---|---|---|---|")
        first, peer = _deploy(bench), sam.build()
        print(f"| first | {first:.2f} | {peer:.2f} | {peer / first:.1f}x |", flush=True)
        print(_row("nothing changed", options.runs, bench, sam, lambda number: None), flush=True)
        print(_row("one line of one", options.runs, bench, sam, lambda number: _line(bench, names[7:8], number)))
        print(_row("one line of all", options.runs, bench, sam, lambda number: _line(bench, names, 100 + number)))


def _files(bench: Bench, names: list[str]) -> dict[str, str]:
    functions = {name: {"source_dir": name, "handler": "app.handler"} for name in names}
    build_file = {"defaults": {"runtimes": [bench.runtime], "timeout": 30}, "functions": functions}
    files = {"build.yaml": json.dumps(build_file)}
    for name in names:
        (bench.home / "many" / name).mkdir(exist_ok=True)
        files |= {f"{name}/app.py": f"# {name}\n" + CODE.format(line=0), f"{name}/requirements.txt": REQUIREMENTS}
    return files


def _line(bench: Bench, names: list[str], number: int) -> None:
    bench.push({f"{name}/app.py": f"# {name}\n" + CODE.format(line=number) for name in names})


def _deploy(bench: Bench) -> float:
    event = {"action": "build", "project": "many", "repo_name": "many"}
    answer = bench.aws.client("lambda").invoke(FunctionName="lambdasmith", Payload=json.dumps(event))
    reply: dict[str, Any] = json.loads(answer["Payload"].read())
    if reply.get("statusCode") != 200:
        raise SystemExit(f"the deploy failed: {json.dumps(reply)[:2000]}")
    return float(reply["seconds"])


class _Sam:
    """SAM's build of the same directory."""

    def __init__(self, peers: Path, bench: Bench, names: list[str]) -> None:
        self._command, self._root = str(peers / "bin" / "sam"), bench.home / "many"
        # SAM wants the function's Python on the PATH.
        python = find(os.environ)[bench.runtime.removeprefix("python")].executable
        self._environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
        self._state = bench.home / "sam"
        self._state.mkdir()
        resources = {
            name.upper(): {
                "Type": "AWS::Serverless::Function",
                "Properties": {"CodeUri": str(self._root / name), "Handler": "app.handler", "Runtime": bench.runtime},
            }
            for name in names
        }
        template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": resources}
        (self._state / "template.json").write_text(json.dumps(template))

    def build(self) -> float:
        """Return the seconds of one build."""
        words = ["build", "--parallel", "--cached", "--template", "template.json"]
        started = time.monotonic()
        command = [self._command, *words]
        done = subprocess.run(command, cwd=self._state, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"sam build failed: {done.stderr[-2000:]}")
        return time.monotonic() - started


def _row(title: str, runs: int, bench: Bench, sam: _Sam, change: Callable[[int], None]) -> str:
    ours, theirs = [], []
    for number in range(1, runs + 1):
        change(number)
        ours.append(_deploy(bench))
        theirs.append(sam.build())
    ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
    return f"| {title} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | {ratio:.1f}x |"


if __name__ == "__main__":
    main()
