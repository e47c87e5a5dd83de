"""Changes to moto's interpreter, where it differs from what AWS documents."""

from __future__ import annotations

import json
import logging
import sys
from functools import cache, partial
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.state.exec.state_map import state_map
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import (
    resource_eval_s3 as item_reader,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import distributed_iteration_component
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval import (
    resource_eval_s3 as result_writer,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager

from localaws.states import mapruns
from localaws.states.clients import Clients

_LAMBDA_ERRORS = frozenset(
    {
        "TooManyRequestsException",
        "ResourceNotFoundException",
        "ServiceException",
        "ResourceConflictException",
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "RequestTooLargeException",
    }
)


@cache
def adapt(clients: Clients) -> None:
    """Change moto's interpreter; tasks call AWS with these clients."""
    # It logs every failure of a state machine as an error, and that thresholds have no effect; here they have.
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)
    # By name, because each module has imported the function for itself.
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.parser.") and hasattr(module, "boto_client_for"):
            setattr(module, "boto_client_for", clients.client)  # noqa: B010 (mypy knows no such attribute)
    component = distributed_iteration_component.DistributedIterationComponent
    for owner, name, value in (
        (ErrorEqualsDecl, "_eval_body", _matches),
        # A Map or Parallel passes on the reserved names of its parts, which moto takes for custom ones.
        (CustomErrorName, "__init__", ErrorName.__init__),
        (StateTaskLambda, "_from_error", _function_failed(StateTaskLambda._from_error)),
        (StateTaskServiceLambda, "_from_error", _invoke_failed(StateTaskServiceLambda._from_error)),
        (StateTaskServiceSfn, "_normalise_parameters", _as_members(StateTaskServiceSfn._normalise_parameters)),
        (StateTaskServiceSfn, "_normalise_response", _as_fields),
        (IterationWorker, "_eval_pool", _work_through),
        (Environment, "close_frame", _closing(Environment.close_frame)),
        (Environment, "set_error", _failing(Environment.set_error)),
        (component, "_eval_body", mapruns.evaluate),
        (state_map, "MapRunRecord", mapruns.Record),
        (item_reader.ResourceEvalS3, "_handle_list_objects_v2", staticmethod(partial(_listed, clients))),
        (result_writer.ResourceEvalS3, "_handle_put_object", staticmethod(partial(mapruns.write_results, clients))),
    ):
        setattr(owner, name, value)


# The errors that no wildcard matches.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_TERMINAL = frozenset({"States.DataLimitExceeded", "States.Runtime"})


def _matches(self: Any, env: Any) -> None:
    """Tell whether a Retry or Catch names the error on the stack."""
    error = env.stack.pop()
    name = error.error_name if error is not None else ""
    named = {one.error_name for one in self.error_names}
    if name in named:
        found = True
    elif "States.ALL" in named:
        found = name not in _TERMINAL
    elif "States.TaskFailed" in named:
        # Any error but States.Timeout; of the reserved names, only those of tasks.
        found = not name.startswith("States.")
    else:
        found = name == "States.HeartbeatTimeout" and "States.Timeout" in named
    env.stack.append(found)


def _lambda_error(ex: Exception) -> tuple[str, str] | None:
    """Return name and cause of what Lambda answered, as the service reports them."""
    if isinstance(ex, ClientError):
        _, cause = StateTaskServiceLambda._error_cause_from_client_error(ex)
        code = ex.response["Error"]["Code"]
        # Errors without a name of their own, denials above all.
        return f"Lambda.{code if code in _LAMBDA_ERRORS else 'AWSLambdaException'}", cause
    if isinstance(ex, lambda_eval_utils.LambdaFunctionErrorException):
        payload = json.loads(ex.payload)
        if isinstance(payload, dict) and payload.get("errorType"):
            return str(payload["errorType"]), ex.payload
        return "Lambda.Unknown", (
            "The cause could not be determined because Lambda did not return an error type. "
            f"Returned payload: {ex.payload}"
        )
    return None


def _function_failed(original: Any) -> Any:
    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        if (found := _lambda_error(ex)) is None:
            return original(self, env, ex)
        details: Any = {"lambdaFunctionFailedEventDetails": {"error": found[0], "cause": found[1]}}
        return FailureEvent(
            env=env,
            error_name=CustomErrorName(found[0]),
            event_type=HistoryEventType.LambdaFunctionFailed,
            event_details=details,
        )

    return from_error


def _invoke_failed(original: Any) -> Any:
    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        if (found := _lambda_error(ex)) is None:
            return original(self, env, ex)
        error, cause = found
        where = {"resource": self._get_sfn_resource(), "resourceType": self._get_sfn_resource_type()}
        details: Any = {"taskFailedEventDetails": {"error": error, "cause": cause, **where}}
        return FailureEvent(
            env=env,
            error_name=CustomErrorName(found[0]),
            event_type=HistoryEventType.TaskFailed,
            event_details=details,
        )

    return from_error


def _closing(original: Any) -> Any:
    def close_frame(self: Any, frame: Any) -> None:
        original(self, frame)
        # A task that has timed out may still end: what it says then belongs in no history.
        frame.event_manager = EventManager()

    return close_frame


def _failing(original: Any) -> Any:
    def set_error(self: Any, error: Any) -> None:
        # What fails after a stop or a time-out doesn't change how the execution ended.
        if self.is_running():
            original(self, error)

    return set_error


def _listed(clients: Clients, env: Any, resource: Any, credentials: Any) -> None:
    """Put all objects of a listing on the stack; moto reads one page."""
    client = clients.client(resource.region, "s3", credentials)
    pages = client.get_paginator("list_objects_v2").paginate(**env.stack.pop())
    env.stack.append(
        [json.loads(json.dumps(found, default=_date)) for page in pages for found in page.get("Contents", ())]
    )


def _date(value: Any) -> float:
    found: float = value.timestamp()
    return found


def _work_through(self: Any, job: Any, worker_frame: Any) -> None:
    """Evaluate the items of an inline Map, one by one; moto's method calls itself, and stands still after some 900."""
    while job is not None:
        frame = worker_frame.open_inner_frame()
        self._eval_job(env=frame, job=job)
        worker_frame.close_frame(frame)
        ends = isinstance(job.job_output, Exception) or self.stopped()
        following = None if ends else self._job_pool.next_job()
        if following is None:
            if not ends:
                last = frame.event_history_context.last_published_event_id
                worker_frame.event_history_context.source_event_id = last
            # The frame before the job: the Map waits for jobs, and goes on from what the frame left.
            self._env.close_frame(worker_frame)
        self._job_pool.close_job(job)
        if following is None:
            return
        job = following
    self._env.close_frame(worker_frame)


def _as_members(original: Any) -> Any:
    """Let tasks name the members of a request as the language does: StateMachineArn for stateMachineArn."""

    def normalise(self: Any, parameters: dict[str, Any], *others: Any, **more: Any) -> None:
        original(self, parameters, *others, **more)
        for name in list(parameters):
            parameters[name[:1].lower() + name[1:]] = parameters.pop(name)

    return normalise


def _as_fields(self: Any, response: Any, *_others: Any, **_more: Any) -> None:
    for name in list(response):
        value = response.pop(name)
        # Milliseconds, as https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html shows.
        response[name[:1].upper() + name[1:]] = int(1000 * value.timestamp()) if hasattr(value, "timestamp") else value
