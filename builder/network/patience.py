"""Retries after trouble of a git server that may pass: a few tries, over some 15 seconds."""

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

# The longest pause that a server's Retry-After may ask for.
_LONGEST_S = 60.0
# Of the remaining time, kept from waiting: the rest of the build needs some.
_SPARE_S = 5.0

T = TypeVar("T")


class Passing(SourceUnreachable):
    """Trouble of a server that may pass by itself.

    `pause_s` is the pause that it asks for, None if it does not say. `given_up`: the last try has failed.
    """

    pause_s: float | None = None
    given_up = False


def patiently(attempt: Callable[[], T], network: Network) -> T:
    """Return the result of `attempt`, called again after a pause when it raises Passing.

    Raises:
        Passing: the last try failed, or the server asks for a longer pause than is possible.
        OutOfTime: there is no time for a pause.
    """
    started, tries = time.monotonic(), 0
    while True:
        tries += 1
        try:
            return attempt()
        except Passing as error:
            # A `patiently` further in has already tried in vain: more tries of its tries would multiply.
            if error.given_up:
                raise
            if tries > len(network.pauses_s):
                waited = time.monotonic() - started
                raise _given_up(error, f" (tried {tries} times in {seconds(waited)})" if tries > 1 else "") from None
            # With jitter: clients that were turned away together would come back together.
            pause = network.pauses_s[tries - 1] * random.uniform(0.67, 1.33)  # noqa: S311
            left = network.remaining() - _SPARE_S
            if error.pause_s is not None:
                # Longer than is sensible, or than there is time: failing now is more useful than in the middle of the
                # pause.
                if error.pause_s > min(_LONGEST_S, left):
                    raise _given_up(error, "") from None
                # Never sooner than the server asks, or it may refuse for longer.
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
