"""The CloudFormation door: a custom resource's request → an event like any other → a PUT to where CloudFormation waits.

Nobody reads what the function returns here: CloudFormation invokes it asynchronously, and until the answer is there it
waits, an hour unless the template says otherwise. So whatever happens, an answer is sent.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from builder.cloudformation_answer import attributes, fitted, reason
from builder.errors import AwsUnavailable, InvalidEvent, LambdasmithError
from builder.event_fields import bare, shown

if TYPE_CHECKING:
    from builder.cloudformation_memory import Memory
    from builder.masking import Masker
    from builder.reply import Reply

log = logging.getLogger(__name__)

Kind = Literal["Create", "Update", "Delete"]
_KINDS: tuple[Kind, ...] = ("Create", "Update", "Delete")
_ACTIONS = ("build", "package")
# CloudFormation's own, and one of which we only see that it changed.
_NOT_OURS = ("ServiceToken", "ServiceTimeout", "Trigger")
# What goes with the event to the next attempt.
_ATTEMPT = "LambdasmithAttempt"
_LONGEST_S = 3600
# Lambda stops what it takes for a loop after 16 invocations, also where functions invoke each other directly:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
_MOST_ATTEMPTS = 12
# S3's own hosts, in all spellings and partitions.
_S3_HOST = re.compile(r"(?:[a-z0-9.-]+\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.(?:com(?:\.cn)?|eu)")


@dataclass(frozen=True, kw_only=True)
class StackRequest:
    """One request for one custom resource.

    `url` lets whoever has it answer in our place. `physical_id` is what we called the resource before, None on Create.
    `attempt` counts from 1 the invocations that have worked on it, `until` is when CloudFormation stops waiting, in
    seconds since the epoch.
    """

    kind: Kind
    url: str = field(repr=False)
    stack: str
    request_id: str
    resource: str
    physical_id: str | None
    properties: Mapping[str, object]
    old_properties: Mapping[str, object]
    attempt: int
    until: float

    @classmethod
    def parse(cls, event: Mapping[str, object], *, endpoints: tuple[str, ...], now: float) -> StackRequest:
        """The request that `event` is.

        Args:
            endpoints: URLs that AWS is reached by here, where they are not AWS's own.

        Raises:
            InvalidEvent: it cannot be answered: nothing in it can be trusted to come from CloudFormation.
        """
        names = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")
        problems = [f"{name}: must be text" for name in names if not isinstance(event.get(name), str)]
        if event["RequestType"] not in _KINDS:
            problems.append(f"RequestType: {shown(event['RequestType'])} is none of {', '.join(_KINDS)}")
        url = str(event["ResponseURL"])
        if not problems and not _is_s3(url, endpoints):
            problems.append(f"ResponseURL: {shown(urlsplit(url).netloc)} is not a host of S3")
        if problems:
            raise InvalidEvent(
                f"this is no request of CloudFormation's: {'; '.join(problems)}",
                hint='for an invoke of your own, send for example {"action": "ping"}',
                problems=problems,
            )
        properties, old = (_mapping(event.get(name)) for name in ("ResourceProperties", "OldResourceProperties"))
        attempt = _mapping(event.get(_ATTEMPT))
        return cls(
            kind=cast("Kind", event["RequestType"]),
            url=url,
            stack=str(event["StackId"]),
            request_id=str(event["RequestId"]),
            resource=str(event["LogicalResourceId"]),
            physical_id=str(event["PhysicalResourceId"]) if event.get("PhysicalResourceId") else None,
            properties=properties,
            old_properties=old,
            attempt=int(cast("int", attempt.get("number", 1))),
            until=float(cast("float", attempt.get("until", now + _patience_s(properties)))),
        )

    @property
    def name(self) -> str:
        """What the resource is called towards CloudFormation: the function's name, so that `Ref` is good for something.

        Another name means another resource to CloudFormation, which then deletes the one before.
        """
        given = self.properties.get("Function", self.properties.get("function"))
        return given[:1024] if isinstance(given, str) and given.isprintable() and given else self.resource

    @property
    def build_id(self) -> str:
        """One per attempt: a build that ran out of time has ended, and its id answers so for ever."""
        allowed = re.sub(r"[^A-Za-z0-9._-]", "-", self.request_id)[:120]
        return allowed if self.attempt == 1 else f"{allowed}.{self.attempt}"


def event_of(request: StackRequest) -> dict[str, object]:
    """What the properties ask for, as an event of ours.

    CloudFormation makes text of every scalar. Names may be ours or begin with capitals; what is empty counts as left
    out, because a template cannot leave out a parameter.

    Raises:
        InvalidEvent: with what is wrong that `parse_event` could not say as well.
    """
    problems: list[str] = []
    sent = _plain({name: value for name, value in request.properties.items() if name not in _NOT_OURS}, problems)
    for name in ("source", "alias"):
        if isinstance(sent.get(name), Mapping):
            sent[name] = _plain(cast("Mapping[str, object]", sent[name]), problems)
    if isinstance(sent.get("alias"), dict):
        alias = cast("dict[str, object]", sent["alias"])
        alias["weight"] = _number(alias.get("weight"))
    if isinstance(sent.get("invoke"), str):
        sent["invoke"] = _json(cast("str", sent["invoke"]))
    action = sent.setdefault("action", "package")
    if not isinstance(action, str) or (action.split() or [""])[0].lower() not in _ACTIONS:
        problems.append(f"Action: {shown(action)}: a custom resource can {' or '.join(_ACTIONS)}")
    if "build_id" in sent:
        problems.append("BuildId: the id of CloudFormation's request is the build's; leave it out")
    if problems:
        message = "the properties are not valid: " + "; ".join(problems)
        raise InvalidEvent(message, hint="mend the template", problems=problems)
    sent["build_id"] = request.build_id
    sent.setdefault("by", f"CloudFormation, {_stack_name(request.stack)}"[:128])
    return sent


@dataclass(frozen=True, kw_only=True)
class Door:
    """What answering needs of the world.

    `reply` answers an event of ours; `again` invokes this function with an event, asynchronously; `memory` opens what
    was answered before; `log_place` says where the log is; `clock` gives seconds since the epoch.
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
    """What is to be answered."""

    status: Literal["SUCCESS", "FAILED"]
    name: str
    reason: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


def answer(event: Mapping[str, object], door: Door) -> Reply:
    """Carry out the request and answer CloudFormation; for the log, what was answered.

    Raises:
        InvalidEvent: there is nobody to answer.
        AwsUnavailable: the answer does not get there.
        Exception: by a mistake of our own, after it was answered.
    """
    request = StackRequest.parse(event, endpoints=door.endpoints, now=door.clock())
    door.masker.add(urlsplit(request.url).query)
    try:
        outcome = _outcome(event, request, door)
    except Exception as error:
        told = f"the builder failed by a mistake of its own ({type(error).__name__}); its log has the traceback"
        _send(request, Outcome(status="FAILED", name=_kept_name(request), reason=f"{told}: {door.log_place}"))
        raise
    if outcome is None:
        return {"statusCode": 202, "custom_resource": None, "build_id": request.build_id}
    _send(request, outcome)
    status = 200 if outcome.status == "SUCCESS" else 400
    return {"statusCode": status, "custom_resource": outcome.status, "build_id": request.build_id}


def _outcome(event: Mapping[str, object], request: StackRequest, door: Door) -> Outcome | None:
    """What to answer; None where another invocation will."""
    if request.kind == "Delete":
        # Nothing is deleted: artifacts may be another function's, or a rollback's; a function has its users.
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
        _body(request, outcome)
    except LambdasmithError as error:
        told = door.masker.mask_json({"message": error.message, "hint": error.hint})
        return Outcome(status="FAILED", name=_kept_name(request), reason=reason(told, door.log_place))
    try:
        memory.keep(request, data, door.clock())
    except LambdasmithError as error:
        log.warning("the answer is not remembered", extra={"fields": {"error": error.message}})
    return outcome


def _failed(event: Mapping[str, object], request: StackRequest, reply: Reply, door: Door) -> Outcome | None:
    """A build that ran out of time is handed to the next invocation, as long as that gets it anywhere."""
    error = dict(cast("Mapping[str, object]", reply["error"]))
    if error["code"] == "out_of_time":
        stuck = request.attempt > 1 and not reply.get("stored")
        if not stuck and request.attempt < _MOST_ATTEMPTS and door.clock() < request.until:
            try:
                door.again({**event, _ATTEMPT: {"number": request.attempt + 1, "until": request.until}})
            except LambdasmithError as refused:
                error["hint"] = f"handing over to another invocation failed: {refused.message}; {refused.hint}"
            else:
                log.info("handed over", extra={"fields": {"attempt": request.attempt, "phase": error.get("phase")}})
                return None
        tried = f"{error['message']}; {request.attempt} invocations have worked on it"
        error["message"] = f"{tried}, and the last one got no further" if stuck else tried
        if stuck:
            error["hint"] = "raise the builder's memory (it brings processor time) and timeout in config.ini"
    return Outcome(status="FAILED", name=_kept_name(request), reason=reason(error, door.log_place))


def _kept_name(request: StackRequest) -> str:
    """The name that changes nothing: with another one CloudFormation would delete the resource as it was."""
    return request.physical_id or request.name


def _body(request: StackRequest, outcome: Outcome) -> bytes:
    """The answer as CloudFormation wants it.

    Raises:
        ArtifactTooLarge: not even without a reason it fits.
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
    """PUT the answer, with an empty content type: the URL is signed for that."""
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
        problem = type(error).__name__  # its text has the URL
    finally:
        pool.clear()
    log.info(
        "custom resource",
        extra={
            "fields": {
                "kind": request.kind,
                "stack": _stack_name(request.stack),
                "resource": request.resource,
                "status": outcome.status,
                "reason": outcome.reason,
                "attempt": request.attempt,
                "sent": not problem,
            }
        },
    )
    if problem:
        raise AwsUnavailable(f"CloudFormation was not answered: {problem}", hint="it waits until ServiceTimeout")


def _pool(url: Any) -> Any:
    """Connections to the URL's host, through the environment's proxy if there is one for it."""
    import urllib.request

    import urllib3

    timeout = urllib3.Timeout(connect=5, read=10)
    proxy = None if urllib.request.proxy_bypass(url.hostname) else urllib.request.getproxies().get(url.scheme)
    return urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)


def _is_s3(url: str, endpoints: tuple[str, ...]) -> bool:
    """Whether an answer may go there: to S3, or to what stands for it where AWS is not AWS's own."""
    parts = urlsplit(url)
    if any((parts.scheme, parts.netloc) == urlsplit(endpoint)[:2] for endpoint in endpoints):
        return True
    return parts.scheme == "https" and parts.netloc == parts.hostname and bool(_S3_HOST.fullmatch(parts.netloc))


def _patience_s(properties: Mapping[str, object]) -> float:
    """How long CloudFormation waits: `ServiceTimeout` of the template, an hour without it."""
    given = str(properties.get("ServiceTimeout", ""))
    return min(int(given), _LONGEST_S) if given.isdecimal() else _LONGEST_S


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _plain(given: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    """Our names for what may be written as RepoName or repo_name, without what is empty."""
    found: dict[str, object] = {}
    for name, value in given.items():
        ours = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()
        if ours in found:
            problems.append(f"{bare(name)}: given twice, in two spellings")
        elif value != "":
            found[ours] = value
    return found


def _number(value: object) -> object:
    """The number that a text is; what is none stays, for the event's own reader to refuse."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _json(text: str) -> object:
    """The JSON value that a text is, or the text: in a structure of the template, numbers would become texts."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _stack_name(arn: str) -> str:
    """`shop` of arn:aws:cloudformation:REGION:ACCOUNT:stack/shop/UUID."""
    parts = arn.split("/")
    return parts[1] if len(parts) > 1 else arn
