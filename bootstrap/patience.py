"""Patience with what AWS needs some seconds to spread."""

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
    """The result of `attempt`, repeated with growing pauses while `retry` accepts its error, for `patience_s`."""
    deadline, pause = clock() + patience_s, 0.25
    while True:
        try:
            return attempt()
        except LambdasmithError as error:
            if not retry(error) or clock() + pause > deadline:
                raise
        sleep(pause)
        pause = min(pause * 1.6, 4.0)
