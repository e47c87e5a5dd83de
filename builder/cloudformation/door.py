"""The CloudFormation door: a custom resource's request → an event like any other → a PUT to where CloudFormation waits.

The function's return value is not read here: CloudFormation invokes it asynchronously and waits for the response, an
hour unless the template says otherwise. So a response is always sent, also after an error.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

from builder.cloudformation.answer import Reason, attributes, fitted
from builder.cloudformation.request import ATTEMPT, StackRequest, event_of, stack_name
from builder.errors import AwsUnavailable, LambdasmithError

if TYPE_CHECKING:
    from builder.cloudformation.memory import Memory
    from builder.replies.deploys import Error
    from builder.replies.reply import Reply
    from builder.secrets.masking import Masker

log = logging.getLogger(__name__)

# Lambda stops a suspected loop after 16 invocations, also if functions invoke each other directly:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
_MOST_ATTEMPTS = 12


@dataclass(frozen=True, kw_only=True)
class Door:
    """Dependencies of a response.

    `reply` handles an event of ours; `again` invokes this function with an event, asynchronously; `memory` opens the
    earlier responses; `log_place` names the log; `clock` gives seconds since the epoch.
    """

    reply: Callable[[Mapping[str, object]], Reply]
    again: Callable[[Mapping[str, object]], None]
    memory: Callable[[], Memory]
    masker: Masker
    endpoints: tuple[str, ...]
    log_place: str
    clock: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The response to send."""

    status: Literal["SUCCESS", "FAILED"]
    name: str
    reason: Reason = field(default_factory=Reason)
    data: Mapping[str, object] = field(default_factory=dict)


class Answered(TypedDict):
    """What the function returns, which nobody reads; `custom_resource` is None where another invocation goes on."""

    statusCode: int
    custom_resource: Literal["SUCCESS", "FAILED"] | None
    build_id: str


def answer(event: Mapping[str, object], door: Door) -> Answered:
    """Carry out the request and answer CloudFormation; for the log, what was answered.

    Raises:
        InvalidEvent: the request has no usable address for a response.
        AwsUnavailable: the response cannot be delivered.
        Exception: a bug of ours, after the response was sent.
    """
    request = StackRequest.parse(event, endpoints=door.endpoints, now=door.clock())
    door.masker.add(urlsplit(request.url).query)
    try:
        outcome = _outcome(event, request, door)
    except Exception as error:
        why = Reason(
            message=f"the builder failed with an internal error ({type(error).__name__})",
            hint="its log has the traceback: please report it",
            place=door.log_place,
        )
        _send(request, Outcome(status="FAILED", name=_kept_name(request), reason=why))
        raise
    if outcome is None:
        return {"statusCode": 202, "custom_resource": None, "build_id": request.build_id}
    _send(request, outcome)
    status = 200 if outcome.status == "SUCCESS" else 400
    return {"statusCode": status, "custom_resource": outcome.status, "build_id": request.build_id}


def _outcome(event: Mapping[str, object], request: StackRequest, door: Door) -> Outcome | None:
    """Return the response; None if another invocation will send it."""
    if request.kind == "Delete":
        # Nothing is deleted: other functions or a rollback may need the artifacts, and a function has its users.
        return Outcome(status="SUCCESS", name=_kept_name(request))
    try:
        sent = event_of(request)
        memory = door.memory()
        known = memory.recall(request, door.clock())
        if known is not None and (known.is_repeated or sent["action"] == "package"):
            data = known.data
        else:
            reply = door.reply(known.pinned(sent) if known else sent)
            if reply["statusCode"] == 202:
                return None
            if "error" in reply:
                return _failed(event, request, reply, door)
            data = attributes(reply)
        outcome = Outcome(status="SUCCESS", name=request.name, data=data)
        # Made here only to see that it fits: an error now still becomes a response.
        _body(request, outcome)
    except LambdasmithError as error:
        failure: Error = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
        }
        why = Reason.of(door.masker.mask_json(failure), door.log_place)
        return Outcome(status="FAILED", name=_kept_name(request), reason=why)
    try:
        # Before the response is sent: afterwards CloudFormation may send the next request, which needs this memory.
        memory.keep(request, data, door.clock())
    except LambdasmithError as error:
        log.warning("the answer was not stored", extra={"fields": {"error": error.message}})
    return outcome


def _failed(event: Mapping[str, object], request: StackRequest, reply: Reply, door: Door) -> Outcome | None:
    """Return the outcome of an error; None if the build ran out of time and the next invocation continues it."""
    # Only as long as each invocation stores something new: otherwise the builder would invoke itself without end.
    error: Error = {**reply["error"]}
    if error["code"] == "out_of_time":
        stuck = request.attempt > 1 and not reply.get("stored")
        if not stuck and request.attempt < _MOST_ATTEMPTS and door.clock() < request.until:
            try:
                door.again({**event, ATTEMPT: {"number": request.attempt + 1, "until": request.until}})
            except LambdasmithError as refused:
                error["hint"] = f"handing over to another invocation failed: {refused.message}; {refused.hint}"
            else:
                log.info("handed over", extra={"fields": {"attempt": request.attempt, "phase": error.get("phase")}})
                return None
        tried = f"{error['message']}; {request.attempt} invocations have worked on it"
        error["message"] = f"{tried}, and the last one got no further" if stuck else tried
        if stuck:
            error["hint"] = "raise the builder's memory (it brings processor time) and timeout in config.ini"
    return Outcome(status="FAILED", name=_kept_name(request), reason=Reason.of(error, door.log_place))


def _kept_name(request: StackRequest) -> str:
    """Return the resource's present name: with another one CloudFormation would delete the old resource."""
    return request.physical_id or request.name


def _body(request: StackRequest, outcome: Outcome) -> bytes:
    """Return the response in CloudFormation's format.

    Raises:
        ArtifactTooLarge: it does not fit, even without a reason.
    """
    answered: dict[str, object] = {
        "Status": outcome.status,
        "PhysicalResourceId": outcome.name,
        "StackId": request.stack,
        "RequestId": request.request_id,
        "LogicalResourceId": request.resource,
        "Data": outcome.data,
    }
    return fitted(answered, outcome.reason)


def _send(request: StackRequest, outcome: Outcome) -> None:
    """PUT the response with an empty content type: the URL is signed for that."""
    import urllib3

    pool = _pool(urlsplit(request.url))
    retries = urllib3.Retry(
        total=5, redirect=0, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), allowed_methods=None
    )
    body = _body(request, outcome)
    try:
        given = pool.request(
            "PUT", request.url, body=body, headers={"Content-Type": ""}, retries=retries, redirect=False
        )
        problem = "" if given.status < 300 else f"S3 says {given.status}"
    except urllib3.exceptions.HTTPError as error:
        problem = type(error).__name__  # its text contains the URL
    finally:
        pool.clear()
    log.info(
        "custom resource",
        extra={
            "fields": {
                "kind": request.kind,
                "stack": stack_name(request.stack),
                "resource": request.resource,
                "status": outcome.status,
                "reason": outcome.reason.text(),
                "attempt": request.attempt,
                "sent": not problem,
            }
        },
    )
    if problem:
        raise AwsUnavailable(f"CloudFormation was not answered: {problem}", hint="it waits until ServiceTimeout")


def _pool(url: Any) -> Any:
    """Return connections to the URL's host, through the environment's proxy if there is one for it."""
    import urllib.request

    import urllib3

    timeout = urllib3.Timeout(connect=5, read=10)
    proxy = None if urllib.request.proxy_bypass(url.hostname) else urllib.request.getproxies().get(url.scheme)
    return urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)
