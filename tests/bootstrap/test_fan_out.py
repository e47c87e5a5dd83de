"""`fan_out = on`: setup.py makes a state machine with a role of its own, keeps it up, and removes it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bootstrap.config.settings import Config
from bootstrap.fan_out import definition
from bootstrap.plan.converge import converge
from bootstrap.plan.removal import remove
from bootstrap.policy.fan_out import machine_grants
from bootstrap.policy.roles import MACHINE_TRUST, TRUST, grants, policy
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import document
from bootstrap.state import FanOutState, MachineState, Present, RoleState
from builder.errors import InvalidConfiguration
from builder.settings import Settings
from tests.bootstrap.conftest import MakeOperator
from tests.bootstrap.test_isolation import allows, order_of
from tests.bootstrap.test_plan import CONFIG, NAMES, NOTHING, function_of, installed, names_of, want
from tests.bootstrapped import Bootstrapped

ON = replace(CONFIG, fan_out=True)
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:lambdasmith-fan-out"


def spread(config: Config = ON) -> Present:
    """Everything as ON wants it."""
    present, wish = installed(), want(config)
    environment = {**wish.settings.environment, "LAMBDASMITH_GIT_SECRET": NAMES.secret}
    return replace(
        present,
        role=RoleState(made_here=True, trust=TRUST, policy=wish.policy),
        function=replace(function_of(present), settings=replace(wish.settings, environment=environment)),
        fan_out=FanOutState(
            # Step Functions returns the text as it was sent; another tool may have written it otherwise.
            machine=MachineState(
                made_here=True,
                role=NAMES.role_arn_of(NAMES.machine_role),
                definition=json.dumps(json.loads(wish.machine)),
            ),
            role=RoleState(made_here=True, trust=MACHINE_TRUST, policy=document(machine_grants(NAMES))),
        ),
    )


def test_the_machine_is_there_before_the_builder_is_told_of_it_and_goes_after() -> None:
    assert converge(want(ON), spread()) == ()
    assert order_of(converge(want(ON), NOTHING), "state machine role", "state machine", "function")
    steps = converge(want(ON), installed())
    assert names_of(steps) == ["role", "state machine role", "state machine", "configuration"]
    assert order_of(steps, "state machine role", "state machine", "configuration")
    off = converge(want(), spread())
    assert names_of(off) == ["role", "configuration", "state machine removed", "state machine role removed"]
    assert order_of(off, "configuration", "state machine removed", "state machine role removed")
    assert {"state machine removed", "state machine role removed"} < {*names_of(remove(NAMES, spread()))}


def test_another_concurrency_changes_the_definition_and_the_builder() -> None:
    steps = converge(want(replace(ON, fan_out_concurrency=50)), spread())
    assert names_of(steps) == ["state machine", "configuration"]
    text = definition(NAMES, 50)
    assert json.loads(text)["States"]["Make all parts"]["MaxConcurrency"] == 50
    assert "${" not in text
    read = Settings.from_environment(want(replace(ON, fan_out_concurrency=50)).settings.environment)
    assert (read.fan_out, read.fan_out_from, read.fan_out_concurrency) == (MACHINE, 8, 50)
    assert Settings.from_environment(want().settings.environment).fan_out == ""


def test_what_someone_else_has_called_so_is_in_the_way_and_stays() -> None:
    machine = MachineState(made_here=False, role="", definition="{}")
    theirs = replace(installed(), fan_out=FanOutState(machine=machine))
    with pytest.raises(InvalidConfiguration, match="state machine lambdasmith-fan-out exists"):
        converge(want(ON), theirs)
    assert converge(want(), theirs) == ()
    assert not any("state machine" in name for name in names_of(remove(NAMES, theirs)))


@pytest.mark.parametrize("fan_out", [False, True])
def test_the_builder_may_start_and_stop_executions_of_its_own_machine_alone(fan_out: bool) -> None:
    granted = policy(NAMES, Scope(functions=("*",), fan_out=fan_out))
    execution = MACHINE.replace("stateMachine", "execution") + ":build-1"
    assert allows(granted, "states:StartExecution", MACHINE) is fan_out
    assert allows(granted, "states:StopExecution", execution) is fan_out
    assert not allows(granted, "states:StartExecution", MACHINE + "2")
    assert not allows(granted, "states:StopExecution", execution.replace("fan-out", "other"))
    assert not allows(granted, "states:UpdateStateMachine", MACHINE)


def test_the_machine_may_invoke_the_builder_and_read_the_parts_alone() -> None:
    granted = document(machine_grants(NAMES))
    store = f"arn:aws:s3:::{NAMES.bucket}/{NAMES.prefix}"
    assert allows(granted, "lambda:InvokeFunction", NAMES.function_arn)
    assert not allows(granted, "lambda:InvokeFunction", NAMES.arn_in("lambda", "function:shop-web"))
    assert allows(granted, "s3:GetObject", f"{store}fanout/b/items.json")
    assert not allows(granted, "s3:GetObject", f"{store}artifacts/x.zip")
    only = {action for grant in grants(NAMES, Scope(functions=(), fan_out=True)) for action in grant.why} - {
        action for grant in grants(NAMES, Scope(functions=())) for action in grant.why
    }
    assert only == {
        f"states:{name}"
        for name in ("StartExecution", "DescribeExecution", "StopExecution", "ListMapRuns", "DescribeMapRun")
    }


def test_a_builder_begins_to_fan_out_and_ends_it(bootstrapped: Bootstrapped, make_operator: MakeOperator) -> None:
    with bootstrapped(enforce_iam=True) as server:

        def operate(**variables: str) -> dict[str, Any]:
            settings = {f"LAMBDASMITH_BUILDER_{name.upper()}": value for name, value in variables.items()}
            operator = make_operator(server, "lambdasmith", LAMBDASMITH_GITHUB_GIT_TOKEN="tok", **settings)
            facts: dict[str, Any] = operator.facts("init", "-y")
            return facts

        def machines() -> list[str]:
            return [row["name"] for row in server.client("stepfunctions").list_state_machines()["stateMachines"]]

        assert operate()["fan_out"] is None
        assert operate(fan_out="on")["fan_out"] == MACHINE
        assert not operate(fan_out="on")["changed"]
        assert operate(fan_out="on", fan_out_concurrency="7")["changed"]
        states = server.client("stepfunctions")
        text = states.describe_state_machine(stateMachineArn=MACHINE)["definition"]
        assert json.loads(text)["States"]["Make all parts"]["MaxConcurrency"] == 7
        assert operate()["fan_out"] is None
        assert machines() == []
