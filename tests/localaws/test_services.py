"""Lambda together with its neighbours: S3, SQS, SNS, Step Functions, EventBridge destinations."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

import pytest

from tests.localaws.lab import Lab, wait_until

KEEP = """
import boto3, json, os
def handler(event, context):
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as asked")
    key = os.environ["KEEP"] + "/" + context.aws_request_id
    boto3.client("s3").put_object(Bucket="kept-events", Key=key, Body=json.dumps(event))
    return {"kept": key}
"""


def keeper(lab: Lab, source: str = KEEP, **overrides: Any) -> str:
    """A function that puts its events into a bucket under its own name."""
    lab.server.client("s3").create_bucket(Bucket="kept-events")
    name = lab.name("keeper")
    environment = {"Variables": {"KEEP": name}}
    return lab.function(source, FunctionName=name, Environment=environment, Timeout=20, MemorySize=512, **overrides)


def kept(lab: Lab, name: str) -> list[Any]:
    s3 = lab.server.client("s3")
    found = s3.list_objects_v2(Bucket="kept-events", Prefix=f"{name}/").get("Contents", [])
    return [json.loads(s3.get_object(Bucket="kept-events", Key=item["Key"])["Body"].read()) for item in found]


def arn_of(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


def test_an_s3_notification_invokes(lab: Lab) -> None:
    s3, name = lab.server.client("s3"), keeper(lab)
    s3.create_bucket(Bucket="noticed")
    s3.put_bucket_notification_configuration(
        Bucket="noticed",
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn_of(name), "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put_object(Bucket="noticed", Key="some/key", Body=b"x")
    (event,) = wait_until(lambda: kept(lab, name), "the notification")
    assert unquote_plus(event["Records"][0]["s3"]["object"]["key"]) == "some/key"


def test_an_sns_message_invokes(lab: Lab) -> None:
    sns, name = lab.server.client("sns"), keeper(lab)
    topic = sns.create_topic(Name=lab.name("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn_of(name))
    sns.publish(TopicArn=topic, Message="hello")
    (event,) = wait_until(lambda: kept(lab, name), "the message")
    assert event["Records"][0]["Sns"]["Message"] == "hello"


def test_an_event_for_a_pending_function_waits(slow_lab: Lab) -> None:
    sns = slow_lab.server.client("sns")
    name = slow_lab.function("def handler(e, c): print('ran')\n", wait=False)
    topic = sns.create_topic(Name="early")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn_of(name))
    sns.publish(TopicArn=topic, Message="hello")
    logs = slow_lab.server.client("logs")
    wait_until(lambda: logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"], "the logs")


def test_a_queue_is_polled_in_batches(lab: Lab) -> None:
    sqs, name = lab.server.client("sqs"), keeper(lab)
    queue = lab.name("queue")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    mapping = {"EventSourceArn": f"arn:aws:sqs:us-east-1:123456789012:{queue}", "FunctionName": name, "BatchSize": 10}
    uuid = lab.client.create_event_source_mapping(**mapping, Enabled=False)["UUID"]
    for number in range(5):
        attribute = {"n": {"DataType": "Number", "StringValue": str(number)}}
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageAttributes=attribute)
    lab.client.update_event_source_mapping(UUID=uuid, Enabled=True)
    (event,) = wait_until(lambda: kept(lab, name), "the batch")
    assert sorted(record["body"] for record in event["Records"]) == list("01234")
    record = event["Records"][0]
    assert record["eventSourceARN"] == mapping["EventSourceArn"]
    assert record["messageAttributes"]["n"]["stringValue"] == record["body"]
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    wait_until(lambda: _waiting(sqs, url) == 0, "the messages to be deleted")


PARTIAL = """
def handler(event, context):
    return {"batchItemFailures": [
        {"itemIdentifier": r["messageId"]} for r in event["Records"] if r["body"] == "bad"]}
"""


def test_partial_failures_come_back_and_end_in_the_dead_letter_queue(lab: Lab) -> None:
    sqs, name = lab.server.client("sqs"), lab.function(PARTIAL, Timeout=1)
    dead, queue = lab.name("dead"), lab.name("queue")
    dead_url = sqs.create_queue(QueueName=dead)["QueueUrl"]
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:123456789012:{dead}", "maxReceiveCount": 2}
    attributes = {"VisibilityTimeout": "1", "RedrivePolicy": json.dumps(redrive)}
    url = sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
    lab.client.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{queue}",
        FunctionName=name,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    for body in ("good", "bad"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    wait_until(lambda: _waiting(sqs, dead_url) == 1, "the bad message in the dead letter queue")
    assert _waiting(sqs, url) == 0


@pytest.mark.parametrize(
    "answer", ["{'batchItemFailures': [{'itemIdentifier': 'nobody'}]}", "{'batchItemFailures': 5}", "[]", "'text'"]
)
def test_a_report_of_the_wrong_shape(lab: Lab, answer: str) -> None:
    """An unknown identifier or a wrong shape fails the whole batch; an empty answer is a success."""
    sqs, queue = lab.server.client("sqs"), lab.name("queue")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    name = lab.function(f"def handler(e, c): return {answer}\n")
    uuid = lab.client.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{queue}",
        FunctionName=name,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )["UUID"]
    wait_until(
        lambda: lab.client.get_event_source_mapping(UUID=uuid)["LastProcessingResult"] == "OK", "the batch to be done"
    )
    assert _waiting(sqs, url) == (0 if answer == "[]" else 1)


def _waiting(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in found.values())


def test_a_filter_drops_what_does_not_match(lab: Lab) -> None:
    sqs, name = lab.server.client("sqs"), keeper(lab)
    queue = lab.name("queue")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    lab.client.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{queue}",
        FunctionName=name,
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"kind": ["wanted"]}})}]},
    )
    for kind in ("unwanted", "wanted"):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"kind": kind}))
    (event,) = wait_until(lambda: kept(lab, name), "the wanted message")
    assert [json.loads(record["body"]) for record in event["Records"]] == [{"kind": "wanted"}]
    wait_until(lambda: _waiting(sqs, url) == 0, "the unwanted message to be dropped")


def test_retries_then_destination_and_dead_letters(lab: Lab) -> None:
    sqs = lab.server.client("sqs")
    urls, arns = {}, {}
    for kind in ("failure", "success", "letters"):
        queue = lab.name(kind)
        urls[kind] = sqs.create_queue(QueueName=queue)["QueueUrl"]
        arns[kind] = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    source = "def handler(e, c):\n    if e: raise ValueError('as asked')\n    return 'fine'\n"
    name = lab.function(source, DeadLetterConfig={"TargetArn": arns["letters"]})
    destinations = {
        "OnSuccess": {"Destination": arns["success"]},
        "OnFailure": {"Destination": arns["failure"]},
    }
    lab.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, DestinationConfig=destinations
    )
    for payload in (b"1", b"0"):
        lab.client.invoke(FunctionName=name, InvocationType="Event", Payload=payload)
    success = _receive(sqs, urls["success"])
    assert (success["requestContext"]["condition"], success["responsePayload"]) == ("Success", "fine")
    failure = _receive(sqs, urls["failure"])
    assert failure["requestContext"]["condition"] == "RetriesExhausted"
    assert failure["requestContext"]["approximateInvokeCount"] == 2
    assert failure["responsePayload"]["errorMessage"] == "as asked"
    assert failure["requestPayload"] == 1
    (letter,) = wait_until(lambda: _messages(sqs, urls["letters"]), "the dead letter")
    assert letter["Body"] == "1"
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "as asked"


def _receive(sqs: Any, url: str) -> Any:
    return json.loads(wait_until(lambda: _messages(sqs, url), f"a message in {url}")[0]["Body"])


def _messages(sqs: Any, url: str) -> list[Any]:
    found: list[Any] = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", [])
    return found


def test_the_default_is_two_retries(lab: Lab) -> None:
    name = lab.function("def handler(e, c):\n    print('attempt')\n    raise ValueError\n")
    lab.client.invoke(FunctionName=name, InvocationType="Event")
    logs = lab.server.client("logs")

    def attempts() -> int:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return sum(event["message"] == "attempt\n" for event in events)

    wait_until(lambda: logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"], "logs")
    wait_until(lambda: attempts() == 3, "three attempts")


def test_a_state_machine_runs_functions(lab: Lab) -> None:
    name = lab.function("def handler(e, c):\n    if e['n'] == 3: raise KeyError('three')\n    return e['n'] * 2\n")
    machine = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.numbers",
                "Iterator": {
                    "StartAt": "Double",
                    "States": {
                        "Double": {
                            "Type": "Task",
                            "Resource": arn_of(name),
                            "Catch": [{"ErrorEquals": ["KeyError"], "Next": "Caught"}],
                            "End": True,
                        },
                        "Caught": {"Type": "Pass", "Result": "caught", "End": True},
                    },
                },
                "End": True,
            }
        },
    }
    states = lab.server.client("stepfunctions")
    created = states.create_state_machine(name=lab.name("machine"), definition=json.dumps(machine), roleArn=lab.role)
    execution = states.start_execution(
        stateMachineArn=created["stateMachineArn"], input=json.dumps({"numbers": [{"n": 1}, {"n": 2}, {"n": 3}]})
    )["executionArn"]
    found = wait_until(lambda: _ended(states, execution), "the execution to end")
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == [2, 4, "caught"]


def _ended(states: Any, execution: str) -> dict[str, Any] | None:
    found: dict[str, Any] = states.describe_execution(executionArn=execution)
    return None if found["status"] == "RUNNING" else found


def test_a_function_invokes_another_with_its_own_credentials(lab: Lab) -> None:
    inner = lab.function("def handler(e, c): return e + 1\n")
    source = (
        "import boto3, json\n"
        "def handler(e, c):\n"
        f"    answer = boto3.client('lambda').invoke(FunctionName='{inner}', Payload=json.dumps(e))\n"
        "    return json.load(answer['Payload'])\n"
    )
    outer = lab.function(source, Timeout=20, MemorySize=512)
    assert json.loads(lab.client.invoke(FunctionName=outer, Payload=b"41")["Payload"].read()) == 42
