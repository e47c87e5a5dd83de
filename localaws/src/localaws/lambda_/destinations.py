"""Where the outcome of an asynchronous invoke goes: SQS, SNS, EventBridge, S3 or another function."""

from __future__ import annotations

import json
import uuid

from localaws.lambda_.calls import Platform
from localaws.lambda_.model import Function
from localaws.wire.requests import Json


def send_record(platform: Platform, destination: str, record: Json, function: Function, outcome: str) -> None:
    """Send an invocation record to the destination's ARN; `outcome` is OnSuccess or OnFailure."""
    service = destination.split(":")[2]
    body = json.dumps(record)
    match service:
        case "lambda":
            platform.invoke_event(destination, body.encode())
        case "events":
            _to_event_bus(destination, body, function, outcome)
        case "s3":
            _to_bucket(platform, destination, body, function)
        case _:
            _to_queue_or_topic(destination, body, {})


def send_dead_letter(destination: str, event: str, request_id: str, error: str) -> None:
    """Send an event that could not be processed, with Lambda's message attributes, to an SQS or SNS ARN."""
    attributes = {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": error[:1024]}
    _to_queue_or_topic(destination, event, attributes)


def _to_queue_or_topic(destination: str, body: str, attributes: dict[str, str]) -> None:
    _, _, service, region, account, name = destination.split(":", 5)
    if service == "sqs":
        from moto.sqs.models import sqs_backends

        shaped = {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()}
        sqs_backends[account][region].send_message(name, body, message_attributes=shaped)
    elif service == "sns":
        from moto.sns.models import sns_backends

        shaped_sns = {key: {"Type": "String", "Value": value} for key, value in attributes.items()}
        sns_backends[account][region].publish(body, arn=destination, message_attributes=shaped_sns)


def _to_event_bus(destination: str, body: str, function: Function, outcome: str) -> None:
    from moto.events.models import events_backends

    verdict = "Success" if outcome == "OnSuccess" else "Failure"
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {verdict}",
        "Detail": body,
        "Resources": [destination, function.arn],
        "EventBusName": destination.rsplit("/", 1)[-1],
    }
    events_backends[function.account][function.region].put_events([entry])


def _to_bucket(platform: Platform, destination: str, body: str, function: Function) -> None:
    from moto.s3.models import s3_backends

    key = f"aws/lambda/async/{function.name}/{int(platform.clock())}-{uuid.uuid4()}.json"
    s3_backends[function.account]["aws"].put_object(destination.rsplit(":", 1)[-1], key, body.encode())
