"""The builder may change itself while setup.py runs `setup`, and never else: however a run ends, or is ended."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bootstrap.policy.roles import POLICY_NAME
from localaws.testing import Server
from tests.bootstrap.conftest import MakeOperator, Operator
from tests.bootstrap.test_interruptions import run_until, started

pytestmark = pytest.mark.apart

NAME = "righteous"


@pytest.fixture
def operator(enforcing_localaws: Server, make_operator: MakeOperator) -> Iterator[Operator]:
    made = make_operator(enforcing_localaws, NAME)
    yield made
    made.run("destroy", "-y")


def may_change_itself(operator: Operator) -> bool:
    """By the builder's own account, which tries it, and by what its role's policy says."""
    event = json.dumps({"action": "ping", "rights": True})
    answer = operator.server.client("lambda").invoke(FunctionName=NAME, Payload=event)
    reply: Mapping[str, Any] = json.loads(answer["Payload"].read())
    found = operator.server.client("iam").get_role_policy(RoleName=f"{NAME}-us-east-1", PolicyName=POLICY_NAME)
    assert ("SetItselfUp" in json.dumps(found["PolicyDocument"])) is reply["may_change_itself"]
    return bool(reply["may_change_itself"])


def test_a_run_that_ends_well_leaves_no_right(operator: Operator) -> None:
    steps = [step["name"] for step in operator.facts("init", "-y")["steps"]]
    assert steps[-3:] == ["setup allowed", "setup", "setup ended"]
    assert not may_change_itself(operator)
    told = operator.server.client("lambda").invoke(
        FunctionName=NAME, Payload=json.dumps({"action": "setup", "force": True})
    )
    reply = json.loads(told["Payload"].read())
    assert reply["error"]["code"] == "access_denied"


def test_a_run_killed_while_the_right_is_there_is_ended_by_the_next(operator: Operator) -> None:
    run_until(operator, "let role")
    assert may_change_itself(operator)
    assert "forbid role" in json.dumps(operator.facts("status")["pending"])
    run_until(operator, "install its own dependencies")
    # The run takes the right away next, and on a busy machine it may be quicker than the kill.
    left = ["role"] if may_change_itself(operator) else []
    assert [step["name"] for step in operator.facts("update", "-y")["steps"]] == left
    assert not may_change_itself(operator)


def test_a_setup_that_fails_leaves_no_right(operator: Operator) -> None:
    with operator.server.fault("kill-before", function=NAME, operation="lambda:PublishLayerVersion"):
        ended = operator.run("init", "-y")
    assert ended.returncode != 0
    assert not may_change_itself(operator)
    operator.facts("init", "-y")
    assert not may_change_itself(operator)


def test_an_interrupt_during_setup_leaves_no_right(operator: Operator) -> None:
    child = started(operator, "init", "-y")
    assert child.stderr is not None
    with child, child.stderr:
        for line in child.stderr:
            if line.startswith("  ok ") and "let role" in line:
                child.send_signal(signal.SIGINT)
                break
        child.stderr.read()
    assert child.returncode == 130
    assert not may_change_itself(operator)
