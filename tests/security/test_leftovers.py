"""What a build leaves running or lying about reaches no other build, by whatever way its code was started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import git_server, running
from tests.builder.locking import BACKEND, PYPROJECT
from tests.e2e.conftest import TOKEN, Builder, Forge, make_builder
from tests.index import Index, serving
from tests.security.test_malicious import layer_content
from tests.wheelhouse import make_sdist

ATTACKER = Path(__file__).with_name("attacker.py").read_text()
HANDLER = "def lambda_handler(event, context):\n    return 'ok'\n"
CAMP = "/tmp/lambdasmith-attacker"
GO = f"python attacker.py {CAMP} lambdasmith-attacker"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """One builder for repositories that do not trust each other, in `isolation = shared`."""
    root, work, operator = (tmp_path_factory.mktemp(name) for name in ("served", "clones", "operator"))
    with running(forward_network=True, enforce_iam=True) as aws, git_server(root, TOKEN) as server:
        if "isolation plain" in aws.ready_line:
            pytest.skip("needs the sandbox; install bubblewrap, and allow user namespaces")
        yield make_builder(aws, Forge(url=server.url, root=root, work=work), operator)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    files = tmp_path_factory.mktemp("index")
    attacking = f"""
_honest = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import subprocess, sys
    subprocess.run([sys.executable, "attacker.py", {CAMP!r}, "lambdasmith-attacker"], check=True)
    return _honest(directory, config_settings, metadata_directory)
"""
    source = {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND.format(name="hostile", version="1.0", requires=()) + attacking,
        "hostile.py": "",
        "attacker.py": ATTACKER,
    }
    make_sdist(files, "hostile", "1.0", files=source)
    with serving(files) as served:
        yield served


def function(runtime: str, files: str = "[lambda_function.py]") -> str:
    return f"function: {{runtimes: [{runtime}], handler: lambda_function.lambda_handler, files: {files}}}\n"


def hostile_files(way: str, builder: Builder, index: Index) -> dict[str, str]:
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
            requirements = f"--index-url {index.simple}\nhostile\n"
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
def test_nothing_of_a_hostile_build_is_there_in_the_next_project(way: str, shared: Builder, index: Index) -> None:
    shared.forge.push(f"hostile-{way}", hostile_files(way, shared, index))
    shared.forge.push(f"victim-{way}", {**VICTIM, "build.yaml": victim_file(shared.runtime)})
    attack = shared.build(f"hostile-{way}")
    assert attack["statusCode"] == 200, attack
    reply = shared.build(f"victim-{way}")
    assert reply["statusCode"] == 200, reply
    assert layer_content(shared, reply, "seen", "victim.txt") == b"as it was committed"
    assert layer_content(shared, reply, "function", "victim.txt") == b"as it was committed"
    seen: dict[str, Any] = json.loads(layer_content(shared, reply, "seen", "seen.json"))
    assert seen["camp"] == []
    assert seen["running"] == []
    assert seen["temporary"] == ["lambdasmith"]


def test_what_kills_the_builder_does_not_outlive_it(shared: Builder) -> None:
    """The next invocation may get the same environment, with a new process in it that is nobody's parent."""
    killing = f"import attacker, os, signal\nattacker.vanish({CAMP!r})\nos.kill(os.getppid(), signal.SIGKILL)\n"
    files = {
        "attacker.py": ATTACKER,
        "lambda_function.py": killing + HANDLER,
        "build.yaml": function(shared.runtime, "[lambda_function.py, attacker.py]"),
    }
    shared.forge.push("hostile-killer", files)
    shared.forge.push("victim-killed", {**VICTIM, "build.yaml": victim_file(shared.runtime)})
    event = {"action": "build", "function": "hostile-killer", "repo_name": "hostile-killer"}
    answer = shared.client("lambda").invoke(FunctionName=shared.name, Payload=json.dumps(event))
    assert "FunctionError" in answer, answer["Payload"].read()
    reply = shared.build("victim-killed")
    assert reply["statusCode"] == 200, reply
    seen: dict[str, Any] = json.loads(layer_content(shared, reply, "seen", "seen.json"))
    assert (seen["camp"], seen["running"], seen["temporary"]) == ([], [], ["lambdasmith"])
