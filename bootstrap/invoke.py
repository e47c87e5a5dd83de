"""Calls of the builder's own actions, with error replies turned back into our errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from builder.aws import Clients, aws_errors
from builder.errors import LambdasmithError, error_of


class BuilderCrashed(LambdasmithError):
    """Error: the builder itself failed, not the requested action."""

    code, status, exit_code = "builder_crashed", 500, 11


@dataclass(frozen=True, kw_only=True)
class Ping:
    """The builder's reply to ping. `layer_key` is empty while it has no real layer."""

    ready: bool
    version: str
    layer_key: str
    versions: Mapping[str, str]


def ping(clients: Clients, function: str) -> Ping:
    """Ask the builder for its status. Works without its layer."""
    reply = call(clients, function, {"action": "ping"})
    versions = reply.get("versions")
    return Ping(
        ready=reply.get("ready") is True,
        version=str(reply.get("version") or ""),
        layer_key=str(reply.get("layer_key") or ""),
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
    )


def call(clients: Clients, function: str, event: Mapping[str, object]) -> dict[str, object]:
    """Invoke the builder, wait for its reply and return it.

    Raises:
        LambdasmithError: of the class of the builder's error code, with its message and hint.
        BuilderCrashed: it ended with an error of its own.
    """
    with aws_errors(f"calling {event['action']} of function {function}"):
        # Not the usual client, which gives up after a minute and would invoke the builder a second time.
        answer = clients.lambda_patient.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read() or b"null")
    # Lambda also answers 200 for a function that failed; this header is the only sign (Lambda API, Invoke).
    if "FunctionError" in answer:
        raise _crashed(function, event, payload)
    if not isinstance(payload, dict):
        raise BuilderCrashed(f"function {function} does not answer like a builder: {str(payload)[:200]}")
    error = payload.get("error")
    if isinstance(error, dict):
        raise error_of(error)
    return payload


def _crashed(function: str, event: Mapping[str, object], payload: object) -> BuilderCrashed:
    details = payload if isinstance(payload, dict) else {}
    trace = details.get("stackTrace")
    return BuilderCrashed(
        f"{event['action']} of function {function} crashed: {details.get('errorType', 'error')}: "
        f"{details.get('errorMessage', '')}",
        hint=f"its log is in CloudWatch Logs, group /aws/lambda/{function}",
        log_tail=[str(line).rstrip() for line in trace] if isinstance(trace, list) else (),
    )
