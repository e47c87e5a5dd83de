"""Waits: for Lambda's states, and for what AWS needs some seconds to spread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from builder.aws import Clients, aws_errors
from builder.errors import AwsRefused, LambdasmithError

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import WaiterConfigTypeDef

_T = TypeVar("_T")
# GetFunction may be called 100 times a second per account; the waiters' own 1 s is longer than most changes take.
_POLL: WaiterConfigTypeDef = {"Delay": 0.15, "MaxAttempts": 2000}  # type: ignore[typeddict-item] # it goes to time.sleep


def until_settled(clients: Clients, function: str) -> None:
    """Return when the function is active and its last change has arrived.

    Raises:
        AwsRefused: it failed, or five minutes passed.
    """
    from botocore.exceptions import WaiterError

    with aws_errors(f"waiting for function {function}"):
        try:
            clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig=_POLL)
            clients.lambda_.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=_POLL)
        except WaiterError as error:
            raise AwsRefused(f"function {function} does not become ready: {_reason(clients, function)}") from error


def _reason(clients: Clients, function: str) -> str:
    known = clients.lambda_.get_function_configuration(FunctionName=function)
    return known.get("StateReason") or known.get("LastUpdateStatusReason") or "it takes longer than five minutes"


def patiently(
    attempt: Callable[[], _T],
    *,
    retry: Callable[[LambdasmithError], bool],
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """The result of `attempt`, repeated with growing pauses while `retry` accepts its error, for `patience_s`."""
    deadline, pause = clock() + patience_s, 0.25
    while True:
        try:
            return attempt()
        except LambdasmithError as error:
            if not retry(error) or clock() + pause > deadline:
                raise
        sleep(pause)
        pause = min(pause * 1.6, 4.0)
