"""What the entry points in Lambda share: the context object, the log, and an end before Lambda's time limit."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from builder.amounts import seconds
from builder.errors import OutOfTime
from builder.secrets.masking import Masker

# The kernel's clock and ours may differ by this much.
_EARLY_S = 0.01


class LambdaContext(Protocol):
    """The part that we use of the object that Lambda hands to a handler."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the invocation."""


@contextlib.contextmanager
def time_limit(remaining_s: float) -> Iterator[None]:
    """Raise OutOfTime in the block shortly before Lambda would end the invocation without a word."""
    from builder.workspace.directory import Deadline

    deadline = Deadline.after(remaining_s)

    def stop(signum: int, frame: FrameType | None) -> None:
        if deadline.remaining() > _EARLY_S:
            return  # not the kernel's: foreign code can send signals too, to keep the builder from ending it
        raise OutOfTime(
            f"stopped before Lambda's time limit of this invocation ({seconds(remaining_s)})",
            hint="run the same command again: what is built is kept; or raise the builder's timeout and memory",
        )

    before = signal.signal(signal.SIGALRM, stop)
    # A signal, because it interrupts whatever the builder waits for: a lock, a child, a socket.
    signal.setitimer(signal.ITIMER_REAL, max(0.1, deadline.remaining()))
    try:
        yield
    finally:
        # First the timer, then the handler: an alarm without a handler would end the process.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def configure_logging(masker: Masker) -> None:
    """Make everything that is logged masked JSON on stdout."""
    root = logging.getLogger()
    stream = logging.StreamHandler(sys.stdout)
    stream.setFormatter(_JsonLines(masker))
    root.handlers[:] = [stream]
    root.setLevel(logging.WARNING)
    logging.getLogger("builder").setLevel(logging.INFO)


class _JsonLines(logging.Formatter):
    """Formats one JSON object per line, for CloudWatch Logs Insights."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Masked as a whole line, so that a secret in a traceback or a field is found as well.
        return self._masker.mask(json.dumps(line, default=str))
