"""A custom resource's request: parsing it, and turning it into an event of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from builder.errors import InvalidEvent
from builder.event.fields import bare, shown
from builder.jsontext import json_or_text
from builder.network.urls import is_http

Kind = Literal["Create", "Update", "Delete"]
_KINDS: tuple[Kind, ...] = ("Create", "Update", "Delete")
_ACTIONS = ("build", "package")
# CloudFormation's own properties, and one that only forces an update by its change.
_NOT_OURS = ("ServiceToken", "ServiceTimeout", "Trigger")
# Key of the state that goes with the event to the next attempt.
ATTEMPT = "LambdasmithAttempt"
_LONGEST_S = 3600
# Digits of an attempt's numbers: more than any time in seconds.
_MAX_NUMBER = 1 << 40
# S3's own hosts, in all spellings and partitions.
_S3_HOST = re.compile(r"(?:[a-z0-9.-]+\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.(?:com(?:\.cn)?|eu)")


@dataclass(frozen=True, kw_only=True)
class StackRequest:
    """Request for one custom resource.

    `url` lets anyone who has it respond in our place. `physical_id` is our earlier name of the resource, None on
    Create.
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
        """Parse the request in `event`.

        Args:
            endpoints: URLs of AWS in this environment, if they are not AWS's own.

        Raises:
            InvalidEvent: no response is possible: nothing in it can be trusted to come from CloudFormation.
        """
        names = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")
        problems = [f"{name}: must be text" for name in names if not isinstance(event.get(name), str)]
        kind = next((kind for kind in _KINDS if kind == event["RequestType"]), None)
        if kind is None:
            problems.append(f"RequestType: {shown(event['RequestType'])} is not one of {', '.join(_KINDS)}")
        url = str(event["ResponseURL"])
        if not problems and not (is_http(url) and _is_s3(url, endpoints)):
            # Not the whole URL: it lets anyone who has it respond.
            host = shown(urlsplit(url).netloc) if is_http(url) else "what it names"
            problems.append(f"ResponseURL: {host} is not a host of S3")
        properties, old = (_mapping(event.get(name)) for name in ("ResourceProperties", "OldResourceProperties"))
        attempt, until = _attempt(event, now + _patience_s(properties), problems)
        if problems or kind is None:
            raise InvalidEvent(
                f"this is not a request of CloudFormation: {'; '.join(problems)}",
                hint='for an invoke of your own, send for example {"action": "ping"}',
                problems=problems,
            )
        return cls(
            kind=kind,
            url=url,
            stack=str(event["StackId"]),
            request_id=str(event["RequestId"]),
            resource=str(event["LogicalResourceId"]),
            physical_id=str(event["PhysicalResourceId"]) if event.get("PhysicalResourceId") else None,
            properties=properties,
            old_properties=old,
            attempt=attempt,
            until=until,
        )

    @property
    def name(self) -> str:
        """Physical id of the resource: the function's name or the project's, so that `Ref` is useful.

        Another name means another resource to CloudFormation, which then deletes the one before.
        """
        named = (self.properties.get(name) for name in ("Function", "function", "Project", "project"))
        usable = (given for given in named if isinstance(given, str) and given.isprintable() and given)
        return next(usable, self.resource)[:1024]

    @property
    def build_id(self) -> str:
        """One per attempt: a build that ran out of time has ended, and its id always returns that result."""
        allowed = re.sub(r"[^A-Za-z0-9._-]", "-", self.request_id)[:120]
        return allowed if self.attempt == 1 else f"{allowed}.{self.attempt}"


def event_of(request: StackRequest) -> dict[str, object]:
    """Return the properties as an event of ours.

    CloudFormation turns every scalar into a string. Names may be ours or start with capitals; an empty value counts as
    absent, because a template cannot leave out a parameter.

    Raises:
        InvalidEvent: for problems that `parse_event` could not report as well.
    """
    problems: list[str] = []
    sent = _plain({name: value for name, value in request.properties.items() if name not in _NOT_OURS}, problems)
    for name in ("source", "alias"):
        if isinstance(given := sent.get(name), Mapping):
            sent[name] = _plain(given, problems)
    if isinstance(alias := sent.get("alias"), dict):
        alias["weight"] = _number(alias.get("weight"))
    if isinstance(invoke := sent.get("invoke"), str):
        # In a structure of the template, numbers would become texts.
        sent["invoke"] = json_or_text(invoke)
    action = sent.setdefault("action", "package")
    if not isinstance(action, str) or (action.split() or [""])[0].lower() not in _ACTIONS:
        problems.append(f"Action: {shown(action)}: a custom resource can {' or '.join(_ACTIONS)}")
    if "build_id" in sent:
        problems.append("BuildId: the id of CloudFormation's request is the build id; leave it out")
    if problems:
        message = "the properties are not valid: " + "; ".join(problems)
        raise InvalidEvent(
            message, hint="fix the properties in the template; docs/cloudformation.md lists them", problems=problems
        )
    sent["build_id"] = request.build_id
    sent.setdefault("by", f"CloudFormation, {stack_name(request.stack)}"[:128])
    return sent


def _is_s3(url: str, endpoints: tuple[str, ...]) -> bool:
    """Return whether a response may be sent there: to S3, or to its substitute in another environment."""
    parts = urlsplit(url)
    if any((parts.scheme, parts.netloc) == urlsplit(endpoint)[:2] for endpoint in endpoints):
        return True
    return parts.scheme == "https" and parts.netloc == parts.hostname and bool(_S3_HOST.fullmatch(parts.netloc))


def _attempt(event: Mapping[str, object], until: float, problems: list[str]) -> tuple[int, float]:
    """Return the number of the attempt, and until when CloudFormation waits: `until` for the first one."""
    said = _mapping(event.get(ATTEMPT))
    numbers = [
        value
        for value in (said.get("number", 1), said.get("until", until))
        if isinstance(value, int | float) and 0 <= value < _MAX_NUMBER
    ]
    if len(numbers) < 2:
        problems.append(f"{ATTEMPT}: is the builder's own and has two numbers; leave it out")
        return 1, until
    return int(numbers[0]), float(numbers[1])


def _patience_s(properties: Mapping[str, object]) -> float:
    """Return how long CloudFormation waits: the template's `ServiceTimeout`, else an hour."""
    given = str(properties.get("ServiceTimeout", ""))
    return min(int(given), _LONGEST_S) if re.fullmatch("[0-9]{1,9}", given) else _LONGEST_S


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _plain(given: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    """Return the properties under our names (RepoName → repo_name), without empty ones."""
    found: dict[str, object] = {}
    for name, value in given.items():
        ours = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()
        if ours in found:
            problems.append(f"{bare(name)}: given twice, in two spellings")
        elif value != "":
            found[ours] = value
    return found


def _number(value: object) -> object:
    """Convert a text to a number; other values stay, and the event's own parser refuses them."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def stack_name(arn: str) -> str:
    """Return `shop` of arn:aws:cloudformation:REGION:ACCOUNT:stack/shop/UUID."""
    parts = arn.split("/")
    return parts[1] if len(parts) > 1 else arn
