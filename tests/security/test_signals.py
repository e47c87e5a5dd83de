"""Signals that a build sends to the builder do not have it stop in the middle of what it does"""

from __future__ import annotations

import os
import signal
import time

import pytest

from builder.errors import OutOfTime
from builder.invocation import time_limit


def test_an_alarm_that_someone_else_sends_is_ignored() -> None:
    with time_limit(60):
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(0.05)


def test_the_alarm_at_the_time_limit_is_one() -> None:
    with pytest.raises(OutOfTime), time_limit(0.5):
        time.sleep(5)
