"""Many builds of ten projects in one environment, half of them hostile: nothing of one is in another.

`make soak` runs three hundred in each mode, `make test` as many as show a difference.
"""

from __future__ import annotations

import base64
import json
import os
import re
import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import Builder
from tests.index import Index
from tests.security.conftest import ATTACKER, CAMP
from tests.security.test_malicious import layer_content

ROUNDS, PROJECTS = int(os.environ.get("SOAK_BUILDS", "60")), 10
HANDLER = "def lambda_handler(event, context):\n    return 'ok'\n"
# What each hostile project's command does, beside building what it should.
WRECKING = """
import os, pathlib, sys
here = pathlib.Path("/tmp/lambdasmith")
for folder, _, files in os.walk("/tmp"):
    for name in files:
        path = os.path.join(folder, name)
        if "wreck" not in name and not path.startswith(os.getcwd()):
            try:
                with open(path, "r+b") as file:
                    file.write(b"wrecked")
            except OSError:
                pass
    for name in ("python", "python3", "cc", "sitecustomize.py"):
        try:
            pathlib.Path(folder, name).write_text("#!/bin/sh\\necho wrecked\\n")
        except OSError:
            pass
"""
FILLING = """
import os, pathlib
for place in ("/tmp/junk", os.path.expanduser("~/.cache"), "/tmp/lambdasmith/cache/builds/known", "/tmp/lambdasmith/x"):
    os.makedirs(place + "/a/b", exist_ok=True)
    pathlib.Path(place, "a", "b", "fill").write_bytes(b"x" * 3_000_000)
    os.chmod(place + "/a/b", 0)
    os.chmod(place + "/a", 0o300)
"""
SHOUTING = "import sys; sys.stdout.write('x' * 4_000_000 + chr(0) + chr(27) + '[31m'); print()"


@dataclass
class Soak:
    """What was seen of the environment over time."""

    memory_mb: list[int] = field(default_factory=list)
    disk_bytes: list[int] = field(default_factory=list)


def files_of(number: int, builder: Builder, index: Index) -> dict[str, str]:
    """Project `number`: an odd one is hostile."""
    head = f"function: {{runtimes: [{builder.runtime}], handler: lambda_function.lambda_handler, files: [%s]}}\n"
    made = "layers:\n  made:\n    preinstall: ['%s', 'echo made > made.txt']\n    files: [made.txt]\n"
    common = {"lambda_function.py": HANDLER, "attacker.py": ATTACKER}
    if number % 2 == 0:
        look = f"python attacker.py {CAMP} take > seen.json; du -sb /tmp/lambdasmith | cut -f1 > size.txt"
        layers = (
            f"layers:\n  dependencies: [requirements.txt]\n  seen:\n    preinstall: ['{look}']\n"
            "    files: [seen.json, size.txt]\n"
        )
        build = head % "lambda_function.py, victim.txt" + layers
        requirements = f"--index-url {index.simple}\napple\n"
        return {**common, "build.yaml": build, "victim.txt": f"{number}", "requirements.txt": requirements}
    match number:
        case 1:
            build = head % "lambda_function.py" + made % f"python attacker.py {CAMP} lambdasmith-attacker"
        case 3:
            importing = f"import attacker\nattacker.vanish({CAMP!r})\n"
            return {
                **common,
                "build.yaml": head % "lambda_function.py, attacker.py",
                "lambda_function.py": importing + HANDLER,
            }
        case 5:
            build, common["run.py"] = head % "lambda_function.py" + made % "python run.py", WRECKING
        case 7:
            build, common["run.py"] = head % "lambda_function.py" + made % "python run.py", FILLING
        case _:
            build, common["run.py"] = head % "lambda_function.py" + made % "python run.py", SHOUTING
    return {**common, "build.yaml": build}


@pytest.mark.slow
def test_nothing_of_one_project_is_in_another_and_nothing_grows(tenancy: Builder, hostile_index: Index) -> None:
    """What hostile projects end as is their own affair; every other build is as if it were alone."""
    soak, projects = Soak(), [files_of(number, tenancy, hostile_index) for number in range(PROJECTS)]
    for turn in range(ROUNDS):
        number = turn * 7 % PROJECTS
        name = f"soak-{number}"
        tenancy.forge.push(name, {**projects[number], "turn.txt": f"{turn}"})
        event = {"action": "build", "function": name, "repo_name": name}
        answer = tenancy.client("lambda").invoke(FunctionName=tenancy.name, Payload=json.dumps(event), LogType="Tail")
        reply = json.loads(answer["Payload"].read())
        if number % 2:
            continue
        assert reply.get("statusCode") == 200, (turn, name, reply)
        _clean(tenancy, reply, number)
        soak.disk_bytes.append(int(layer_content(tenancy, reply, "seen", "size.txt")))
        log = base64.b64decode(answer["LogResult"]).decode(errors="replace")
        soak.memory_mb.append(int(re.findall(r"Max Memory Used: (\d+) MB", log)[-1]))
    for seen in (soak.memory_mb, soak.disk_bytes):
        early, late = seen[5 : len(seen) // 4], seen[-len(seen) // 4 :]
        assert statistics.median(late) <= 1.15 * statistics.median(early), seen


def _clean(builder: Builder, reply: dict[str, Any], number: int) -> None:
    seen = json.loads(layer_content(builder, reply, "seen", "seen.json"))
    assert (seen["camp"], seen["running"], seen["temporary"]) == ([], [], ["lambdasmith"])
    assert layer_content(builder, reply, "function", "victim.txt") == f"{number}".encode()
    assert layer_content(builder, reply, "dependencies", "python/apple.py") == b"NAME = 'apple'\n"
    assert builder.invoke(f"soak-{number}") == "ok"
