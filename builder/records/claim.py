"""The right to work on a build id: taken late, kept alive, and taken over from a builder that was killed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from builder.errors import LambdasmithError
from builder.progress import Moment, Phase
from builder.records.ownership import Ownership
from builder.records.record import history_of
from builder.store.values import Fields, UnfitError

if TYPE_CHECKING:
    from builder.replies.accounts import AnyState, BuildState
    from builder.replies.deploys import Phase as PhaseRow
    from builder.replies.reply import Reply
    from builder.store.s3 import S3Store, Version

log = logging.getLogger(__name__)

# A claim that was not renewed for this long belongs to a builder that was killed. Four renewals fit in.
EXPIRES_S = 60.0
# Longer than the state machine lets an execution run.
HANDED_S = 24 * 3600.0
_STATES: tuple[AnyState, ...] = ("running", "succeeded", "failed")
_START = Moment(phase="start", message="starting", seconds=0.0, phases=())


@dataclass(frozen=True, kw_only=True)
class State:
    """Progress of a build, or its end: then it has a `reply`, and a `record` if it changed something or failed.

    While it runs it has the `phase` it is in and a `message`, and is lost if it is not renewed for `expires_s`. With
    an `execution` of Step Functions it goes on there, and that service knows whether it is lost. Its record will be in
    the folder `history`.
    """

    build_id: str
    function: str | None
    history: str
    state: AnyState
    seconds: float
    phases: tuple[Phase, ...]
    started: str
    phase: str = ""
    message: str = ""
    expires_s: float | None = None
    ended: str | None = None
    reply: Reply | None = None
    record: str | None = None
    execution: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store."""
        going_on = {"expires_s": self.expires_s, "execution": self.execution}
        more = going_on if self.state == "running" else {"record": self.record}
        return {**self.for_people(), **more, "history": self.history}

    @classmethod
    def parse(cls, kept: Fields) -> State:
        """Parse the output of `as_json`."""
        state = kept.one_of("state", _STATES)
        running = state == "running"
        return cls(
            build_id=kept.text("build_id"),
            function=kept.text_or_none("function"),
            history=kept.text("history"),
            state=state,
            seconds=kept.number("seconds"),
            phases=tuple(Phase(name=row.text("name"), seconds=row.number("seconds")) for row in kept.rows("phases")),
            started=kept.text("started"),
            phase=kept.text("phase") if running else "",
            message=kept.text("message") if running else "",
            expires_s=kept.number("expires_s") if running else None,
            execution=kept.text_or_none("execution") if running else None,
            ended=None if running else kept.text("ended"),
            # No one else writes there, and its content is under a checksum.
            reply=None if running else cast("Reply", dict(kept.fields("reply").value)),
            record=None if running else kept.text_or_none("record"),
        )

    def for_people(self) -> BuildState:
        """Return how far it is, or how it ended."""
        phases: list[PhaseRow] = [{"name": phase.name, "seconds": phase.seconds} for phase in self.phases]
        if self.reply is None or self.ended is None:
            going_on: BuildState = {
                "build_id": self.build_id,
                "function": self.function,
                "message": self.message,
                "phase": self.phase,
                "phases": phases,
                "seconds": self.seconds,
                "started": self.started,
                "state": self.state,
            }
            return {**going_on, "execution": self.execution} if self.execution else going_on
        return {
            "build_id": self.build_id,
            "ended": self.ended,
            "function": self.function,
            "phases": phases,
            "seconds": self.seconds,
            "started": self.started,
            "state": self.state,
            # The last, so that deploy.sh can cut it out of what it received.
            "reply": dict(self.reply),
        }

    @classmethod
    def of(cls, version: Version | None) -> State | None:
        """Parse a version that was read; None if it cannot be understood."""
        try:
            return cls.parse(Fields(version.value)) if version else None
        except UnfitError:
            return None


class AlreadyTaken(Exception):
    """Someone else works, or has worked, on the build id. `state` is what they have written."""

    def __init__(self, state: State) -> None:
        super().__init__(f"build {state.build_id} belongs to someone else")
        self.state = state


class Claim:
    """A build id that this invocation means to work on. The store is not asked before `take` or `note`.

    Once taken, a thread renews it until the build ends. `taken` says whether it is ours. With `resumes` it is also
    taken from an execution of Step Functions that the build was handed to. `history` is the folder for its record: the
    function's, until it turns out that a project with several is meant.
    """

    def __init__(
        self,
        store: S3Store,
        build_id: str,
        function: str,
        *,
        expires_s: float,
        clock: Callable[[], float],
        resumes: bool = False,
    ) -> None:
        self._resumes = resumes
        self.build_id = build_id
        self.started = clock()
        self._own = Ownership(store, state_name(build_id))
        self._function = function
        self.history = history_of(function)
        self._expires_s = expires_s
        self._lock = threading.RLock()
        self._moment = _START
        self._ended = threading.Event()

    @property
    def taken(self) -> bool:
        return self._own.is_ours

    def take(self) -> None:
        """Make the build id ours, if it is not yet: one conditional write, the first time.

        Raises:
            AlreadyTaken: someone else has it, perhaps because this builder seemed to have been killed.
        """
        # Checked and taken under the lock: the progress thread and the build may both come here first.
        with self._lock:
            if not self.taken:
                self._take()
                threading.Thread(target=self._keep, name=f"claim of {self.build_id}", daemon=True).start()

    def note(self, moment: Moment) -> None:
        """Let others know what the build does. Takes the build id, or leaves it to the build that has it."""
        with self._lock:
            # After `finish`, a late progress message must not overwrite the last state.
            if self._ended.is_set():
                return
            self._moment = moment
            if not self.taken:
                try:
                    self.take()
                except AlreadyTaken:
                    log.info("build id belongs to someone else", extra={"fields": {"build_id": self.build_id}})
            else:
                self._own.rewrite(self._running().as_json())

    def finish(self, state: State | None) -> bool:
        """Stop renewing and write the last state; without one, keep the present one. False if it was not ours."""
        # Before the lock: a renewal that is on its way ends first, and none begins after it.
        self._ended.set()
        with self._lock:
            return self.taken and (state is None or self._own.rewrite(state.as_json()))

    def hand_over(self, execution: str, message: str) -> State:
        """Leave the build to an execution of Step Functions: no one renews the claim until its last step takes it."""
        with self._lock:
            self._moment = replace(self._moment, phase="make", message=message)
            handed = replace(self._running(), execution=execution, expires_s=HANDED_S)
            self.finish(handed)
        return handed

    def _may_seize(self, present: Version) -> bool:
        if self._resumes and (state := State.of(present)) and state.execution:
            return True
        return is_lost(present) or self._own.wrote(present)

    def _take(self) -> None:
        present: Version | None = None
        # Twice at most: over nothing, then over what a killed builder left. Of several who try, one wins.
        for _ in range(2):
            if self._own.seize(self._running().as_json(), present):
                return
            present = self._own.read()
            if present is not None and not self._may_seize(present):
                break
        raise AlreadyTaken(State.of(present) or self._running())

    def _running(self) -> State:
        moment = self._moment
        return State(
            build_id=self.build_id,
            function=self._function,
            history=self.history,
            state="running",
            phase=moment.phase,
            message=moment.message,
            seconds=moment.seconds,
            phases=moment.phases,
            started=utc(self.started),
            expires_s=self._expires_s,
        )

    def _keep(self) -> None:
        # A quarter of the time to expire: three renewals may fail before others believe that this builder is dead.
        while not self._ended.wait(self._expires_s / 4):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    if not self._own.rewrite(self._running().as_json()):
                        return
                except LambdasmithError as error:
                    log.warning("claim not renewed", extra={"fields": {"error": error.message}})


def state_name(build_id: str) -> str:
    """Return the name of a build's state in the store."""
    return f"builds/{build_id}.json"


def is_lost(version: Version) -> bool:
    """Tell whether the state is of a build whose builder was killed, or cannot be read any more."""
    state = State.of(version)
    expires_s = state.expires_s if state else EXPIRES_S
    return expires_s is not None and version.age_s > expires_s


def utc(seconds: float) -> str:
    """Return a time as text, 2026-11-21T10:16:36Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
