"""Executions: moto's, which end at once when they are stopped, can be saved, and show what AWS's show."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from moto.core.utils import iso_8601_datetime_with_milliseconds
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from localaws.states.definitions import parse

Event = dict[str, Any]
_LAST: Mapping[Any, tuple[str, str]] = {
    ExecutionStatus.ABORTED: ("ExecutionAborted", "executionAbortedEventDetails"),
    ExecutionStatus.TIMED_OUT: ("ExecutionTimedOut", "executionTimedOutEventDetails"),
}
# Those that have started, by ARN: the interpreter's environments know only the ARN of theirs.
STARTED: WeakValueDictionary[str, Run] = WeakValueDictionary()


class Worker(ExecutionWorker):
    """Thread of an execution; a child's runs a part of its parent's program."""

    program: Any = None

    def _get_evaluation_entrypoint(self) -> Any:
        return self.program or parse(self._evaluation_details.state_machine_details.definition)

    def _get_evaluation_environment(self) -> Any:
        # Made before the thread starts: the execution may be stopped or looked at before that runs.
        if self.env is None:
            self.env = super()._get_evaluation_environment()
        return self.env


class _Ending(BaseExecutionWorkerCommunication):
    """Receiver of an execution's end."""

    execution: Run

    def terminated(self) -> None:
        with self.execution.lock:
            if self.execution.exec_status == ExecutionStatus.RUNNING:
                super().terminated()
                self.execution.close()


class Run(Execution):
    """Execution. `map_run_arn` names the Map Run of a child; `ended` is called once, when it has a final status."""

    map_run_arn: str = ""
    enforce_iam: bool = False

    def __init__(self, *, program: Any = None, ended: Callable[[], None] | None = None, **details: Any) -> None:
        super().__init__(**details)
        self.lock = threading.RLock()
        self._program = program
        self._ended = ended
        self._events: list[Event] | None = None
        self._map_runs: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        left_out = {"exec_worker": None, "_program": None, "_ended": None}
        with self.lock:
            return {**self.__dict__, **left_out, "_events": self.history(), "_map_runs": self.map_runs()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        if self.exec_status == ExecutionStatus.RUNNING:  # its threads ended with the server
            self.exec_status, self.stop_date = ExecutionStatus.ABORTED, datetime.now(tz=UTC)
            self.cause = "The server was stopped."
            self._events = self._closed(self._events or [])
            for record in self._map_runs:
                record.interrupt()

    def _get_start_execution_worker_comm(self) -> _Ending:
        return _Ending(self)

    def _get_start_execution_worker(self) -> Worker:
        kinds = super()._get_start_execution_worker()
        worker = Worker.__new__(Worker)
        worker.__dict__.update(kinds.__dict__)
        worker.program = self._program
        worker._get_evaluation_environment()
        STARTED[self.exec_arn] = self
        return worker

    def stop(self, stop_date: datetime, error: str | None, cause: str | None) -> None:
        """Abort the execution and its children. The threads end when they come back from what they wait for."""
        with self.lock:
            if self.exec_status != ExecutionStatus.RUNNING:
                return
            self.exec_status, self.stop_date = ExecutionStatus.ABORTED, stop_date
            self.error, self.cause = error, cause
            runs = self.map_runs()
            super().stop(stop_date=stop_date, error=error, cause=cause)
            self.close()
        # Outside of the lock: a child that ends at the same time takes its own lock first.
        for run in runs:
            run.abort()

    def close(self) -> None:
        """Keep the history as it is now; what threads add later has no effect."""
        self._map_runs = self.map_runs()
        self._events = self._closed(self.history())
        if self._ended is not None:
            self._ended()

    def _closed(self, events: list[Event]) -> list[Event]:
        kind, member = _LAST.get(self.exec_status, ("", ""))
        if not kind or any(event["type"] == kind for event in events):
            return events
        details = {name: value for name, value in (("error", self.error), ("cause", self.cause)) if value}
        number = events[-1]["id"] if events else 0
        at = iso_8601_datetime_with_milliseconds(self.stop_date or datetime.now(tz=UTC))
        last = {"timestamp": at, "type": kind, "id": number + 1, "previousEventId": number, member: details}
        return [*events, last]

    def history(self) -> list[Event]:
        if self._events is not None:
            return self._events
        env = self.exec_worker.env if self.exec_worker else None
        found: Any = env.event_manager.get_event_history() if env else []
        return list(found)

    def map_runs(self) -> list[Any]:
        env = self.exec_worker.env if self.exec_worker else None
        return list(env.map_run_record_pool_manager.get_all()) if env else self._map_runs

    def listed(self) -> dict[str, Any]:
        """Return the execution as ListExecutions shows it."""
        shown = {
            "executionArn": self.exec_arn,
            "stateMachineArn": self.state_machine.arn,
            "name": self.name,
            "status": self.status,
            "startDate": self.start_date,
        }
        if self.map_run_arn:
            shown["mapRunArn"] = self.map_run_arn
        if self.stop_date is not None:
            shown["stopDate"] = self.stop_date
        return shown

    def described(self) -> dict[str, Any]:
        """Return the execution as DescribeExecution shows it."""
        with self.lock:
            shown = {**self.listed(), "input": self.execution_input, "inputDetails": {"included": True}}
            shown |= {"redriveCount": 0}
            if self.status == "SUCCEEDED":
                shown |= {"output": self.output_text(), "outputDetails": {"included": True}}
            for name, value in (("error", self.error), ("cause", self.cause)):
                if value is not None:
                    shown[name] = value
        return shown

    def exported(self) -> dict[str, Any]:
        """Return a child as the results of its Map Run show it."""
        found = {
            "ExecutionArn": self.exec_arn,
            "Input": self.execution_input,
            "InputDetails": {"Included": True},
            "Name": self.name,
            "RedriveCount": 0,
            "RedriveStatus": "NOT_REDRIVABLE",
            "StartDate": _time(self.start_date),
            "StateMachineArn": self.state_machine.arn,
            "Status": self.exec_status.value if self.exec_status else "PENDING",
        }
        if self.stop_date is not None:
            found["StopDate"] = _time(self.stop_date)
        if self.exec_status == ExecutionStatus.SUCCEEDED:
            found |= {"Output": self.output_text(), "OutputDetails": {"Included": True}}
        return found | {name: value for name, value in (("Error", self.error), ("Cause", self.cause)) if value}

    def output_text(self) -> str:
        return json.dumps(self.output, separators=(",", ":"), ensure_ascii=False)


def _time(moment: datetime) -> str:
    return str(iso_8601_datetime_with_milliseconds(moment))
