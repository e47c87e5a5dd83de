"""Map Runs of Distributed Maps: children that are executions of their own, batches, thresholds, results in S3.

https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
"""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from moto.stepfunctions.parser.api import (
    ExecutionStatus,
    HistoryEventType,
    MapRunFailedEventDetails,
    MapRunStartedEventDetails,
    MapRunStatus,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.map_run_record import (
    MapRunRecord,
)
from moto.stepfunctions.parser.asl.eval.states import ItemData, MapData

from localaws.iam.policies import role_principal
from localaws.states.batches import Batches, text
from localaws.states.clients import Clients
from localaws.states.executions import STARTED, Run
from localaws.wire.errors import AccessDeniedException

MAX_CHILDREN = 1000  # at once; AWS allows 10,000, this machine's threads are fewer
_COUNTERS: Mapping[Any, str] = {
    ExecutionStatus.SUCCEEDED: "succeeded",
    ExecutionStatus.FAILED: "failed",
    ExecutionStatus.TIMED_OUT: "timed_out",
    ExecutionStatus.ABORTED: "aborted",
}


class MapRun:
    """Children of one Map Run, a limited number at a time. moto's `record` of the run holds limits and counts."""

    def __init__(self, record: Any, parent: Run, env: Any, program: Any, given: list[tuple[Any, int]]) -> None:
        self._record, self._parent, self._env, self._program = record, parent, env, program
        self._changed = threading.Condition(threading.RLock())
        self._aborted = False
        self.children = [self._child(content) for content, _ in given]
        self._items = {id(child): items for child, (_, items) in zip(self.children, given, strict=True)}
        self._pending = deque(self.children)
        self._running: set[int] = set()
        for child in self.children:
            self._count(child, total=1, pending=1)

    def _child(self, content: Any) -> Run:
        parent, name = self._parent, str(uuid.uuid4())
        machine = copy.copy(parent.state_machine)
        machine.arn = self._record.map_state_machine_arn
        label = machine.arn.rsplit("/", 1)[-1]
        prefix = parent.exec_arn.rsplit(":", 1)[0]
        child = Run(
            program=self._program,
            name=name,
            sm_type=parent.sm_type,
            role_arn=parent.role_arn,
            exec_arn=f"{prefix}/{label}:{name}",
            account_id=parent.account_id,
            region_name=parent.region_name,
            state_machine=machine,
            start_date=datetime.now(tz=UTC),
            cloud_watch_logging_session=None,
            activity_store={},
            input_data=json.dumps(content),
        )
        child.map_run_arn, child.enforce_iam = self._record.map_run_arn, parent.enforce_iam
        child._ended = lambda: self._has_ended(child)
        return child

    def _count(self, child: Run, **changes: int) -> None:
        for counter, times in (
            (self._record.execution_counter, 1),
            (self._record.item_counter, self._items[id(child)]),
        ):
            for name, change in changes.items():
                getattr(counter, name).offset(change * times)

    def run(self) -> bool:
        """Run the children; return whether no more than tolerated failed."""
        with self._changed:
            while self._env.is_running() and not self._aborted and not self.exceeded():
                while self._pending and len(self._running) < (self._record.max_concurrency or MAX_CHILDREN):
                    self._start(self._pending.popleft())
                if not self._running:
                    break
                self._changed.wait(0.1)  # not only woken: the limits may change, and the parent may time out
            failed = self.exceeded()
        if self._running or self._pending:
            self.abort()
        return not failed

    def _start(self, child: Run) -> None:
        self._running.add(id(child))
        self._count(child, pending=-1, running=1)
        child.start_date = datetime.now(tz=UTC)
        child.start()

    def _has_ended(self, child: Run) -> None:
        status = _COUNTERS[child.exec_status]
        with self._changed:
            self._running.discard(id(child))
            written = {"results_written": 1} if status == "succeeded" else {}
            self._count(child, running=-1, **{status: 1}, **written)
            self._changed.notify_all()

    def abort(self) -> None:
        """Stop what runs, and start nothing more."""
        with self._changed:
            self._aborted = True
            pending, self._pending = self._pending, deque()
            running = [child for child in self.children if id(child) in self._running]
            for child in pending:
                self._count(child, pending=-1, aborted=1)
            self._changed.notify_all()
        for child in running:
            child.stop(datetime.now(tz=UTC), None, None)

    def exceeded(self) -> bool:
        counter, record = self._record.item_counter, self._record
        failed = counter.failed.get() + counter.timed_out.get()
        if not failed:
            return False
        count, percentage = record.tolerated_failure_count, record.tolerated_failure_percentage
        # Without any, the first failure is too many; either one ends the run.
        if not count and not percentage:
            return True
        share = 100 * failed / counter.total.get()
        return bool((count and failed > count) or (percentage and share > percentage))


# Map Runs that have not ended, by ARN. Not in moto's records, which are saved with the account.
_LIVE: dict[str, MapRun] = {}


class Record(MapRunRecord):
    """moto's record of a Map Run, with its children."""

    def __init__(self, **details: Any) -> None:
        super().__init__(**details)
        self.children: list[Run] = []

    def abort(self) -> None:
        """Stop the Map Run's children, if it runs."""
        if (run := _LIVE.get(self.map_run_arn)) is not None:
            run.abort()
            self.set_stop(status=MapRunStatus.ABORTED)

    def interrupt(self) -> None:
        """End a Map Run whose threads ended with the server."""
        if self.status == MapRunStatus.RUNNING:
            self.set_stop(status=MapRunStatus.ABORTED)
            for counter in (self.execution_counter, self.item_counter):
                for name in ("running", "pending"):
                    counter.aborted.offset(getattr(counter, name).get())
                    getattr(counter, name).offset(-getattr(counter, name).get())

    def describe(self) -> Any:
        return {**super().describe(), "redriveCount": 0}


def evaluate(self: Any, env: Any) -> None:
    """Evaluate a Distributed Map; takes the place of moto's method."""
    given = env.stack.pop()
    record = env.localaws_map_run = given.map_run_record
    details = MapRunStartedEventDetails(mapRunArn=record.map_run_arn)
    _event(env, HistoryEventType.MapRunStarted, mapRunStartedEventDetails=details)
    try:
        _check_permission(env)
        inputs = list(_inputs(self, env, given, _items(env, given)))
        run = MapRun(record, _run_of(env), env, self._get_iteration_program(), inputs)
        record.children = run.children
        _LIVE[record.map_run_arn] = run
        _run(run, self, env)
    except Exception as error:
        _event(env, HistoryEventType.MapRunFailed, mapRunFailedEventDetails=_why(error))
        record.set_stop(status=MapRunStatus.FAILED)
        raise
    finally:
        _LIVE.pop(record.map_run_arn, None)
    if not env.is_running():  # stopped, or timed out
        record.set_stop(status=MapRunStatus.ABORTED)
        raise InterruptedError("the Map Run was aborted")
    _event(env, HistoryEventType.MapRunSucceeded)
    record.set_stop(status=MapRunStatus.SUCCEEDED)
    env.stack.append([child.output for child in run.children])


def _run(run: MapRun, component: Any, env: Any) -> None:
    if run.run():
        return
    if component.result_writer is not None:  # exports also what a failed Map Run did
        env.stack.append(None)
        component.result_writer.eval(env)
        env.stack.pop()
    cause = "The specified tolerated failure threshold was exceeded"
    raise _failure(env, "StatesExceedToleratedFailureThreshold", cause)


def _event(env: Any, kind: HistoryEventType, **details: Any) -> None:
    env.event_manager.add_event(context=env.event_history_context, event_type=kind, event_details=details or None)


def _run_of(env: Any) -> Run:
    """Return the execution of an environment."""
    return STARTED[env.states.context_object.context_object_data["Execution"]["Id"]]


def _failure(env: Any, error: str, cause: str) -> FailureEventException:
    kind = StatesErrorNameType[error]
    details: Any = {"taskFailedEventDetails": {"error": kind.to_name(), "cause": cause}}
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=StatesErrorName(typ=kind),
            event_type=HistoryEventType.TaskFailed,
            event_details=details,
        )
    )


def _why(error: Exception) -> MapRunFailedEventDetails:
    details = MapRunFailedEventDetails()
    named = error.extract_error_cause_pair() if isinstance(error, FailureEventException) else None
    for member, value in zip(("error", "cause"), named or (), strict=False):
        if value:
            details[member] = value  # type: ignore[literal-required]
    return details


def _check_permission(env: Any) -> None:
    """Refuse a role that may not start the children, which are executions of its own state machine.

    https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
    """
    run = _run_of(env)
    if not run.enforce_iam:
        return
    account, role = run.account_id, run.role_arn
    try:
        role_principal(account, role, "StepFunctions").require("states:StartExecution", run.state_machine.arn)
    except AccessDeniedException as error:
        raise _failure(env, "StatesPermissions", error.message) from error


def _items(env: Any, given: Any) -> list[Any]:
    """Return the items of a Map, from its input or its ItemReader."""
    if given.item_reader is None:
        found: list[Any] = given.input_items
        return found
    try:
        given.item_reader.eval(env=env)
    except FailureEventException:
        raise
    except Exception as error:
        raise _failure(env, "StatesItemReaderFailed", str(error)) from error
    items = env.stack.pop()
    if not isinstance(items, list):
        raise _failure(env, "StatesItemReaderFailed", "Attempting to map over non-iterable node.")
    return items


def _inputs(component: Any, env: Any, given: Any, items: list[Any]) -> Iterator[tuple[Any, int]]:
    """Yield the input of each child, and how many items it has."""
    worker = component._create_worker(env=env, eval_input=given, job_pool=None)
    selected = []
    for index, item in enumerate(items):
        frame = env.open_inner_frame()
        frame.states.context_object.context_object_data["Map"] = MapData(Item=ItemData(Index=index, Value=item))
        frame.states.reset(item)
        frame.stack.append(item)
        worker._eval_input(env_frame=frame)
        selected.append(frame.states.get_input())
        env.delete_frame(frame)
    batcher = component.fields.get("ItemBatcher")
    if batcher is None:
        yield from ((one, 1) for one in selected)
        return
    state_input = env.stack[-1] if env.stack else env.states.get_input()
    yield from Batches(batcher, state_input, _common(component, env, state_input)).of(selected)


def _common(component: Any, env: Any, state_input: Any) -> Any:
    """Return what all batches have besides their items."""
    if component.batch_input is None:
        return {}
    frame = env.open_inner_frame()
    frame.states.reset(state_input)
    frame.stack.append(state_input)
    component.batch_input.eval(frame)
    env.delete_frame(frame)
    return {"BatchInput": frame.stack[-1]}


def write_results(clients: Clients, env: Any, resource: Any, credentials: Any) -> None:
    """Export the children of a Map Run and a manifest to S3; takes the place of moto's method.

    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
    """
    parameters = env.stack.pop()
    env.stack.pop()
    record = env.localaws_map_run
    bucket, prefix = parameters["Bucket"], parameters.get("Prefix") or ""
    folder = "/".join(filter(None, (prefix.rstrip("/"), record.map_run_arn.rsplit(":", 1)[-1])))
    s3 = clients.client(resource.region, "s3", credentials)
    try:
        files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        for kind, content in _results(record.children):
            key = f"{folder}/{kind}_0.json"
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            files[kind].append({"Key": key, "Size": len(content)})
        manifest = {"DestinationBucket": bucket, "MapRunArn": record.map_run_arn, "ResultFiles": files}
        s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=text(manifest))
    except Exception as error:
        raise _failure(env, "StatesResultWriterFailed", str(error)) from error
    details = {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
    env.stack.append({"MapRunArn": record.map_run_arn, "ResultWriterDetails": details})


def _results(children: list[Run]) -> Iterator[tuple[str, bytes]]:
    by_kind: dict[str, list[Any]] = {}
    for child in children:
        started = child.exec_worker is not None
        kind = "SUCCEEDED" if child.exec_status == ExecutionStatus.SUCCEEDED else "FAILED" if started else "PENDING"
        by_kind.setdefault(kind, []).append(child.exported())
    for kind, found in sorted(by_kind.items()):
        yield kind, text(found)
