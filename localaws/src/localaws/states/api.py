"""The API of Step Functions: moto's, with what it leaves out, before an interpreter that is imported at first use."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from moto.core.responses import ActionResult
from moto.stepfunctions import models, urls
from moto.stepfunctions.responses import StepFunctionResponse

from localaws.states.settings import Settings


def install(settings: Settings) -> None:
    """Let Step Functions run state machines on this server. Call this before the first request."""
    # The interpreter's grammar takes 0.6 seconds to import: a server whose account has no state machine never does.
    models.stepfunctions_backends.backend = partial(_backend, settings)  # type: ignore[assignment]
    urls.url_paths = {"{0}/$": Responses.dispatch}


def _backend(settings: Settings, region_name: str, account_id: str) -> Any:
    from localaws.states.backend import Backend, serve

    serve(settings)
    return Backend(region_name, account_id)


def resume(settings: Settings) -> None:
    """Let state machines of a loaded account run."""
    if any(True for _ in models.stepfunctions_backends.iter_backends()):
        from localaws.states.backend import serve

        serve(settings)


class Responses(StepFunctionResponse):
    """Operations that moto has not, or without members that AWS documents."""

    @property
    def stepfunction_backend(self) -> Any:
        return models.stepfunctions_backends[self.current_account][self.region]

    def validate_state_machine_definition(self) -> ActionResult:
        """Check a definition; Terraform does so while it plans."""
        problem = self.stepfunction_backend.problem_of(self._get_param("definition"))
        found = [{"severity": "ERROR", "code": problem[0], "message": problem[1]}] if problem else []
        return ActionResult({"result": "FAIL" if found else "OK", "diagnostics": found, "truncated": False})

    def publish_state_machine_version(self) -> ActionResult:
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        machine.publish(self._get_param("description"))
        version = machine.latest_version
        return ActionResult({"stateMachineVersionArn": version.arn, "creationDate": version.creation_date})

    def list_state_machine_versions(self) -> ActionResult:
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        found = [
            {"stateMachineVersionArn": version.arn, "creationDate": version.creation_date}
            for _, version in sorted(machine.versions.items(), reverse=True)
        ]
        return ActionResult({"stateMachineVersions": found})

    def describe_execution(self) -> ActionResult:
        return ActionResult(self.stepfunction_backend.describe_execution(self._get_param("executionArn")).described())

    def list_executions(self) -> ActionResult:
        found, token = self.stepfunction_backend.listed_executions(
            self._get_param("stateMachineArn"),
            self._get_param("mapRunArn"),
            self._get_param("statusFilter"),
            max_results=self._get_int_param("maxResults"),
            next_token=self._get_param("nextToken"),
        )
        return ActionResult({"executions": [one.listed() for one in found], "nextToken": token})

    def describe_state_machine_for_execution(self) -> ActionResult:
        run = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        machine = run.state_machine
        shown = {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.definition,
            "roleArn": machine.roleArn,
            "updateDate": machine.update_date,
            "loggingConfiguration": machine.loggingConfiguration,
            "tracingConfiguration": machine.tracingConfiguration,
        }
        if run.map_run_arn:
            shown |= {"mapRunArn": run.map_run_arn, "label": machine.arn.rsplit("/", 1)[-1]}
        return ActionResult(shown)

    def stop_execution(self) -> ActionResult:
        stopped = self.stepfunction_backend.stopped_execution(
            self._get_param("executionArn"), self._get_param("error"), self._get_param("cause")
        )
        return ActionResult({"stopDate": stopped.stop_date})

    def get_execution_history(self) -> ActionResult:
        events = list(self.stepfunction_backend.describe_execution(self._get_param("executionArn")).history())
        if self._get_param("reverseOrder"):
            events.reverse()
        begin = int(self._get_param("nextToken") or 0)
        end = begin + (self._get_int_param("maxResults") or 100)
        page = events[begin:end]
        if self._get_param("includeExecutionData") is False:
            page = json.loads(json.dumps(page, default=str), object_hook=_without_data)
        return ActionResult({"events": page, **({"nextToken": str(end)} if end < len(events) else {})})


def _without_data(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ("input", "output")}
