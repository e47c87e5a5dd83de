"""Execution of a plan: every step starts as soon as those that it needs are done, several at a time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bootstrap.changes import Step

# Time after Ctrl-C for running steps to release their temporary files.
_FAREWELL_S = 5.0


class Watcher(Protocol):
    """Observer of a run. `said` may be called from any thread."""

    def started(self, step: Step) -> None: ...

    def said(self, step: Step, text: str) -> None: ...

    def finished(self, step: Step, seconds: float) -> None: ...

    def failed(self, step: Step) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Done:
    """A step that was carried out."""

    step: Step
    seconds: float


def walk(steps: Sequence[Step], carry_out: Callable[[Step], None], watcher: Watcher) -> tuple[Done, ...]:
    """Carry out all `steps` and return them in the order in which they ended.

    After a failure no step is started, running ones are waited for, and the first error is raised.
    """
    return _Walk(steps, carry_out, watcher).walk()


class _Walk:
    def __init__(self, steps: Sequence[Step], carry_out: Callable[[Step], None], watcher: Watcher) -> None:
        self._steps = steps
        self._waiting = list(steps)
        self._carry_out = carry_out
        self._watcher = watcher
        self._running: dict[str, threading.Thread] = {}
        self._ended: queue.Queue[tuple[Step, float, BaseException | None]] = queue.Queue()

    def walk(self) -> tuple[Done, ...]:
        done: list[Done] = []
        failure: BaseException | None = None
        try:
            while self._waiting or self._running:
                if failure is None:
                    self._start_ready()
                elif not self._running:
                    break
                step, seconds, error = self._ended.get()
                del self._running[step.name]
                if error is None:
                    done.append(Done(step=step, seconds=seconds))
                    self._watcher.finished(step, seconds)
                else:
                    failure = failure or error
                    self._watcher.failed(step)
        # Only those that write files are waited for: the temporary directory is removed next.
        except BaseException:  # Ctrl-C
            deadline = time.monotonic() + _FAREWELL_S
            for step in self._steps:
                if step.writes_files and step.name in self._running:
                    self._running[step.name].join(max(0.0, deadline - time.monotonic()))
            raise
        if failure is not None:
            raise failure
        return tuple(done)

    def _start_ready(self) -> None:
        unfinished = {step.name for step in self._waiting} | self._running.keys()
        for step in [step for step in self._waiting if not unfinished.intersection(step.needs)]:
            self._waiting.remove(step)
            # Daemon threads: an invocation of the builder may last minutes, and Ctrl-C must not wait for it.
            thread = threading.Thread(target=self._run, args=(step,), name=step.name, daemon=True)
            self._running[step.name] = thread
            self._watcher.started(step)
            thread.start()

    def _run(self, step: Step) -> None:
        started, error = time.monotonic(), None
        try:
            self._carry_out(step)
        except BaseException as raised:
            error = raised
        self._ended.put((step, time.monotonic() - started, error))
