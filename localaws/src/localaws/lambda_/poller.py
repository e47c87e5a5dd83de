"""SQS queues as event sources: batches, partial failures, visibility timeouts and redrive, as on Lambda."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from localaws.lambda_.calls import Platform, split_function
from localaws.lambda_.event_sources import batch_size
from localaws.lambda_.model import EventSourceMapping, Region
from localaws.lambda_.running import run, target
from localaws.runtime.execution import InvokeResult
from localaws.wire.errors import LambdaError, TooManyRequestsException
from localaws.wire.requests import Json

log = logging.getLogger(__name__)

TICK_S = 0.05
CONCURRENT_BATCHES = 5  # the number that AWS starts with


class Poller:
    """Poller of every enabled SQS mapping, on one thread; each batch runs on a thread of its own."""

    def __init__(self, platform: Platform, regions: Callable[[], Iterable[Region]]) -> None:
        self._platform = platform
        self._regions = regions
        self._busy: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sqs-poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._ended.wait(TICK_S):
            for region in list(self._regions()):
                for mapping in list(region.mappings.values()):
                    if mapping.enabled and ":sqs:" in mapping.source_arn:
                        self._poll(region, mapping)

    def _poll(self, region: Region, mapping: EventSourceMapping) -> None:
        # Asked before receiving: a message that is received and has to wait would use up its visibility timeout.
        limit = (mapping.request.get("ScalingConfig") or {}).get("MaximumConcurrency", CONCURRENT_BATCHES)
        if self._busy[mapping.uuid] >= limit:
            return
        try:
            messages = _receive(self._platform, mapping)
        except Exception:
            log.exception("receiving from %s failed", mapping.source_arn)
            return
        if messages:
            # Counted before the thread starts: the next tick may come first, and would exceed the limit.
            self._busy[mapping.uuid] += 1
            threading.Thread(target=self._batch, args=(region, mapping, messages), daemon=True).start()

    def _batch(self, region: Region, mapping: EventSourceMapping, messages: list[Any]) -> None:
        try:
            mapping.last_result = _process(self._platform, region, mapping, messages)
        except Exception:
            mapping.last_result = "PROBLEM: internal Lambda error"
            log.exception("a batch from %s failed", mapping.source_arn)
        finally:
            self._busy[mapping.uuid] -= 1


def _queue(mapping: EventSourceMapping) -> tuple[Any, Any]:
    from moto.sqs.models import sqs_backends

    _, _, _, region, account, name = mapping.source_arn.split(":")
    backend = sqs_backends[account][region]
    return backend, backend.queues.get(name)


def _receive(platform: Platform, mapping: EventSourceMapping) -> list[Any]:
    """Return the messages of the next batch; none while the batching window waits for more."""
    backend, queue = _queue(mapping)
    waiting = queue.messages if queue else []
    if not waiting:
        return []
    size = batch_size(mapping)
    window_s = mapping.request.get("MaximumBatchingWindowInSeconds") or 0
    oldest = min(message.sent_timestamp for message in waiting) / 1000
    # A full batch does not wait for the window (Lambda Developer Guide, invocation-eventsourcemapping).
    if len(waiting) < size and platform.clock() - oldest < window_s:
        return []
    found = backend.receive_message(queue.name, size, 0, int(queue.visibility_timeout), ["All"])
    return list(found)


def _process(platform: Platform, region: Region, mapping: EventSourceMapping, messages: list[Any]) -> str:
    """Run one batch and return what LastProcessingResult says. Failed messages return after their timeout."""
    backend, queue = _queue(mapping)
    wanted = [message for message in messages if _matches(mapping, message)]
    done = [message for message in messages if message not in wanted]
    outcome = "OK"
    if wanted:
        name, qualifier = split_function(mapping.function_arn, region)
        function = region.functions.get(name)
        if function is None:
            return "PROBLEM: Function call failed"
        event = {"Records": [_record(mapping, queue, message) for message in wanted]}
        try:
            what = target(function, qualifier, platform.clock())
            result = run(platform, what, json.dumps(event).encode(), request_id=str(uuid.uuid4()))
        except TooManyRequestsException:
            return "PROBLEM: Function call throttled"  # the messages return after their visibility timeout
        except LambdaError as error:
            return f"PROBLEM: {error.message}"
        failed = _failed_ids(mapping, result, wanted)
        done += [message for message in wanted if message.id not in failed]
        outcome = "OK" if result.function_error is None else "PROBLEM: Function call failed"
    # Only those that succeeded: the others become visible again, and the queue's redrive policy counts them.
    for message in done:
        backend.delete_message(queue.name, message.receipt_handle)
    return outcome


def _failed_ids(mapping: EventSourceMapping, result: InvokeResult, messages: list[Any]) -> set[str]:
    """Return the messages that were not processed: all after an error, else those that the function reports."""
    everything = {message.id for message in messages}
    if result.function_error:
        return everything
    if "ReportBatchItemFailures" not in (mapping.request.get("FunctionResponseTypes") or ()):
        return set()
    try:
        answer = json.loads(result.payload or b"null") or {}
        reported = {item["itemIdentifier"] for item in answer.get("batchItemFailures") or ()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return everything  # a malformed response fails the whole batch
    if reported - everything:
        return everything  # and so does an identifier that was not in the batch
    return reported


def _record(mapping: EventSourceMapping, queue: Any, message: Any) -> Json:
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": str(message.sender_id),
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
    }
    if queue.fifo_queue:
        attributes |= {
            "SequenceNumber": str(message.sequence_number),
            "MessageGroupId": str(message.group_id),
            "MessageDeduplicationId": str(message.deduplication_id),
        }
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.source_arn,
        "awsRegion": mapping.source_arn.split(":")[3],
    }


def _attribute(value: Json) -> Json:
    shown: Json = {"dataType": value.get("DataType"), "stringListValues": [], "binaryListValues": []}
    if value.get("StringValue") is not None:
        shown["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        shown["binaryValue"] = value["BinaryValue"]
    return shown


def _matches(mapping: EventSourceMapping, message: Any) -> bool:
    """Return whether a filter of the mapping matches the message.

    Messages that no filter matches are dropped.
    """
    filters = (mapping.request.get("FilterCriteria") or {}).get("Filters") or []
    if not filters:
        return True
    from moto.events.models import EventPattern

    try:
        body = json.loads(message.body)
    except ValueError:
        body = message.body
    record: Any = {"body": body}
    return any(EventPattern.load(item["Pattern"]).matches_event(record) for item in filters)
