"""A project with many functions: what a deploy costs when nothing, one line or a shared file has changed.

    python -m benchmarks.functions --functions 30 --runs 5
    python -m benchmarks.functions --functions 300 --files 50000 --alone
    python -m benchmarks.functions --functions 300 --alone --fan-out 20

Seconds are the builder's own account of each deploy (its reply), publishing included. Beside them
`sam build --parallel --cached` of the same functions, which publishes nothing; the runs of both alternate. Each
function has a requirements.txt beside its handler, as SAM's own projects have; with `--files`, so many other files are
in the repository. `--alone` leaves SAM out. With `--fan-out`, so many environments make them by Step Functions, and the
seconds are those until the build's state is its reply.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.deploys import Bench, bootstrapped
from benchmarks.peers import SAM, install
from localaws.runtime.interpreters import find

REQUIREMENTS = "requests==2.32.3\npydantic==2.11.1\n"
CODE = "import pydantic, requests\n\n\ndef handler(event, context):\n    return {line}\n"


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--fan-out", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lambdasmith-bench")
    options = parser.parse_args()
    names = [f"f{number:03}" for number in range(options.functions)]
    fan_out = f"fan_out = on\nfan_out_concurrency = {options.fan_out}\n" if options.fan_out else ""
    with bootstrapped(names=("many",), extra=fan_out) as (bench, _):
        sam = None if options.alone else _Sam(install(options.work / "sam", (SAM,)), bench, names)
        bench.push(_files(bench, names) | _others(bench, options.files))
        print(f"| {options.functions} functions | builder s | sam build s | ratio |\n|---|---|---|---|")
        first = _deploy(bench)
        print(_line_of("first", [first], [sam.build()] if sam else []), flush=True)
        for title, change in (
            ("nothing changed", lambda number: None),
            ("one line of one", lambda number: _line(bench, names[7:8], number)),
            ("one line of all", lambda number: _line(bench, names, 100 + number)),
        ):
            print(_row(title, options.runs, bench, sam, change), flush=True)
        print(f"\nThe builder's memory: {_memory(bench)}")


def _files(bench: Bench, names: list[str]) -> dict[str, str]:
    functions = {name: {"source_dir": name, "handler": "app.handler"} for name in names}
    build_file = {"defaults": {"runtimes": [bench.runtime], "timeout": 30}, "functions": functions}
    files = {"build.yaml": json.dumps(build_file)}
    for name in names:
        (bench.home / "many" / name).mkdir(exist_ok=True)
        files |= {f"{name}/app.py": f"# {name}\n" + CODE.format(line=0), f"{name}/requirements.txt": REQUIREMENTS}
    return files


def _others(bench: Bench, count: int) -> dict[str, str]:
    files = {}
    for number in range(count):
        (bench.home / "many" / "other" / f"{number % 500}").mkdir(parents=True, exist_ok=True)
        files[f"other/{number % 500}/{number}.txt"] = f"{number}\n" * 20
    return files


def _line(bench: Bench, names: list[str], number: int) -> None:
    bench.push({f"{name}/app.py": f"# {name}\n" + CODE.format(line=number) for name in names})


def _deploy(bench: Bench) -> float:
    started = time.monotonic()
    build_id = f"many-{uuid.uuid4().hex[:8]}"
    reply = _sent(bench, {"action": "build", "project": "many", "repo_name": "many", "build_id": build_id})
    if reply.get("statusCode") == 202:
        ask = {"action": "status", "build_id": build_id}
        while (state := _sent(bench, ask)["build"])["state"] == "running":
            time.sleep(0.2)
        reply = {**state.get("reply", {}), "seconds": time.monotonic() - started}
    if reply.get("statusCode") != 200:
        raise SystemExit(f"the deploy failed: {json.dumps(reply)[:2000]}")
    return float(reply["seconds"])


def _sent(bench: Bench, event: dict[str, str]) -> dict[str, Any]:
    answer = bench.aws.client("lambda").invoke(FunctionName="lambdasmith", Payload=json.dumps(event))
    reply: dict[str, Any] = json.loads(answer["Payload"].read())
    return reply


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


def _row(title: str, runs: int, bench: Bench, sam: _Sam | None, change: Callable[[int], None]) -> str:
    ours, theirs = [], []
    for number in range(1, runs + 1):
        change(number)
        ours.append(_deploy(bench))
        theirs += [sam.build()] if sam else []
    return _line_of(title, ours, theirs)


def _line_of(title: str, ours: list[float], theirs: list[float]) -> str:
    if not theirs:
        return f"| {title} | {statistics.median(ours):.2f} | | |"
    ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
    return f"| {title} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | {ratio:.1f}x |"


def _memory(bench: Bench) -> str:
    """Return the most that the builder's environment has used, by Lambda's own report."""
    event = {"action": "build", "project": "many", "repo_name": "many"}
    client = bench.aws.client("lambda")
    answer = client.invoke(FunctionName="lambdasmith", Payload=json.dumps(event), LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return log.rpartition("Max Memory Used: ")[2].split("\t")[0].strip()


if __name__ == "__main__":
    main()
