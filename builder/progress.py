"""Reports what a build is doing now, for people who wait, and how long each phase took."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from builder.errors import LambdasmithError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A finished phase."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of a build: the phase's name, a sentence, seconds since the build began, the phases before."""

    phase: str
    message: str
    seconds: float
    phases: tuple[Phase, ...]


class Progress:
    """Collects phases, warnings and notes, and passes each new phase or sentence to `listener`."""

    def __init__(
        self, listener: Callable[[Moment], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.listener = listener
        self._clock = clock
        self._started = clock()
        self._phase = ""
        self.phases: list[Phase] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def seconds(self) -> float:
        """Return the seconds since the build began."""
        return self._clock() - self._started

    @contextlib.contextmanager
    def phase(self, name: str, message: str) -> Iterator[None]:
        """Time the block. Errors of ours that leave it get the phase's name."""
        self._phase = name
        self.say(message)
        started = self._clock()
        try:
            yield
        except LambdasmithError as error:
            # The innermost phase says most.
            error.phase = error.phase or name
            raise
        finally:
            seconds = round(self._clock() - started, 3)
            self.phases.append(Phase(name=name, seconds=seconds))
            log.info("phase", extra={"fields": {"phase": name, "seconds": seconds}})

    def say(self, message: str, *, urgent: bool = False) -> None:
        """Report the present work within the phase; with `urgent`, without delay."""
        moment = Moment(phase=self._phase, message=message, seconds=round(self.seconds(), 3), phases=tuple(self.phases))
        if urgent and isinstance(self.listener, BackgroundListener):
            self.listener.hurry()
        self.listener(moment)

    def relay(self, phase: str, message: str) -> None:
        """Report work that is done elsewhere."""
        if message:
            self._phase = phase
            self.say(message)

    def note(self, message: str) -> None:
        """Add something to the reply, once, that is worth knowing and as it should be; report it at once as well."""
        if message not in self.notes:
            self.notes.append(message)
            self.say(message)

    def warn(self, message: str) -> None:
        """Add a warning to the reply, once; an empty text is ignored."""
        if message and message not in self.warnings:
            self.warnings.append(message)


class BackgroundListener:
    """Hands the latest moment to a slow `write` in a thread of its own, so that the build does not wait for it.

    The first write comes after `delay_s`: a quicker build needs none. `hurry` ends that delay.
    """

    def __init__(self, write: Callable[[Moment], object], *, delay_s: float = 1.5) -> None:
        self._write = write
        self._delay_s = delay_s
        self._latest: Moment | None = None
        self._changed = threading.Condition()
        self._closed = self._hurried = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def __call__(self, moment: Moment) -> None:
        with self._changed:
            # Only the latest is kept: a slow store skips moments instead of falling behind.
            self._latest = moment
            self._changed.notify()

    def hurry(self) -> None:
        """Write what comes next at once."""
        with self._changed:
            self._hurried = True

    def close(self) -> None:
        """Stop, without writing pending moments."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        # Bounded, since a write may hang; the thread is a daemon and does not keep the process.
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._hurried, timeout=self._delay_s)
                self._changed.wait_for(lambda: self._closed or self._latest is not None)
                if self._closed:
                    return
                moment, self._latest, self._hurried = self._latest, None, False
            if moment is not None:
                try:
                    # Outside of the lock, so that reporting the next moment does not wait for the store.
                    self._write(moment)
                except LambdasmithError as error:
                    log.warning("progress could not be written", extra={"fields": {"error": error.message}})
