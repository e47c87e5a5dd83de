"""`fan_out = on`: many functions are made by an execution of Step Functions, and published by its last step."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from localaws.testing import Server, zip_of
from tests.bootstrapped import Bootstrapped
from tests.e2e.conftest import Builder, Forge, make_builder

MACHINE = "lambdasmith-fan-out"
COUNT = 12


@pytest.fixture(scope="module")
def account(bootstrapped: Bootstrapped) -> Iterator[Server]:
    with bootstrapped(enforce_iam=True) as server:
        yield server


@pytest.fixture(scope="module")
def builder(account: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    extra = "fan_out = on\nfan_out_from = 4\nfan_out_concurrency = 3\n"
    return make_builder(account, forge, tmp_path_factory.mktemp("operator"), extra)


def project(runtime: str, prefix: str, **changes: str | None) -> dict[str, str | None]:
    functions = "".join(f"  f{at}: {{files: [f{at}.py], handler: f{at}.handler}}\n" for at in range(COUNT))
    head = f"defaults: {{runtimes: [{runtime}], memory: 256, name: '{prefix}-{{name}}'}}\n"
    files: dict[str, str | None] = {"build.yaml": f"{head}functions:\n{functions}"}
    for at in range(COUNT):
        files[f"f{at}.py"] = f"def handler(event, context):\n    return 'f{at} of {prefix}'\n"
    return {**files, **changes}


def begin(builder: Builder, name: str, **event: Any) -> str:
    build_id = event.pop("build_id", f"{name}-{uuid.uuid4().hex[:8]}")
    reply = builder.send({"action": "build", "project": name, "repo_name": name, "build_id": build_id, **event})
    assert reply["statusCode"] == 202, reply
    assert f":execution:{MACHINE}:" in reply["build"]["execution"]
    return str(build_id)


def end(builder: Builder, build_id: str) -> dict[str, Any]:
    """The reply of a build, when it has ended."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        state = builder.send({"action": "status", "build_id": build_id})["build"]
        # Without a reply, one that was killed counts as lost until Step Functions starts another.
        if "reply" in state:
            return dict(state["reply"])
        time.sleep(0.3)
    raise AssertionError(f"{build_id} did not end: {state}")


def statuses(reply: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["status"] for row in reply["functions"]}


def test_twelve_functions_are_made_by_an_execution_and_published_by_its_last_step(builder: Builder) -> None:
    commit = builder.forge.push("swarm", project(builder.runtime, "swarm"))
    build_id = begin(builder, "swarm", by="zoe")
    # The same request again is about the same build.
    assert builder.send({"action": "build", "project": "swarm", "repo_name": "swarm", "build_id": build_id})[
        "statusCode"
    ] in (200, 202)
    reply = end(builder, build_id)
    assert reply["statusCode"] == 200, reply
    assert (reply["commit"], reply["build_id"]) == (commit, build_id)
    assert statuses(reply) == {f"f{at}": "deployed" for at in range(COUNT)}
    assert builder.invoke("swarm-f7") == "f7 of swarm"
    execution = builder.client("stepfunctions").list_executions(
        stateMachineArn=f"arn:aws:states:us-east-1:123456789012:stateMachine:{MACHINE}"
    )["executions"]
    assert [row["name"] for row in execution if row["status"] == "SUCCEEDED"] == [build_id]
    # Nothing is left to do, and few functions are made where they are.
    again = builder.send({"action": "build", "project": "swarm", "repo_name": "swarm"})
    assert statuses(again) == {f"f{at}": "unchanged" for at in range(COUNT)}
    builder.forge.push("swarm", {"f3.py": "def handler(event, context):\n    return 'new'\n"})
    few = builder.send({"action": "build", "project": "swarm", "repo_name": "swarm"})
    assert [key for key, status in statuses(few).items() if status == "deployed"] == ["f3"]


def test_parts_whose_builder_is_killed_are_made_by_the_last_step_and_throttling_is_waited_out(builder: Builder) -> None:
    builder.forge.push("horde", project(builder.runtime, "horde"))
    killed = builder.aws.fault(
        "kill-before", function="lambdasmith", event={"action": "package"}, calls="writing", at=1, times=None
    )
    with killed as fault, builder.aws.rate_limits():
        reply = end(builder, begin(builder, "horde"))
    assert fault.fired >= COUNT
    assert statuses(reply) == {f"f{at}": "deployed" for at in range(COUNT)}, reply
    assert [builder.invoke(f"horde-f{at}") for at in (0, 11)] == ["f0 of horde", "f11 of horde"]


def test_a_function_that_cannot_be_built_is_told_and_holds_up_others_unless_they_are_independent(
    builder: Builder,
) -> None:
    builder.forge.push("flock", project(builder.runtime, "flock", **{"f3.py": "import not_there\n"}))
    reply = end(builder, begin(builder, "flock"))
    expected = dict.fromkeys((f"f{at}" for at in range(COUNT)), "built") | {"f3": "failed"}
    assert (reply["error"]["code"], statuses(reply)) == ("functions_failed", expected)
    assert "not_there" in reply["error"]["message"]
    assert builder.state("flock-f0") is None
    reply = end(builder, begin(builder, "flock", independent=True))
    assert statuses(reply) == {key: "failed" if key == "f3" else "deployed" for key in expected}


def test_a_build_is_stopped_before_it_publishes(builder: Builder) -> None:
    sent = {"action": "build", "project": "pack"}
    files = {path: text for path, text in project(builder.runtime, "pack").items() if text is not None}
    archive = base64.b64encode(zip_of(files)).decode()
    build_id = begin(builder, "pack", archive=archive, repo_name=None)
    stopped = builder.send({"action": "stop", "build_id": build_id, "by": "zoe"})
    assert stopped["statusCode"] == 200, stopped
    assert stopped["build"]["reply"]["error"]["code"] == "build_stopped"
    assert (
        stopped["build"]["reply"]["error"]["message"] == f"build {build_id} was stopped by zoe; nothing was published"
    )
    state = builder.client("stepfunctions").describe_execution(
        executionArn=f"arn:aws:states:us-east-1:123456789012:execution:{MACHINE}:{build_id}"
    )
    assert state["status"] == "ABORTED"
    assert builder.state("pack-f0") is None
    again = builder.send({"action": "stop", "build_id": build_id})
    assert (again["statusCode"], again["error"]["code"]) == (400, "invalid_event")
    assert builder.send({"action": "stop", "build_id": "no-such"})["error"]["code"] == "unknown_build"
    # What was made is there for the next deploy; where the answer is waited for, one invocation makes the rest.
    here = builder.client("lambda").invoke(
        FunctionName="lambdasmith", Payload=json.dumps({**sent, "archive": archive, "on_error": "raise"})
    )
    assert statuses(json.loads(here["Payload"].read())) == {f"f{at}": "deployed" for at in range(COUNT)}
    assert builder.invoke("pack-f5") == "f5 of pack"


def kills(builder: Builder) -> int:
    """How often the builder was killed so far."""
    return sum((call["fault"] or "").startswith("kill") for call in builder.aws.calls(function="lambdasmith"))


@pytest.mark.slow
def test_a_last_step_that_is_killed_is_taken_over_by_another(builder: Builder) -> None:
    """A minute later, when the claim of the one that was killed has expired."""
    builder.forge.push("clan", project(builder.runtime, "clan"))
    before = kills(builder)  # other tests of this account have killed builders as well
    once = builder.aws.fault("kill-before", function="lambdasmith", event={"made": True}, calls="writing", at=6)
    with once as fault:
        build_id = begin(builder, "clan")
        until = time.monotonic() + 60
        while kills(builder) == before:
            assert time.monotonic() < until
            time.sleep(0.2)
    assert fault.fired
    assert set(statuses(end(builder, build_id)).values()) <= {"deployed", "unchanged"}
    assert builder.invoke("clan-f11") == "f11 of clan"
