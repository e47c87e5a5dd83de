"""Retries of calls that fail until a change has spread through AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from builder.errors import LambdasmithError

_T = TypeVar("_T")


def patiently(
    attempt: Callable[[], _T],
    *,
    retry: Callable[[LambdasmithError], bool],
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return the result of `attempt`; repeat it with growing pauses while `retry` accepts its error."""
    deadline, pause = clock() + patience_s, 0.25
    while True:
        try:
            return attempt()
        except LambdasmithError as error:
            # Not after a pause that would end too late: its attempt would come after the deadline.
            if not retry(error) or clock() + pause > deadline:
                raise
        sleep(pause)
        # Growing, so that the usual second costs little; bounded, so that the last attempts are not far apart.
        pause = min(pause * 1.6, 4.0)
