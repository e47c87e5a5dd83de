"""Faults on demand, the record of calls, and Lambda's rates."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from localaws.__main__ import main
from localaws.interception.faults import Fault, FaultError
from localaws.lambda_.rates import ControlPlaneRates
from localaws.wire.errors import TooManyRequestsException
from tests.localaws.lab import Lab, refused

# Puts objects under its first key, as often as it is told, and answers how each call went.
PUTTER = """
import boto3, json
from botocore.config import Config
def handler(event, context):
    config = Config(retries={"mode": "standard", "total_max_attempts": event.get("attempts", 1)})
    s3, outcomes = boto3.client("s3", config=config), []
    for number in range(event.get("puts", 1)):
        try:
            s3.list_objects_v2(Bucket="faults")
            s3.put_object(Bucket="faults", Key=f"{event['key']}/{number}", Body=b"x")
            outcomes.append("put")
        except Exception as error:
            response = getattr(error, "response", None) or {}
            outcomes.append(response.get("Error", {}).get("Code") or type(error).__name__)
    return outcomes
"""


@pytest.fixture(scope="module")
def putter(lab: Lab) -> str:
    lab.server.client("s3").create_bucket(Bucket="faults")
    return lab.function(PUTTER, FunctionName="putter", Timeout=30, MemorySize=512)


def put(lab: Lab, key: str, **event: object) -> Any:
    answer = lab.client.invoke(FunctionName="putter", Payload=json.dumps({"key": key, **event}))
    result = json.loads(answer["Payload"].read())
    return result["errorType"] if "FunctionError" in answer else result


def stored(lab: Lab, key: str) -> list[str]:
    found = lab.server.client("s3").list_objects_v2(Bucket="faults", Prefix=f"{key}/").get("Contents", [])
    return [item["Key"].rpartition("/")[2] for item in found]


@pytest.mark.parametrize(("do", "kept"), [("kill-before", ["0"]), ("kill-after", ["0", "1"])])
def test_a_function_dies_at_the_chosen_call_and_the_next_invocation_is_well(
    lab: Lab, putter: str, do: str, kept: list[str]
) -> None:
    with lab.server.fault(do, function=putter, operation="s3:PutObject", at=2) as fault:
        assert put(lab, do, puts=3) == "Runtime.ExitError"
        assert stored(lab, do) == kept
    assert fault.fired == 1
    assert put(lab, do, puts=3) == ["put"] * 3


@pytest.mark.parametrize(("do", "code"), [("throttle", "SlowDown"), ("fail", "InternalError")])
def test_aws_says_no_as_often_as_it_was_told(lab: Lab, putter: str, do: str, code: str) -> None:
    with lab.server.fault(do, function=putter, calls="writing", at=1, times=2) as fault:
        assert put(lab, do, puts=2, attempts=3) == ["put", "put"]
    assert fault.fired == 2
    with lab.server.fault(do, function=putter, calls="writing", at=1, times=None):
        assert put(lab, f"{do}-always", puts=2, attempts=2) == [code, "put"]
    assert stored(lab, f"{do}-always") == ["1"]


def test_a_dropped_call_has_taken_effect(lab: Lab, putter: str) -> None:
    with lab.server.fault("drop", function=putter, operation="s3:PutObject"):
        assert put(lab, "dropped") == ["ConnectionClosedError"]
    assert stored(lab, "dropped") == ["0"]


def test_only_the_invocations_with_the_event_are_met(lab: Lab, putter: str) -> None:
    with lab.server.fault("fail", function=putter, event={"key": "met"}, calls="reading") as fault:
        assert put(lab, "other") == ["put"]
        assert put(lab, "met") == ["InternalError"]
    assert fault.fired == 1
    with lab.server.fault("fail", function="another"):
        assert put(lab, "met") == ["put"]


def test_a_kill_ends_one_environment_of_several(lab: Lab, putter: str) -> None:
    killing = lab.server.fault("kill-before", function=putter, event={"key": "ends"}, at=9)
    with killing as fault, ThreadPoolExecutor(4) as pool:
        lives = [pool.submit(put, lab, f"lives-{number}", puts=20) for number in range(3)]
        ends = pool.submit(put, lab, "ends", puts=20)
    assert ends.result() == "Runtime.ExitError"
    assert [one.result() for one in lives] == [["put"] * 20] * 3
    assert fault.fired == 1
    assert len(stored(lab, "ends")) == 4


def test_calls_are_recorded_with_what_became_of_them(lab: Lab, putter: str) -> None:
    with lab.server.fault("drop", function=putter, calls="writing", at=1):
        answer = lab.client.invoke(FunctionName=putter, Payload=json.dumps({"key": "seen", "attempts": 2, "puts": 2}))
        assert json.load(answer["Payload"]) == ["put", "put"]
    calls = lab.server.calls(request_id=answer["ResponseMetadata"]["RequestId"])
    assert [
        (one["number"], one["attempt"], one["name"], one["writes"], one["fault"], one["status"]) for one in calls
    ] == [
        (1, 1, "s3:ListObjectsV2", False, None, 200),
        (2, 1, "s3:PutObject", True, "drop", 200),
        (2, 2, "s3:PutObject", True, None, 200),
        (3, 1, "s3:ListObjectsV2", False, None, 200),
        (4, 1, "s3:PutObject", True, None, 200),
    ]
    assert {one["path"] for one in calls} == {"/faults", "/faults/seen/0", "/faults/seen/1"}
    assert lab.server.calls(function="another") == []


def test_every_services_own_words(lab: Lab) -> None:
    source = (
        "import boto3\nfrom botocore.config import Config\n"
        "def handler(event, context):\n"
        "    client = boto3.client(event['service'], config=Config(retries={'total_max_attempts': 1}))\n"
        "    try:\n        getattr(client, event['call'])(**event['with'])\n"
        "    except client.exceptions.ClientError as error:\n"
        "        return [error.response['Error']['Code'], error.response['ResponseMetadata']['HTTPStatusCode']]\n"
    )
    name = lab.function(source, Timeout=30, MemorySize=512)
    for service, call, arguments, throttled, failed in (
        ("lambda", "list_functions", {}, ["TooManyRequestsException", 429], ["ServiceException", 500]),
        ("s3", "head_bucket", {"Bucket": "faults"}, ["503", 503], ["500", 500]),
        ("ssm", "get_parameter", {"Name": "/x"}, ["ThrottlingException", 400], ["InternalFailure", 500]),
        ("iam", "list_roles", {}, ["Throttling", 400], ["InternalFailure", 500]),
    ):
        payload = json.dumps({"service": service, "call": call, "with": arguments})
        for do, expected in (("throttle", throttled), ("fail", failed)):
            with lab.server.fault(do, function=name):
                answer = lab.client.invoke(FunctionName=name, Payload=payload)
                assert json.load(answer["Payload"]) == expected, (service, do)


def test_a_fault_that_means_nothing_is_refused_with_every_problem(lab: Lab) -> None:
    impossible = lab.server.fault("explode", function="", opration="s3:*", at=0)
    with pytest.raises(ValueError, match="opration is no member of a fault; is operation meant") as caught, impossible:
        pass
    for part in ("do: 'explode' is not one of", "function: '' is not the name", "at: 0 is not a number from 1"):
        assert part in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
)


@given(
    _JSON | st.dictionaries(st.sampled_from(["do", "function", "event", "operation", "calls", "at", "times"]), _JSON)
)
def test_any_json_is_a_fault_or_told_why_not(value: object) -> None:
    try:
        fault = Fault.parse(value)
    except FaultError:
        return
    else:
        assert isinstance(value, dict)
        assert {name: getattr(fault, name) for name in value} == value


def test_a_file_of_faults_is_checked_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "faults.json"
    file.write_text('[{"do": "kill-before"}]')
    assert main(["serve", "--port", "0", "--faults", str(file)]) == 1
    assert f"--faults {file}: function is missing" in capsys.readouterr().err


def test_rates_are_those_of_the_documentation() -> None:
    now = 0.0
    rates = ControlPlaneRates(enforced=True, clock=lambda: now)

    def allowed(operation: str, count: int) -> int:
        done = 0
        for _ in range(count):
            try:
                rates.take("1", "r", operation)
            except TooManyRequestsException:
                continue
            done += 1
        return done

    assert allowed("UpdateAlias", 10) + allowed("ListLayers", 10) == 15
    assert allowed("GetFunction", 120) == 100
    assert allowed("Invoke", 120) == 120
    now = 0.5
    assert allowed("ListFunctions", 20) == 7


def test_a_server_can_hold_callers_to_lambdas_rates(lab: Lab) -> None:
    once = lab.server.client("lambda", config=Config(retries={"total_max_attempts": 1}))
    with lab.server.rate_limits():
        with refused("TooManyRequestsException", "Rate exceeded", 429):
            for _ in range(200):
                once.list_functions(MaxItems=1)
        with pytest.raises(ClientError, match="ResourceNotFound"):
            once.get_function(FunctionName="none")
    for _ in range(20):
        once.list_functions(MaxItems=1)
