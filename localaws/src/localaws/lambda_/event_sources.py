"""Operations on event source mappings. SQS is polled by `poller`; Kinesis and DynamoDB streams push through moto."""

from __future__ import annotations

import uuid
from typing import Any

from localaws.iam.policies import role_principal
from localaws.lambda_.calls import Call, split_function
from localaws.lambda_.configuration import check_untenanted
from localaws.lambda_.functions import page, resolve
from localaws.lambda_.model import EventSourceMapping, Function
from localaws.wire.errors import InvalidParameterValueException, ResourceConflictException, ResourceNotFoundException
from localaws.wire.requests import Json

_DEFAULT_BATCH = {"sqs": 10, "kinesis": 100, "dynamodb": 100}
_SHOWN = (
    "StartingPosition",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "FilterCriteria",
    "ScalingConfig",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "FunctionResponseTypes",
    "KMSKeyArn",
    "MetricsConfig",
)


def create_event_source_mapping(call: Call) -> Json:
    params = call.params
    source: str | None = params.get("EventSourceArn")
    function, qualifier = call.function()
    resolve(function, qualifier)
    check_untenanted(function, "Event source mappings are")
    if not source or source.split(":")[2] not in _DEFAULT_BATCH:
        raise InvalidParameterValueException(
            f"Unrecognized event source: {source}. Supported here: SQS, Kinesis, DynamoDB."
        )
    with call.region.lock:
        arn = function.qualified(qualifier)
        twin = next((m for m in call.region.mappings.values() if (m.source_arn, m.function_arn) == (source, arn)), None)
        if twin:
            raise ResourceConflictException(
                f'The event source arn (" {source} ") and function (" {function.name} ") provided mapping already '
                f"exists. Please update or delete the existing mapping with UUID {twin.uuid}"
            )
        mapping = EventSourceMapping(
            uuid=str(uuid.uuid4()),
            request=dict(params),
            function_arn=arn,
            source_arn=source,
            modified_at=call.now,
            enabled=params.get("Enabled", True),
            tags=dict(params.get("Tags") or {}),
        )
        _check_batch(mapping)
        _check_source(call, function, mapping)
        call.region.mappings[mapping.uuid] = mapping
    return {**_shown(call, mapping), "State": "Creating" if mapping.enabled else "Disabled"}


def get_event_source_mapping(call: Call) -> Json:
    return _shown(call, _existing(call))


def list_event_source_mappings(call: Call) -> Json:
    source = call.params.get("EventSourceArn")
    name, _ = (
        split_function(call.params["FunctionName"], call.region) if "FunctionName" in call.params else (None, None)
    )
    entries = [
        _shown(call, mapping)
        for mapping in call.region.mappings.values()
        if source in (None, mapping.source_arn) and name in (None, split_function(mapping.function_arn, call.region)[0])
    ]
    return page(call, "EventSourceMappings", entries, default=100)


def update_event_source_mapping(call: Call) -> Json:
    with call.region.lock:
        mapping = _existing(call)
        changed = {key: value for key, value in call.params.items() if key not in ("UUID", "FunctionName")}
        if "FunctionName" in call.params:
            function, qualifier = call.function()
            check_untenanted(function, "Event source mappings are")
            mapping.function_arn = function.qualified(qualifier)
        mapping.request = {**mapping.request, **changed}
        mapping.enabled = mapping.request.get("Enabled", mapping.enabled)
        mapping.modified_at = call.now
        _check_batch(mapping)
    return _shown(call, mapping)


def delete_event_source_mapping(call: Call) -> Json:
    with call.region.lock:
        mapping = _existing(call)
        del call.region.mappings[mapping.uuid]
        holder = _stream(mapping)
        if holder is not None:
            holder.lambda_event_source_mappings.pop(mapping.uuid, None)
            holder.lambda_event_source_mappings.pop(mapping.function_arn, None)
    return {**_shown(call, mapping), "State": "Deleting"}


def batch_size(mapping: EventSourceMapping) -> int:
    return int(mapping.request.get("BatchSize") or _DEFAULT_BATCH[mapping.source_arn.split(":")[2]])


def _existing(call: Call) -> EventSourceMapping:
    mapping = call.region.mappings.get(call.params["UUID"])
    if mapping is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return mapping


def _check_batch(mapping: EventSourceMapping) -> None:
    if ":sqs:" not in mapping.source_arn:
        return
    size = batch_size(mapping)
    if mapping.source_arn.endswith(".fifo") and size > 10:
        raise InvalidParameterValueException("Batch size must be between 1 and 10 for FIFO queues.")
    # SQS hands out ten messages at a time: a larger batch has to be collected (Lambda API, CreateEventSourceMapping).
    if size > 10 and not mapping.request.get("MaximumBatchingWindowInSeconds"):
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


def _check_source(call: Call, function: Function, mapping: EventSourceMapping) -> None:
    """Raise unless the source exists, suits the function and may be read by its role. Register streams with moto."""
    if ":sqs:" in mapping.source_arn:
        _check_queue(call, function, mapping)
        return
    if not mapping.request.get("StartingPosition"):
        raise InvalidParameterValueException("1 validation error detected: StartingPosition is required for streams.")
    holder = _stream(mapping)
    if holder is None:
        raise InvalidParameterValueException(f"Stream not found: {mapping.source_arn}")
    # moto pushes records to whatever is registered, by the function's ARN.
    holder.lambda_event_source_mappings[mapping.function_arn] = _Registered(mapping)


def _check_queue(call: Call, function: Function, mapping: EventSourceMapping) -> None:
    from moto.sqs.models import sqs_backends

    _, _, _, region, account, name = mapping.source_arn.split(":")
    queue = sqs_backends[account][region].queues.get(name)
    if queue is None:
        raise InvalidParameterValueException(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error "
            "Message: The specified queue does not exist."
        )
    timeout = function.latest.configuration.timeout_s
    visibility = int(getattr(queue, "visibility_timeout"))  # noqa: B009 (moto sets it dynamically)
    # Otherwise a message would come again while the function still works on it (Lambda Developer Guide,
    # services-sqs-configure).
    if visibility < timeout:
        raise InvalidParameterValueException(
            f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        )
    # The execution role's permissions, not the caller's: Lambda polls with them.
    if call.platform.enforce_iam:
        role = role_principal(function.account, function.latest.configuration.role, function.name)
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            if not role.allows(f"sqs:{action}", mapping.source_arn):
                raise InvalidParameterValueException(
                    f"The provided execution role does not have permissions to call {action} on SQS"
                )


class _Registered:
    """Mapping in the form that moto's streams expect."""

    def __init__(self, mapping: EventSourceMapping) -> None:
        self._mapping = mapping
        self.function_arn = mapping.function_arn
        self.event_source_arn = mapping.source_arn

    @property
    def enabled(self) -> bool:
        return self._mapping.enabled


def _stream(mapping: EventSourceMapping) -> Any:
    """Return the moto object of a Kinesis stream or of a table with a stream; None if there is none."""
    _, _, service, region, account, name = mapping.source_arn.split(":", 5)
    if service == "kinesis":
        from moto.kinesis.models import kinesis_backends

        return kinesis_backends[account][region].streams.get(name.removeprefix("stream/"))
    if service == "dynamodb":
        from moto.dynamodb.models import dynamodb_backends

        return dynamodb_backends[account][region].tables.get(name.split("/")[1])
    return None


def _shown(call: Call, mapping: EventSourceMapping) -> Json:
    answer: Json = {
        "UUID": mapping.uuid,
        "BatchSize": batch_size(mapping),
        "EventSourceArn": mapping.source_arn,
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.modified_at,
        "LastProcessingResult": mapping.last_result,
        "State": "Enabled" if mapping.enabled else "Disabled",
        "StateTransitionReason": "USER_INITIATED",
        "EventSourceMappingArn": (
            f"arn:aws:lambda:{call.region.name}:{call.region.account}:event-source-mapping:{mapping.uuid}"
        ),
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
    }
    return answer | {member: mapping.request[member] for member in _SHOWN if member in mapping.request}
