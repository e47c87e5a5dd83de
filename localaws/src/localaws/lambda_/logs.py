"""Lines of functions into CloudWatch Logs, as Lambda writes them."""

from __future__ import annotations

from itertools import accumulate

from localaws.iam.policies import role_principal
from localaws.lambda_.model import Function, Version
from localaws.runtime.execution import InvokeResult


def write(function: Function, version: Version, result: InvokeResult, *, enforce_iam: bool) -> None:
    """Append an invoke's log events to its stream, making group and stream as needed.

    With enforcement, a role that may not write logs writes none, which is what happens on AWS.
    """
    from moto.logs.models import logs_backends

    group = function.log_group(version)
    if enforce_iam and not _may_write(function, version, group, result.log_stream):
        return
    backend = logs_backends[function.account][function.region]
    backend.ensure_log_group(group)
    backend.ensure_log_stream(group, result.log_stream)
    if result.log_lines:
        # Two streams of one process can overtake each other by a millisecond; CloudWatch insists on order.
        times = accumulate((at for at, _ in result.log_lines), max)
        events = [
            {"timestamp": at, "message": f"{line}\n"} for at, (_, line) in zip(times, result.log_lines, strict=True)
        ]
        backend.put_log_events(group, result.log_stream, events)


def _may_write(function: Function, version: Version, group: str, stream: str) -> bool:
    role = role_principal(function.account, version.configuration.role, function.name)
    arn = f"arn:aws:logs:{function.region}:{function.account}:log-group:{group}:log-stream:{stream}"
    return role.allows("logs:PutLogEvents", arn)
