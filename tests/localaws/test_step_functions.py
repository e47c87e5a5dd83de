"""Step Functions: state machines whose tasks are functions in real environments."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localaws.stacks import Stack
from localaws.states.batches import Batches, text
from localaws.states.definitions import InvalidDefinition, parse
from localaws.testing import Server, running
from tests.localaws.lab import Lab, make_lab, refused, wait_until

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


def test_a_task_is_retried_until_its_function_succeeds(machines: Machines) -> None:
    source = (
        "class Flaky(Exception): pass\n"
        "def handler(event, context):\n"
        "    if event['tries'] < 2: raise Flaky('not yet')\n"
        "    return event['tries']\n"
    )
    state = task(
        machines.lab.function(source),
        Retry=[{"ErrorEquals": ["Flaky"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1.0}],
    )
    state["Parameters"]["Payload"] = {"tries.$": "$$.State.RetryCount"}
    del state["Parameters"]["Payload.$"]
    found = machines.run(one(state))
    assert (found["status"], found["output"]) == ("SUCCEEDED", "2"), found
    kinds = [event["type"] for event in machines.events(found["executionArn"])]
    assert kinds.count("TaskFailed") == 2
    assert kinds.count("TaskSucceeded") == 1


@pytest.mark.parametrize("resource", ["invoke", "arn"])
def test_errors_have_the_names_of_aws(machines: Machines, resource: str) -> None:
    raising = machines.lab.function("def handler(event, context):\n    raise KeyError('k')\n")
    ending = machines.lab.function("import os\ndef handler(event, context):\n    os._exit(3)\n")
    slow = machines.lab.function("import time\ndef handler(event, context):\n    time.sleep(9)\n", Timeout=1)
    found = {}
    for name in (raising, ending, slow, "nowhere"):
        state = task(name)
        if resource == "arn":
            arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
            state = {"Type": "Task", "Resource": arn, "End": True}
        found[name] = machines.run(one(state))
        assert found[name]["status"] == "FAILED"
    assert {name: one["error"] for name, one in found.items()} == {
        raising: "KeyError",
        ending: "Runtime.ExitError",
        slow: "Sandbox.Timedout",
        "nowhere": "Lambda.ResourceNotFoundException",
    }


def test_a_task_that_takes_too_long_is_caught_as_a_timeout(machines: Machines) -> None:
    slow = machines.lab.function("import time\ndef handler(event, context):\n    time.sleep(2)\n", Timeout=10)
    caught = {"ErrorEquals": ["States.Timeout"], "Next": "Late"}
    state = task(slow, TimeoutSeconds=1, Catch=[caught])
    late = {"Type": "Wait", "Seconds": 2, "Next": "Later"}  # until the function has ended
    later = {"Type": "Pass", "Result": "late", "End": True}
    found = machines.run({"StartAt": "One", "States": {"One": state, "Late": late, "Later": later}})
    assert (found["status"], found["output"]) == ("SUCCEEDED", '"late"')
    kinds = [event["type"] for event in machines.events(found["executionArn"])]
    assert "TaskTimedOut" in kinds
    assert "TaskSucceeded" not in kinds


def test_an_execution_that_takes_too_long_times_out(machines: Machines) -> None:
    found = machines.run(one({"Type": "Wait", "Seconds": 3, "End": True}, TimeoutSeconds=1))
    assert found["status"] == "TIMED_OUT"
    assert found["stopDate"] > found["startDate"]
    assert machines.events(found["executionArn"])[-1]["type"] == "ExecutionTimedOut"


def test_a_throttled_function_is_retried(machines: Machines) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return event\n"
    name = machines.lab.function(source)
    machines.lab.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    throttled = {"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 1, "MaxAttempts": 20}
    retry = [{**throttled, "BackoffRate": 1.0, "JitterStrategy": "FULL"}]
    found = machines.run(one(each(task(name, Retry=retry), MaxConcurrency=3)), {"items": [1, 2, 3]})
    assert (found["status"], found.get("output")) == ("SUCCEEDED", "[1,2,3]"), found
    run = machines.map_run(found["executionArn"])
    children = machines.client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    failed = [
        event["taskFailedEventDetails"]["error"]
        for child in children
        for event in machines.events(child["executionArn"])
        if event["type"] == "TaskFailed"
    ]
    assert set(failed) == {"Lambda.TooManyRequestsException"}


@pytest.mark.parametrize("tolerated", [{"ToleratedFailureCount": 2}, {"ToleratedFailurePercentage": 40}])
def test_a_map_run_tolerates_so_many_failures(machines: Machines, tolerated: dict[str, int]) -> None:
    name = machines.lab.function(FAILS_FOR_ODD)
    found = machines.run(one(each(task(name), **tolerated)), {"items": [{"n": n} for n in range(5)]})
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == [0, None, 2, None, 4]
    counts = machines.map_run(found["executionArn"])["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["running"], counts["pending"]) == (3, 2, 0, 0)


def test_a_map_run_fails_beyond_what_it_tolerates_and_exports_what_there_is(machines: Machines) -> None:
    name = machines.lab.function(FAILS_FOR_ODD)
    bucket = machines.bucket([])
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "out"}}
    state = each(task(name), ToleratedFailureCount=1, MaxConcurrency=1, ResultWriter=writer)
    found = machines.run(one(state), {"items": [{"n": n} for n in (0, 1, 3, 5, 7)]})
    assert (found["status"], found["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    run = machines.map_run(found["executionArn"])
    assert run["status"] == "FAILED"
    counts = run["executionCounts"]
    assert (counts["succeeded"], counts["failed"], counts["aborted"]) == (1, 2, 2)
    s3 = machines.lab.server.client("s3")
    folder = f"out/{run['mapRunArn'].rsplit(':', 1)[-1]}"
    manifest = json.load(s3.get_object(Bucket=bucket, Key=f"{folder}/manifest.json")["Body"])
    results = {}
    for kind, files in manifest["ResultFiles"].items():
        results[kind] = [
            one for file in files for one in json.load(s3.get_object(Bucket=bucket, Key=file["Key"])["Body"])
        ]
    assert {kind: len(found) for kind, found in results.items()} == {"FAILED": 2, "PENDING": 2, "SUCCEEDED": 1}
    assert {one["Error"] for one in results["FAILED"]} == {"Odd"}


def test_a_stop_ends_the_children_and_starts_no_more(machines: Machines) -> None:
    lab = machines.lab
    name = lab.function("import time\ndef handler(event, context):\n    time.sleep(0.5)\n    print('done')\n")
    execution = machines.start(machines.create(one(each(task(name), MaxConcurrency=2))), {"items": list(range(20))})
    run = wait_until(lambda: machines.client.list_map_runs(executionArn=execution)["mapRuns"], "the Map Run")[0]

    def counts() -> dict[str, int]:
        found: dict[str, int] = machines.client.describe_map_run(mapRunArn=run["mapRunArn"])["executionCounts"]
        return found

    wait_until(lambda: counts()["succeeded"], "a child to end")
    machines.client.stop_execution(executionArn=execution, error="Enough", cause="of this")
    found = machines.client.describe_execution(executionArn=execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Enough", "of this")
    assert machines.events(execution)[-1]["type"] == "ExecutionAborted"
    assert counts()["running"] == 0
    assert counts()["succeeded"] + counts()["aborted"] == 20
    started = machines.client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert len(started) < 20
    assert "ABORTED" in {child["status"] for child in started}
    time.sleep(1)
    assert machines.client.list_executions(mapRunArn=run["mapRunArn"])["executions"] == started
    assert machines.client.describe_map_run(mapRunArn=run["mapRunArn"])["status"] == "ABORTED"


def test_the_concurrency_of_a_map_run_can_be_raised(machines: Machines) -> None:
    name = machines.lab.function("import time\ndef handler(event, context):\n    time.sleep(0.4)\n")
    execution = machines.start(machines.create(one(each(task(name), MaxConcurrency=1))), {"items": list(range(12))})
    run = wait_until(lambda: machines.client.list_map_runs(executionArn=execution)["mapRuns"], "the Map Run")[0]
    machines.client.update_map_run(mapRunArn=run["mapRunArn"], maxConcurrency=4)

    def counts() -> dict[str, int]:
        found: dict[str, int] = machines.client.describe_map_run(mapRunArn=run["mapRunArn"])["executionCounts"]
        return found

    wait_until(lambda: counts()["running"] == 4, "four children at once")
    assert machines.end(execution)["status"] == "SUCCEEDED"


def test_items_are_given_in_batches(machines: Machines) -> None:
    name = machines.lab.function("def handler(event, context):\n    return event\n")
    batcher = {"MaxItemsPerBatch": 2, "BatchInput": {"stage.$": "States.Format('{}!', $.stage)", "fixed": 1}}
    state = each(task(name), ItemBatcher=batcher, ItemSelector={"value.$": "$$.Map.Item.Value"})
    found = machines.output(one(state), {"items": [1, 2, 3], "stage": "dev"})
    common = {"stage": "dev!", "fixed": 1}
    assert found == [
        {"BatchInput": common, "Items": [{"value": 1}, {"value": 2}]},
        {"BatchInput": common, "Items": [{"value": 3}]},
    ]


def test_objects_of_a_prefix_are_items(machines: Machines) -> None:
    name = machines.lab.function("def handler(event, context):\n    return event['Key']\n")
    bucket = machines.bucket([])
    listing = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": bucket}}
    assert machines.output(one(each(task(name), ItemReader=listing))) == ["items.json"]


def test_a_reserved_error_of_an_item_is_that_of_its_map(machines: Machines) -> None:
    slow = machines.lab.function("import time\ndef handler(event, context):\n    time.sleep(2)\n", Timeout=10)
    late = {**task(slow), "TimeoutSeconds": 1}
    state = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": inner(late), "End": True}
    assert machines.run(one(state), {"items": [1]})["error"] == "States.Timeout"


def test_an_inline_map_has_many_items(machines: Machines) -> None:
    state = {"Type": "Map", "ItemProcessor": inner({"Type": "Pass", "End": True}), "MaxConcurrency": 1, "End": True}
    assert machines.output(one({**state, "ItemsPath": "$.items"}), {"items": list(range(1200))}) == list(range(1200))


def test_a_state_machine_runs_another(machines: Machines) -> None:
    other = machines.create(one({"Type": "Pass", "Result": 7, "End": True}))
    start = "arn:aws:states:::states:startExecution.sync:2"
    state = {"Type": "Task", "Resource": start, "Parameters": {"StateMachineArn": other, "Input": {}}, "End": True}
    assert machines.output(one(state))["Output"] == 7


def test_an_item_reader_that_finds_nothing_fails_the_state(machines: Machines) -> None:
    found = machines.run(one(each({"Type": "Pass", "End": True}, ItemReader=reader("nowhere-at-all", "k"))))
    assert (found["status"], found["error"]) == ("FAILED", "States.ItemReaderFailed")


def test_wrong_definitions_are_refused(machines: Machines) -> None:
    with refused("InvalidDefinition", "MISSING_TRANSITION_TARGET: Missing 'Next' target: Gone"):
        machines.create(one({"Type": "Pass", "Next": "Gone"}))
    with refused("InvalidDefinition", "SCHEMA_VALIDATION_FAILED"):
        machines.create(one({"Type": "Dance", "End": True}))
    with refused("InvalidDefinition", "INVALID_JSON_DESCRIPTION"):
        machines.client.create_state_machine(name="broken", definition="{", roleArn=machines.lab.role)
    with refused("NotImplementedByLocalAws", "Variables", 501):
        machines.create(one({"Type": "Pass", "Assign": {"x": 1}, "End": True}))
    with refused("NotImplementedByLocalAws", "JSONata", 501):
        machines.create(one({"Type": "Pass", "QueryLanguage": "JSONata", "End": True}))


def test_definitions_are_checked_without_a_state_machine(machines: Machines) -> None:
    check = machines.client.validate_state_machine_definition
    assert check(definition=json.dumps(one({"Type": "Pass", "End": True})))["result"] == "OK"
    found = check(definition=json.dumps(one({"Type": "Pass", "Next": "Gone"})))
    assert found["result"] == "FAIL"
    (problem,) = found["diagnostics"]
    assert problem["code"] == "SCHEMA_VALIDATION_FAILED"
    assert "Gone" in problem["message"]


def test_versions_and_aliases_run_what_they_were(machines: Machines) -> None:
    machine = machines.create(one({"Type": "Pass", "Result": 1, "End": True}))
    first = machines.client.publish_state_machine_version(stateMachineArn=machine)["stateMachineVersionArn"]
    changed = json.dumps(one({"Type": "Pass", "Result": 2, "End": True}))
    machines.client.update_state_machine(stateMachineArn=machine, definition=changed, publish=True)
    route = {"stateMachineVersionArn": first, "weight": 100}
    alias = machines.client.create_state_machine_alias(name="live", routingConfiguration=[route])
    outputs = [
        machines.end(machines.start(arn))["output"]
        for arn in (machine, first, alias["stateMachineAliasArn"], f"{machine}:2")
    ]
    assert outputs == ["2", "1", "1", "2"]
    listed = machines.client.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in listed] == [f"{machine}:2", first]


def test_a_state_machine_is_created_once(machines: Machines) -> None:
    definition = one({"Type": "Pass", "End": True})
    machine = machines.create(definition, name="once", tags=[{"key": "team", "value": "shop"}])
    assert machines.create(definition, name="once") == machine
    with refused("StateMachineAlreadyExists", machine):
        machines.create(one({"Type": "Pass", "End": True, "Comment": "other"}), name="once")
    assert machines.client.list_tags_for_resource(resourceArn=machine)["tags"] == [{"key": "team", "value": "shop"}]
    running = machines.start(machine)
    seen = machines.client.describe_state_machine_for_execution(executionArn=running)
    machines.client.update_state_machine(stateMachineArn=machine, definition=json.dumps(one({"Type": "Fail"})))
    assert machines.end(running)["status"] == "SUCCEEDED"
    assert machines.end(machines.start(machine))["status"] == "FAILED"
    again = machines.client.describe_state_machine_for_execution(executionArn=running)
    assert again["definition"] == seen["definition"] == json.dumps(definition)
    machines.client.delete_state_machine(stateMachineArn=machine)
    with refused("StateMachineDoesNotExist", machine):
        machines.client.describe_state_machine(stateMachineArn=machine)


def test_two_executions_do_not_share_a_name(machines: Machines) -> None:
    machine = machines.create(one({"Type": "Pass", "End": True}))
    started = machines.client.start_execution(stateMachineArn=machine, name="first", input="{}")["executionArn"]
    assert started == f"{machine.replace(':stateMachine:', ':execution:')}:first"
    machines.end(started)
    with refused("ExecutionAlreadyExists", started):
        machines.client.start_execution(stateMachineArn=machine, name="first", input='{"other": 1}')
    with refused("InvalidExecutionInput", "Invalid State Machine Execution Input"):
        machines.client.start_execution(stateMachineArn=machine, input="{")


@pytest.fixture(scope="module")
def strict() -> Iterator[Machines]:
    with running(enforce_iam=True) as server:
        yield machines_of(make_lab(server))


def test_a_state_machine_has_the_rights_of_its_role(strict: Machines) -> None:
    lab = strict.lab
    name = lab.function("def handler(event, context):\n    return event\n")
    bucket = strict.bucket([1, 2])
    definition = one(each(task(name), ItemReader=reader(bucket, "items.json")))
    invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": f"arn:aws:lambda:*:*:function:{name}"}
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": "arn:aws:states:*:*:stateMachine:*"}
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}

    def ended(*statements: dict[str, Any]) -> dict[str, Any]:
        role = lab.server.create_role(lab.name("states"), *statements, service="states.amazonaws.com")
        return strict.end(strict.start(strict.create(definition, roleArn=role)))

    found = ended(invoke, start, read)
    assert (found["status"], found.get("output")) == ("SUCCEEDED", "[1,2]"), found
    assert ended(invoke, start)["error"] == "States.ItemReaderFailed"
    assert ended(invoke, read)["error"] == "States.Permissions"
    denied = ended(start, read)
    assert denied["error"] == "States.ExceedToleratedFailureThreshold"
    run = strict.map_run(denied["executionArn"])
    child = strict.client.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED")["executions"][0]
    failed = strict.client.describe_execution(executionArn=child["executionArn"])
    assert failed["error"] == "Lambda.AWSLambdaException"
    assert "is not authorized to perform: lambda:InvokeFunction" in failed["cause"]


def test_a_role_has_to_trust_step_functions(strict: Machines) -> None:
    with refused("AccessDeniedException", "is authorized to assume the provided role"):
        strict.create(one({"Type": "Pass", "End": True}))


def test_executions_are_kept_and_copied(tmp_path: Path) -> None:
    def seen(server: Server) -> dict[str, Any]:
        client = server.client("stepfunctions")
        machine = client.list_state_machines()["stateMachines"][0]["stateMachineArn"]
        found = {}
        for listed in client.list_executions(stateMachineArn=machine)["executions"]:
            arn = listed["executionArn"]
            runs = client.list_map_runs(executionArn=arn)["mapRuns"]
            described = [client.describe_map_run(mapRunArn=run["mapRunArn"]) for run in runs]
            children = [client.list_executions(mapRunArn=run["mapRunArn"])["executions"] for run in runs]
            history = client.get_execution_history(executionArn=arn)["events"]
            shown = client.describe_execution(executionArn=arn)
            for answer in (shown, *described):
                del answer["ResponseMetadata"]
            found[listed["name"]] = {"shown": shown, "history": history, "runs": described, "children": children}
        return found

    with running(state=tmp_path / "base") as server:
        machines = machines_of(make_lab(server))
        name = machines.lab.function("import time\ndef handler(event, context):\n    time.sleep(event)\n")
        machine = machines.create(one(each(task(name))))
        start = machines.client.start_execution
        first = start(stateMachineArn=machine, name="ended", input='{"items": [0, 0]}')["executionArn"]
        machines.end(first)
        start(stateMachineArn=machine, name="running", input='{"items": [0, 3]}')
        before = seen(server)["ended"]
    with running(copy_of=tmp_path / "base") as server:
        found = seen(server)
        assert found["ended"] == before
        assert [child["status"] for child in found["ended"]["children"][0]] == ["SUCCEEDED", "SUCCEEDED"]
        interrupted = found["running"]
        assert (interrupted["shown"]["status"], interrupted["history"][-1]["type"]) == ("ABORTED", "ExecutionAborted")
        assert [run["status"] for run in interrupted["runs"]] == ["ABORTED"]
        again = machines_of(make_lab(server))
        execution = again.start(machine, {"items": [0]})
        assert again.end(execution)["status"] == "SUCCEEDED"


def test_a_stack_has_a_state_machine(machines: Machines) -> None:
    definition = one({"Type": "Pass", "Result": "${Said}", "End": True})
    properties = {"RoleArn": machines.lab.role, "Definition": definition}
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    stack = Stack(machines.lab.server, machines.lab.name("stack"))
    for said in ("one", "two"):
        properties["DefinitionSubstitutions"] = {"Said": said}
        stack.deploy({"Resources": {"Machine": resource}, "Outputs": {"Arn": {"Value": {"Ref": "Machine"}}}})
        assert machines.end(machines.start(stack.outputs["Arn"]))["output"] == json.dumps(said)
    stack.delete()
    with refused("StateMachineDoesNotExist", ""):
        machines.start(stack.outputs["Arn"])


@given(st.lists(st.text(max_size=40), min_size=1), st.integers(1, 9), st.integers(60, 400))
def test_batches_have_all_items_in_order_and_keep_to_their_limits(items: list[str], most: int, size: int) -> None:
    batcher = {"MaxItemsPerBatch": most, "MaxInputBytesPerBatchPath": "$.size"}
    made = list(Batches(batcher, {"size": size}, {"BatchInput": {"size": size}}).of(items))
    assert [item for batch, _ in made for item in batch["Items"]] == items
    for batch, count in made:
        assert batch["BatchInput"] == {"size": size}
        assert 1 <= count == len(batch["Items"]) <= most
        assert count == 1 or len(text(batch)) <= size


def test_a_wrong_path_is_not_caught_by_a_wildcard(machines: Machines) -> None:
    state = {"Type": "Pass", "InputPath": "$.nothing", "End": True}
    caught = {"ErrorEquals": ["States.ALL"], "Next": "After"}
    group = {"Type": "Parallel", "Branches": [inner(state)], "Catch": [caught], "End": True}
    found = machines.run({"StartAt": "One", "States": {"One": group, "After": {"Type": "Succeed"}}})
    assert (found["status"], found["error"]) == ("FAILED", "States.Runtime")


_WORDS = st.sampled_from(
    [
        "StartAt",
        "States",
        "One",
        "Type",
        "Pass",
        "Map",
        "Task",
        "Parallel",
        "Choice",
        "Next",
        "End",
        "Branches",
        "Choices",
        "Catch",
        "Retry",
        "ItemProcessor",
        "Iterator",
        "ItemBatcher",
        "BatchInput",
        "ItemReader",
        "ToleratedFailurePercentage",
        "ExecutionType",
        "EXPRESS",
        "Resource",
        "Default",
    ]
)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | _WORDS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_WORDS, inside, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(_WORDS, _ANYTHING), st.sampled_from(["Pass", "Map", "Parallel", "Choice", "Task"]))
def test_any_json_is_a_definition_or_is_refused(state: dict[str, Any], kind: str) -> None:
    for definition in (state, one({**state, "Type": kind})):
        with suppress(InvalidDefinition):
            parse(json.dumps(definition))
