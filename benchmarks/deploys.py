"""Bootstrap and deploys through the embedded AWS: the builder's own time, phase by phase.

The project has the web set (requests, pydantic, PyYAML, boto3). Seconds are the builder's own
account of each build (its reply), so neither the network to it nor the AWS CLI is in them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localaws.runtime.interpreters import find
from localaws.testing import Server, git_server, running

ROOT = Path(__file__).resolve().parent.parent
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
REQUIREMENTS = "requests\npydantic\nPyYAML\nboto3\n"
CODE = "import boto3, pydantic, requests, yaml\ndef handler(event, context):\n    return {line}\n"


@dataclass(frozen=True)
class Row:
    """Scenario: seconds of every run, and the phases of the median one."""

    name: str
    seconds: tuple[float, ...]
    phases: Mapping[str, float]
    published: int


@dataclass
class Bench:
    """A bootstrapped builder and repositories to push to, whose clones are in `home`; the first is the default."""

    aws: Server
    home: Path
    runtime: str
    names: tuple[str, ...] = ("web",)

    def push(self, files: Mapping[str, str], *, name: str = "") -> None:
        clone = self.home / (name or self.names[0])
        for file, content in files.items():
            (clone / file).write_text(content)
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        commit = (*who, "commit", "-qm", "change", "--allow-empty")
        for words in (("add", "-A"), commit, ("push", "-q", "origin", "main")):
            subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)

    def build(self, *, name: str = "") -> dict[str, Any]:
        name = name or self.names[0]
        event = {"action": "build", "function": name, "repo_name": name}
        answer = self.aws.client("lambda").invoke(FunctionName="lambdasmith", Payload=json.dumps(event))
        reply = json.loads(answer["Payload"].read())
        if reply.get("statusCode") != 200:
            raise SystemExit(f"the build failed: {json.dumps(reply, indent=1)}")
        return dict(reply)

    def chill(self) -> None:
        """Make the next build start in a new execution environment, with an empty /tmp."""
        client = self.aws.client("lambda")
        client.update_function_configuration(FunctionName="lambdasmith", Description=f"cold {time.time()}")
        client.get_waiter("function_updated_v2").wait(FunctionName="lambdasmith", WaiterConfig={"Delay": 1})


@contextmanager
def bootstrapped(
    names: tuple[str, ...] = ("web",), isolation: str = "shared", extra: str = ""
) -> Iterator[tuple[Bench, float]]:
    """Start an embedded AWS with a builder and repositories; yield them and the seconds of `setup.py init`.

    Args:
        extra: lines for [builder] of config.ini.
    """
    found = find(os.environ)
    runtime = next(f"python3.{minor}" for minor in (14, 13, 12, 11) if f"3.{minor}" in found)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        served = home / "served"
        served.mkdir()
        for name in names:
            bare, clone = served / f"{name}.git", home / name
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
            subprocess.run(["git", "clone", "-q", str(bare), str(clone)], check=True, capture_output=True)
            subprocess.run(["git", "checkout", "-q", "-B", "main"], cwd=clone, check=True)
        with running(forward_network=True) as aws, git_server(served, "bench-token-0123456789") as forge:
            role = aws.client("iam").create_role(RoleName="app", AssumeRolePolicyDocument=json.dumps(_TRUST))
            config = home / "config.ini"
            config.write_text(
                f"[github]\ngit_username = bench\ngit_base = {forge.url}\n"
                f"[builder]\nruntime = {runtime}\nfunctions = *\nrole = {role['Role']['Arn']}\n"
                f"isolation = {isolation}\n{extra}"
            )
            env = {**os.environ, **aws.env, "LAMBDASMITH_GITHUB_GIT_TOKEN": "bench-token-0123456789"}
            command = [sys.executable, str(ROOT / "setup.py"), "init", "--yes", "--config", str(config)]
            started = time.monotonic()
            subprocess.run(command, env=env, cwd=home, check=True, capture_output=True)
            yield Bench(aws=aws, home=home, runtime=runtime, names=names), time.monotonic() - started


def row(name: str, replies: list[dict[str, Any]]) -> Row:
    ordered = sorted(replies, key=lambda reply: float(reply["seconds"]))
    median = ordered[len(ordered) // 2]
    return Row(
        name=name,
        seconds=tuple(float(reply["seconds"]) for reply in ordered),
        phases={phase["name"]: phase["seconds"] for phase in median["phases"]},
        published=len(median["changed"]),
    )


def _pins() -> tuple[list[str], list[str]]:
    """Yield pinned additions: a few that together use every wheel, and new combinations of the same wheels."""
    idna, six, attrs = ("3.8", "3.9", "3.10"), ("1.16.0", "1.17.0"), ("24.1.0", "24.2.0", "24.3.0")
    every = [f"idna=={i}\nsix=={s}\nattrs=={a}\n" for i in idna for s in six for a in attrs]
    known = [f"idna=={i}\nsix=={s}\nattrs=={a}\n" for i, s, a in zip(idna, (*six, six[0]), attrs, strict=True)]
    return known, [pins for pins in every if pins not in known]


def measure(runs: int) -> tuple[list[Row], float]:
    """Measure all scenarios; return their rows, and the seconds of one bootstrap."""
    with bootstrapped() as (bench, bootstrap):
        build_file = (
            f"function:\n  runtimes: [{bench.runtime}]\n  handler: app.handler\n  files: [app.py]\n  timeout: 30\n"
            "layers:\n  dependencies: [requirements.txt]\n"
        )
        files = {"build.yaml": build_file, "requirements.txt": REQUIREMENTS, "app.py": CODE.format(line=0)}
        bench.push(files)
        rows = [row("first deploy, nothing known", [bench.build()])]
        cold, line, requirement = [], [], []
        for _ in range(runs):
            bench.chill()
            cold.append(bench.build())
        warm = [bench.build() for _ in range(runs)]
        for number in range(1, runs + 1):
            bench.push({"app.py": CODE.format(line=number)})
            line.append(bench.build())
        known, new = _pins()
        for pins in known:
            bench.push({"requirements.txt": REQUIREMENTS + pins})
            bench.build()
        for pins in new[:runs]:
            bench.push({"requirements.txt": REQUIREMENTS + pins})
            requirement.append(bench.build())
        rows += [
            row("new environment, nothing changed", cold),
            row("warm, nothing changed", warm),
            row("warm, one source line changed", line),
            row("warm, one requirement changed, its wheel known", requirement),
        ]
    return rows, bootstrap


def report(rows: list[Row], bootstrap: float) -> str:
    """Return a Markdown table."""
    lines = [
        f"Bootstrap (`setup.py init`, whole): {bootstrap:.1f} s",
        "",
        "| in the builder | median s | min–max | n | steps published | phases of the median run |",
        "|---|---|---|---|---|---|",
    ]
    for entry in rows:
        phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in entry.phases.items() if seconds >= 0.005)
        lines.append(
            f"| {entry.name} | {statistics.median(entry.seconds):.2f} "
            f"| {min(entry.seconds):.2f}–{max(entry.seconds):.2f} "
            f"| {len(entry.seconds)} | {entry.published} | {phases} |"
        )
    return "\n".join(lines)
