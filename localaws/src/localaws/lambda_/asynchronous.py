"""Asynchronous invocations: retries, then destinations or the dead-letter queue."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import dataclass

from localaws.lambda_ import destinations
from localaws.lambda_.calls import Platform
from localaws.lambda_.model import LATEST, Function, timestamp
from localaws.lambda_.running import Target, run, target
from localaws.runtime.execution import InvokeResult
from localaws.wire.errors import LambdaError, ResourceConflictException, TooManyRequestsException
from localaws.wire.requests import Json

log = logging.getLogger(__name__)

# Lambda Developer Guide, invocation-async: two retries, and six hours in the queue, unless EventInvokeConfig says less.
DEFAULT_RETRIES = 2
DEFAULT_MAX_AGE_S = 21_600
PENDING_POLL_S = 0.05


def submit(platform: Platform, what: Target, payload: bytes, *, request_id: str | None = None) -> str:
    """Queue an event and return its request id. It runs on a thread of its own, with Lambda's retries."""
    request_id = request_id or str(uuid.uuid4())
    event = _Event(platform=platform, target=what, payload=payload, request_id=request_id)
    threading.Thread(target=event.deliver, name=f"event-{request_id}", daemon=True).start()
    return request_id


def submit_from_service(platform: Platform, function: Function, qualifier: str | None, payload: bytes) -> None:
    """Queue an event from another service; it waits while the function is Pending."""

    def deliver() -> None:
        while True:
            try:
                what = target(function, qualifier, platform.clock())
            except ResourceConflictException:
                # As on AWS, where events for a Pending function stay in the queue.
                time.sleep(PENDING_POLL_S)
            except LambdaError as error:
                log.warning("an event for %s is lost: %s", function.qualified(qualifier), error.message)
                return
            else:
                _Event(platform=platform, target=what, payload=payload, request_id=str(uuid.uuid4())).deliver()
                return

    threading.Thread(target=deliver, name=f"event-{function.name}", daemon=True).start()


@dataclass(frozen=True, kw_only=True)
class _Event:
    """Event being delivered, with the retries and destinations of its qualifier."""

    platform: Platform
    target: Target
    payload: bytes
    request_id: str

    def deliver(self) -> None:
        try:
            self._attempt_until_done()
        except Exception:
            log.exception("asynchronous invoke %s of %s failed", self.request_id, self.target.arn)

    def _attempt_until_done(self) -> None:
        retries = self._config.get("MaximumRetryAttempts", DEFAULT_RETRIES)
        deadline = self.platform.clock() + self._config.get("MaximumEventAgeInSeconds", DEFAULT_MAX_AGE_S)
        attempts = 0
        current = self.target
        while True:
            try:
                result = run(self.platform, current, self.payload, request_id=self.request_id)
            except TooManyRequestsException:
                if self.platform.clock() >= deadline:
                    self._conclude("EventAgeExceeded", attempts, None)
                    return
                time.sleep(1)  # a throttle is not an attempt: Lambda retries until the event is too old
                continue
            # Nothing that a retry could change: the package or the runtime does not work here.
            except LambdaError as error:
                log.warning("%s cannot run: %s", self.target.arn, error.message)
                self._conclude("RetriesExhausted", attempts, None)
                return
            attempts += 1
            if result.function_error is None:
                self._conclude("Success", attempts, result)
                return
            if attempts > retries:
                self._conclude("RetriesExhausted", attempts, result)
                return
            time.sleep(self.platform.retry_delays_s[min(attempts, len(self.platform.retry_delays_s)) - 1])
            what = self.target
            # Resolved again: during the delay an alias may have moved, and AWS retries with the version that it has
            # then.
            current = target(what.function, what.qualifier, self.platform.clock(), tenant_id=what.tenant_id)

    @property
    def _config(self) -> Json:
        return self.target.function.event_invoke.get(self.target.qualifier or LATEST, {})

    def _conclude(self, condition: str, attempts: int, result: InvokeResult | None) -> None:
        outcome = "OnSuccess" if condition == "Success" else "OnFailure"
        configured = (self._config.get("DestinationConfig") or {}).get(outcome) or {}
        function, configuration = self.target.function, self.target.version.configuration
        if configured.get("Destination"):
            destinations.send_record(
                self.platform, configured["Destination"], self._record(condition, attempts, result), function, outcome
            )
        if outcome == "OnFailure" and configuration.dead_letter_arn:
            error = (json.loads(result.payload or b"{}") if result else {}).get("errorMessage", condition)
            destinations.send_dead_letter(configuration.dead_letter_arn, self.payload.decode(), self.request_id, error)

    def _record(self, condition: str, attempts: int, result: InvokeResult | None) -> Json:
        """Return the invocation record for destinations."""
        record: Json = {
            "version": "1.0",
            "timestamp": timestamp(self.platform.clock()).replace("+0000", "Z"),
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.target.function.qualified(self.target.qualifier or LATEST),
                "condition": condition,
                "approximateInvokeCount": attempts,
            },
            "requestPayload": json.loads(self.payload),
        }
        if result is not None:
            context: Json = {"statusCode": 200, "executedVersion": self.target.version.number}
            if result.function_error:
                context["functionError"] = result.function_error
            record |= {"responseContext": context, "responsePayload": json.loads(result.payload or b"null")}
        return record
