"""Trouble of a git server that may pass, and how it is waited for: a few tries, over some 15 seconds."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from builder.amounts import seconds
from builder.errors import OutOfTime, SourceUnreachable
from builder.network.access import Network

log = logging.getLogger(__name__)

# The longest that a server is waited for because it asks for it.
_LONGEST_S = 60.0
# Of the time that is left, what is not spent on waiting: the rest of the build needs some.
_SPARE_S = 5.0

T = TypeVar("T")


class Passing(SourceUnreachable):
    """The server has trouble that may pass by itself.

    `pause_s` is what it asks to wait, None if it does not say. `given_up`: there was a last try.
    """

    pause_s: float | None = None
    given_up = False


def patiently(attempt: Callable[[], T], network: Network) -> T:
    """What `attempt` returns, called again after a pause where it raises Passing.

    Raises:
        Passing: the last one, or one whose server asks to wait longer than can be waited.
        OutOfTime: there is no time for a pause.
    """
    started, tries = time.monotonic(), 0
    while True:
        tries += 1
        try:
            return attempt()
        except Passing as error:
            if error.given_up:
                raise
            if tries > len(network.pauses_s):
                waited = time.monotonic() - started
                raise _given_up(error, f" (tried {tries} times in {seconds(waited)})" if tries > 1 else "") from None
            # Not all at once: those that were turned away together would come back together.
            pause = network.pauses_s[tries - 1] * random.uniform(0.67, 1.33)  # noqa: S311
            left = network.remaining() - _SPARE_S
            if error.pause_s is not None:
                if error.pause_s > min(_LONGEST_S, left):
                    raise _given_up(error, "") from None
                pause = max(pause, error.pause_s)
            if pause > left:
                raise OutOfTime(
                    f"{error.message}; there is no time left to try again", hint="run the command again"
                ) from None
            log.info("%s: trying again in %.1f s", error.message, pause)
            time.sleep(pause)


def _given_up(error: Passing, more: str) -> Passing:
    error.given_up = True
    error.message += more
    error.args = (error.message,)
    return error
