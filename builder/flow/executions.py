"""Executions of Step Functions: started, asked how far they are, and stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from builder.aws import Expected, aws_errors
from builder.errors import AccessDenied

if TYPE_CHECKING:
    from builder.aws import Clients

# Names that Step Functions allows for an execution.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_GONE = {"ExecutionDoesNotExist"}


class StepFunctions(Protocol):
    """The calls that the builder makes."""

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Mapping[str, Any]:  # noqa: N803
        """Start an execution; one of the same name and input that runs counts as this one."""

    def describe_execution(self, *, executionArn: str) -> Mapping[str, Any]:  # noqa: N803
        """Return its state."""

    def stop_execution(self, *, executionArn: str, cause: str) -> Mapping[str, Any]:  # noqa: N803
        """Stop it, and the child executions of its Distributed Map."""

    def list_map_runs(self, *, executionArn: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:  # noqa: N803
        """Return the runs of its Distributed Map."""

    def describe_map_run(self, *, mapRunArn: str) -> Mapping[str, Any]:  # noqa: N803
        """Return how far such a run is."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of an execution: `status` is Step Functions' own word, `cause` what it says of it."""

    status: str
    cause: str


class Executions:
    """Executions of the account, as the builder's role may see them."""

    def __init__(self, clients: Clients) -> None:
        self._states = cast("StepFunctions", clients.states)

    def start(self, machine: str, build_id: str, given: Mapping[str, object]) -> str:
        """Start the execution of a build, unless it was started before; return its ARN.

        Raises:
            AccessDenied, AwsRefused, AwsUnavailable: Step Functions refuses.
        """
        name = build_id if _NAME.fullmatch(build_id) else hashlib.sha256(build_id.encode()).hexdigest()
        with aws_errors(f"starting an execution of {machine}"), Expected({"ExecutionAlreadyExists"}):
            self._states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    def end_of(self, arn: str) -> Ended | None:
        """Return the end of an execution, None while it runs."""
        with aws_errors(f"looking at execution {arn}"), Expected(_GONE) as gone:
            found = self._states.describe_execution(executionArn=arn)
        if gone.error:
            return Ended(status="GONE", cause="Step Functions no longer knows it")
        status = str(found["status"])
        if status in ("RUNNING", "PENDING_REDRIVE"):
            return None
        return Ended(status=status, cause=str(found.get("cause") or found.get("error") or ""))

    def progress(self, arn: str) -> str:
        """Say how many parts of a running execution are done; nothing if that cannot be told."""
        try:
            with aws_errors(f"looking at execution {arn}"):
                runs = self._states.list_map_runs(executionArn=arn)["mapRuns"]
                if not runs:
                    return ""
                counts = self._states.describe_map_run(mapRunArn=str(runs[0]["mapRunArn"]))["itemCounts"]
        except AccessDenied:
            return ""
        done = int(counts["succeeded"]) + int(counts["failed"])
        return f"{done} of {counts['total']} parts are made" if counts["total"] else ""

    def stop(self, arn: str, why: str) -> None:
        """Stop an execution; one that has ended stays as it is."""
        with aws_errors(f"stopping execution {arn}"), Expected(_GONE):
            self._states.stop_execution(executionArn=arn, cause=why)
