"""Running a function once: its version, concurrency, and the limits on event and response."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from localaws.lambda_ import logs
from localaws.lambda_.calls import Platform
from localaws.lambda_.functions import resolve
from localaws.lambda_.model import ACCOUNT_CONCURRENCY, Function, Version
from localaws.runtime.execution import BadArchive, InvokeResult, RuntimeUnavailable
from localaws.wire.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    LambdaError,
    RequestTooLargeException,
    ResourceConflictException,
    TooManyRequestsException,
)

# Lambda Developer Guide, gettingstarted-limits: 6 MB each way for a synchronous invoke, 1 MB for an asynchronous one.
MAX_SYNC_BYTES = 6 * 1024 * 1024
MAX_ASYNC_BYTES = 1024 * 1024
MAX_RESPONSE_BYTES = MAX_SYNC_BYTES + 100
LOG_TAIL_BYTES = 4096


class InvalidZipFileException(LambdaError):
    status = 502


class InvalidRuntimeException(LambdaError):
    status = 502


@dataclass(frozen=True, kw_only=True)
class Target:
    """Target of one invoke: the version, the ARN as addressed, and the tenant."""

    function: Function
    version: Version
    qualifier: str | None
    tenant_id: str | None = None

    @property
    def arn(self) -> str:
        return self.function.qualified(self.qualifier)


class Running:
    """Counter of invokes in flight, for the concurrency limits."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, function: Function) -> Iterator[None]:
        """Count one running invoke of a function while the block runs.

        Raises:
            TooManyRequestsException: its reserved concurrency or the account's is used up.
        """
        with self._lock:
            reserved = function.reserved_concurrency
            if reserved is not None and self._counts[function.arn] >= reserved:
                raise TooManyRequestsException(
                    "Rate Exceeded.", Reason="ReservedFunctionConcurrentInvocationLimitExceeded", Type="User"
                )
            # The account's limit is checked second: a function with reserved concurrency is told of its own limit.
            if self._counts.total() >= ACCOUNT_CONCURRENCY:
                raise TooManyRequestsException(
                    "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded", Type="User"
                )
            # Under the same lock as the checks: two invokes must not take the last place together.
            self._counts[function.arn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[function.arn] -= 1


_RUNNING = Running()


def target(function: Function, qualifier: str | None, now: float, *, tenant_id: str | None = None) -> Target:
    """Return the target of an invoke now: routing weights applied, and the old code while an update rolls out.

    Raises:
        InvalidParameterValueException: the function isolates tenants and no tenant is named, or the reverse.
        ResourceNotFoundException: nothing has the qualifier.
        ResourceConflictException: the function is still Pending.
    """
    version = resolve(function, qualifier)
    alias = function.aliases.get(qualifier or "")
    if alias is not None and alias.weights:
        # Exactly one: RoutingConfig has at most one additional version (Lambda API, AliasRoutingConfiguration).
        ((other, weight),) = alias.weights.items()
        if random.random() < weight:  # noqa: S311 (a share of traffic, not a secret)
            version = resolve(function, other)
    _check_tenant(version, tenant_id)
    if version.state(now) == "Pending":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
    # While an update is InProgress, invokes run the previous code (Lambda Developer Guide, functions-states).
    if version is function.latest and version.settling(now) and function.previous is not None:
        version = function.previous
    return Target(function=function, version=version, qualifier=qualifier, tenant_id=tenant_id)


def _check_tenant(version: Version, tenant_id: str | None) -> None:
    if version.configuration.per_tenant and tenant_id is None:
        raise InvalidParameterValueException(
            "The invoked function is enabled with tenancy configuration. "
            "Add a valid tenant ID in your request and try again."
        )
    if tenant_id is not None and not version.configuration.per_tenant:
        raise InvalidParameterValueException(
            "The invoked function is not enabled with tenancy configuration. "
            "Remove the tenant ID from your request and try again."
        )


def run(
    platform: Platform, what: Target, payload: bytes, *, request_id: str, client_context: str | None = None
) -> InvokeResult:
    """Run a function once and write its logs.

    Raises:
        TooManyRequestsException: no concurrency left.
        InvalidZipFileException, InvalidRuntimeException: it cannot be run here.
    """
    function, version = what.function, what.version
    if version.configuration.package_type != "Zip":
        raise InvalidRuntimeException("Functions from container images do not run in the embedded AWS.")
    with _RUNNING.one(function):
        try:
            result = platform.fleet.invoke(
                platform.image(function, version, what.tenant_id),
                payload,
                request_id=request_id,
                invoked_arn=what.arn,
                client_context=client_context,
            )
        except BadArchive as error:
            raise InvalidZipFileException(f"Lambda was not able to unzip the file: {error}") from error
        except RuntimeUnavailable as error:
            raise InvalidRuntimeException(str(error)) from error
    # Outside of the count: writing logs is not part of an invocation's concurrency.
    logs.write(function, version, result, enforce_iam=platform.enforce_iam)
    return _bounded(result)


def _bounded(result: InvokeResult) -> InvokeResult:
    if len(result.payload) <= MAX_RESPONSE_BYTES:
        return result
    body = {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    return replace(result, payload=json.dumps(body).encode(), function_error="Unhandled")


def checked_payload(body: bytes, limit: int) -> bytes:
    """Return the event in a request body; an empty body is `{}`.

    Raises:
        RequestTooLargeException, InvalidRequestContentException: too big, or not JSON.
    """
    if len(body) > limit:
        raise RequestTooLargeException(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")
    if not body.strip():
        return b"{}"
    try:
        json.loads(body)
    except ValueError as error:
        raise InvalidRequestContentException(
            f"Could not parse request body into json: Could not parse payload into json: {error}"
        ) from error
    return body


def log_tail(result: InvokeResult) -> str:
    """Return the base64 of the last 4 KB of an invoke's log; it may start inside a character, as on AWS."""
    text = "".join(f"{line}\n" for _, line in result.log_lines).encode()
    return base64.b64encode(text[-LOG_TAIL_BYTES:]).decode()
