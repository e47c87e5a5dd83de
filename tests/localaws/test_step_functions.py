"""Step Functions: state machines whose tasks are functions in real environments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.localaws.lab import Lab, wait_until

INVOKE = "arn:aws:states:::lambda:invoke"
FAILS_FOR_ODD = (
    "class Odd(Exception): pass\n"
    "def handler(event, context):\n"
    "    if event['n'] % 2: raise Odd(event['n'])\n"
    "    return event['n']\n"
)


def task(name: str, **more: Any) -> dict[str, Any]:
    """A state that invokes a function with the state's input."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": name, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
        **more,
    }


def one(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A state machine of a single state."""
    return {"StartAt": "One", "States": {"One": state}, **more}


def each(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Distributed Map over `$.items`, of this state."""
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **inner(state)}
    source = {} if "ItemReader" in more else {"ItemsPath": "$.items"}
    return {"Type": "Map", "End": True, **source, "ItemProcessor": processor, **more}


def inner(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Item", "States": {"Item": state}}


def reader(bucket: str, key: str) -> dict[str, Any]:
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": bucket, "Key": key},
    }


@dataclass(frozen=True)
class Machines:
    """A lab with a client of Step Functions."""

    lab: Lab
    client: Any

    def create(self, definition: dict[str, Any], **more: Any) -> str:
        request = {"name": self.lab.name("machine"), "roleArn": self.lab.role, **more}
        return str(self.client.create_state_machine(definition=json.dumps(definition), **request)["stateMachineArn"])

    def start(self, machine: str, given: Any = None) -> str:
        return str(self.client.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"])

    def run(self, definition: dict[str, Any], given: Any = None) -> dict[str, Any]:
        """Run a new state machine to its end."""
        return self.end(self.start(self.create(definition), given))

    def end(self, execution: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        found: dict[str, Any] = wait_until(ended, "the execution to end")
        return found

    def output(self, definition: dict[str, Any], given: Any = None) -> Any:
        found = self.run(definition, given)
        assert found["status"] == "SUCCEEDED", found
        return json.loads(found["output"])

    def events(self, execution: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get_execution_history(executionArn=execution)["events"]
        return found

    def map_run(self, execution: str) -> dict[str, Any]:
        (found,) = self.client.list_map_runs(executionArn=execution)["mapRuns"]
        described: dict[str, Any] = self.client.describe_map_run(mapRunArn=found["mapRunArn"])
        return described

    def bucket(self, items: Any) -> str:
        """Return a new bucket with `items.json`."""
        name = self.lab.name("items")
        s3 = self.lab.server.client("s3")
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="items.json", Body=json.dumps(items))
        return name


def machines_of(lab: Lab) -> Machines:
    return Machines(lab, lab.server.client("stepfunctions"))


@pytest.fixture(scope="module")
def machines(lab: Lab) -> Machines:
    return machines_of(lab)


def test_a_distributed_map_runs_a_function_for_each_item_of_an_object(machines: Machines) -> None:
    name = machines.lab.function("def handler(event, context):\n    return event['n'] * 2\n")
    bucket = machines.bucket([{"n": n} for n in range(10)])
    found = machines.run(one(each(task(name), ItemReader=reader(bucket, "items.json"), MaxConcurrency=5)))
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == [n * 2 for n in range(10)]
    run = machines.map_run(found["executionArn"])
    assert (run["status"], run["itemCounts"]["succeeded"], run["maxConcurrency"]) == ("SUCCEEDED", 10, 5)
    children = machines.client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert len(children) == 10
    child = machines.client.describe_execution(executionArn=children[0]["executionArn"])
    assert json.loads(child["output"]) == json.loads(child["input"])["n"] * 2
    assert child["mapRunArn"] == run["mapRunArn"]
    assert machines.events(child["executionArn"])[-1]["type"] == "ExecutionSucceeded"
