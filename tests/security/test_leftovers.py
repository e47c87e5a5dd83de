"""What a build leaves running or lying about reaches no other build, by whatever way its code was started."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from localaws.testing import zip_of
from tests.e2e.conftest import Builder
from tests.index import Index
from tests.security.conftest import ATTACKER, CAMP
from tests.security.test_malicious import layer_content

HANDLER = "def lambda_handler(event, context):\n    return 'ok'\n"
GO = f"python attacker.py {CAMP} lambdasmith-attacker"


def function(runtime: str, files: str = "[lambda_function.py]") -> str:
    return f"function: {{runtimes: [{runtime}], handler: lambda_function.lambda_handler, files: {files}}}\n"


def hostile_files(way: str, builder: Builder, hostile_index: Index) -> dict[str, str]:
    """A project that attacks when it is built."""
    common = {"attacker.py": ATTACKER, "lambda_function.py": HANDLER}
    head = function(builder.runtime)
    match way:
        case "preinstall":
            layer = f"layers:\n  made:\n    preinstall: ['{GO}', 'echo 1 > made.txt']\n    files: [made.txt]\n"
            return {**common, "build.yaml": head + layer}
        case "command":
            layer = (
                "layers:\n  made:\n    build:\n"
                f"      command: ['{GO}', 'mkdir out', 'echo 1 > out/made.txt']\n      output: out\n"
            )
            return {**common, "build.yaml": head + layer}
        case "sdist":
            layer = "layers:\n  dependencies: [requirements.txt]\n"
            requirements = f"--index-url {hostile_index.simple}\nhostile\n"
            return {**common, "build.yaml": head + layer, "requirements.txt": requirements}
        case _:  # import
            importing = f"import attacker\nattacker.vanish({CAMP!r})\n"
            files = "[lambda_function.py, attacker.py]"
            return {**common, "build.yaml": function(builder.runtime, files), "lambda_function.py": importing + HANDLER}


VICTIM = {
    "victim.txt": "as it was committed",
    "lambda_function.py": HANDLER,
    "attacker.py": ATTACKER,
    "seen.sh": f"sleep 0.3; python attacker.py {CAMP} take > seen.json\n",
}


def victim_file(runtime: str) -> str:
    return (
        function(runtime, "[lambda_function.py, victim.txt]")
        + "layers:\n  seen:\n    preinstall: ['bash seen.sh']\n    files: [seen.json, victim.txt]\n"
        + "    environment: {TEAM_SECRET: cnry-team-secret}\n"
    )


@pytest.mark.parametrize("way", ["preinstall", "command", "sdist", "import"])
def test_nothing_of_a_hostile_build_is_there_in_the_next_project(
    way: str, tenancy: Builder, hostile_index: Index
) -> None:
    tenancy.forge.push(f"hostile-{way}", hostile_files(way, tenancy, hostile_index))
    tenancy.forge.push(f"victim-{way}", {**VICTIM, "build.yaml": victim_file(tenancy.runtime)})
    attack = tenancy.build(f"hostile-{way}")
    assert attack["statusCode"] == 200, attack
    reply = tenancy.build(f"victim-{way}")
    assert reply["statusCode"] == 200, reply
    assert layer_content(tenancy, reply, "seen", "victim.txt") == b"as it was committed"
    assert layer_content(tenancy, reply, "function", "victim.txt") == b"as it was committed"
    seen: dict[str, Any] = json.loads(layer_content(tenancy, reply, "seen", "seen.json"))
    assert seen["camp"] == []
    assert seen["running"] == []
    assert seen["temporary"] == ["lambdasmith"]


# What is done besides, for the next process to stumble over.
BEFORE = {
    "lurks": "",
    "locks tmp": "os.chmod('/tmp', 0)\n",
    "takes the place": "os.rename('/tmp/lambdasmith', '/tmp/moved')\nos.symlink('lambdasmith', '/tmp/lambdasmith')\n",
}


@pytest.mark.parametrize("how", BEFORE)
def test_what_kills_the_builder_does_not_outlive_it(how: str, tenancy: Builder) -> None:
    """The next invocation may get the same environment, with a new process in it that is nobody's parent."""
    killing = (
        f"import attacker, os, signal\nattacker.vanish({CAMP!r})\n{BEFORE[how]}os.kill(os.getppid(), signal.SIGKILL)\n"
    )
    hostile, victim = f"killer-{how.replace(' ', '-')}", f"killed-{how.replace(' ', '-')}"
    files = {
        "attacker.py": ATTACKER,
        "lambda_function.py": killing + HANDLER,
        "build.yaml": function(tenancy.runtime, "[lambda_function.py, attacker.py]"),
    }
    tenancy.forge.push(hostile, files)
    tenancy.forge.push(victim, {**VICTIM, "build.yaml": victim_file(tenancy.runtime)})
    event = {"action": "build", "function": hostile, "repo_name": hostile}
    answer = tenancy.client("lambda").invoke(FunctionName=tenancy.name, Payload=json.dumps(event))
    ended = json.loads(answer["Payload"].read())
    # Where the worker dies, the builder lives to tell it.
    assert "FunctionError" in answer or ended["error"]["code"] == "worker_failed", ended
    reply = tenancy.build(victim)
    assert reply["statusCode"] == 200, reply
    seen: dict[str, Any] = json.loads(layer_content(tenancy, reply, "seen", "seen.json"))
    assert (seen["camp"], seen["running"], seen["temporary"]) == ([], [], ["lambdasmith"])


def test_what_the_code_of_an_archive_made_is_kept_for_no_one(tenancy: Builder) -> None:
    """Whoever may invoke the builder may send an archive for the function; a repository has its own people."""
    command = "layers:\n  made:\n    build: {command: [mkdir out, echo 1 > out/made.txt], output: out}\n"
    files = {"lambda_function.py": HANDLER, "build.yaml": function(tenancy.runtime) + command}
    sent = {"action": "build", "function": "sent", "archive": base64.b64encode(zip_of(files)).decode(), "force": False}
    tenancy.forge.push("fetched", files)
    for turn, expected in enumerate(("build", "build")):
        reply = tenancy.send({**sent, "components": ["made"]} if turn else sent)
        assert _action(reply, "made") == expected, reply
    assert _action(tenancy.build("fetched"), "made") == "build"
    tenancy.forge.push("fetched", {"lambda_function.py": HANDLER + "# changed\n"})
    tenancy.forge.push("fetched", {"lambda_function.py": HANDLER})
    assert _action(tenancy.build("fetched", version=True), "made") == "reuse"


def test_what_one_repositorys_code_made_is_not_anothers(tenancy: Builder) -> None:
    """Equal inputs are equal keys: who is first must not decide what the second gets."""
    command = "layers:\n  made:\n    build: {command: [mkdir out, date +%N > out/made.txt], output: out}\n"
    files = {"lambda_function.py": HANDLER, "build.yaml": function(tenancy.runtime) + command}
    for name in ("twin-a", "twin-b"):
        tenancy.forge.push(name, files)
    first, second = tenancy.build("twin-a"), tenancy.build("twin-b")
    assert [_action(reply, "made") for reply in (first, second)] == ["build", "build"]
    assert layer_content(tenancy, first, "made", "made.txt") != layer_content(tenancy, second, "made", "made.txt")


def _action(reply: dict[str, Any], component: str) -> str:
    assert reply["statusCode"] == 200, reply
    return str(next(row["action"] for row in reply["artifacts"] if row["name"] == component))
