"""Running a function once: which version, under which concurrency, with which bounds on what goes in and out."""

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
    """What one invoke runs: the version, the ARN as it was addressed, and for which tenant."""

    function: Function
    version: Version
    qualifier: str | None
    tenant_id: str | None = None

    @property
    def arn(self) -> str:
        return self.function.qualified(self.qualifier)


class Running:
    """Counts invokes in flight, to hold functions to their concurrency."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, function: Function) -> Iterator[None]:
        """A place among the running invokes of a function.

        Raises:
            TooManyRequestsException: its reserved concurrency or the account's is used up.
        """
        with self._lock:
            reserved = function.reserved_concurrency
            if reserved is not None and self._counts[function.arn] >= reserved:
                raise TooManyRequestsException(
                    "Rate Exceeded.", Reason="ReservedFunctionConcurrentInvocationLimitExceeded", Type="User"
                )
            if self._counts.total() >= ACCOUNT_CONCURRENCY:
                raise TooManyRequestsException(
                    "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded", Type="User"
                )
            self._counts[function.arn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[function.arn] -= 1


_RUNNING = Running()


def target(function: Function, qualifier: str | None, now: float, *, tenant_id: str | None = None) -> Target:
    """What an invoke with this qualifier runs now: routing weights applied, old code while an update rolls out.

    Raises:
        InvalidParameterValueException: the function keeps tenants apart and no tenant is named, or the reverse.
        ResourceNotFoundException: nothing has the qualifier.
        ResourceConflictException: the function is still Pending.
    """
    version = resolve(function, qualifier)
    alias = function.aliases.get(qualifier or "")
    if alias is not None and alias.weights:
        ((other, weight),) = alias.weights.items()
        if random.random() < weight:  # noqa: S311 (a share of traffic, not a secret)
            version = resolve(function, other)
    _check_tenant(version, tenant_id)
    if version.state(now) == "Pending":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
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
        InvalidZipFileException, InvalidRuntimeException: it cannot be run here at all.
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
    """The event in a request body; nothing at all is `{}`.

    Raises:
        RequestTooLargeException, InvalidRequestContentException: too big, or no JSON.
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
    """The base64 of the last 4 KB of an invoke's log; may begin inside a character, as on AWS."""
    text = "".join(f"{line}\n" for _, line in result.log_lines).encode()
    return base64.b64encode(text[-LOG_TAIL_BYTES:]).decode()
