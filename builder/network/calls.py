"""Counts the requests to AWS, and keeps to the rate of Lambda's control plane."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

# One builder takes at most 12 of Lambda's 15 control-plane requests a second, which the whole account shares: people
# and pipelines need the rest. GetFunction (100 a second) and invocations have rates of their own.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#api-requests
_LAMBDA_RATE = 12
_OWN_RATE = {"GetFunction", "Invoke"}


class Calls:
    """Requests to AWS, every attempt: {(service, operation): count}. Keeps Lambda's control plane to its rate."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=_LAMBDA_RATE)

    def by_service(self) -> dict[str, int]:
        """Return the number of attempts by service."""
        found: Counter[str] = Counter()
        for (service, _), count in sorted(self.counts.items()):
            found[service] += count
        return dict(found)

    def note(self, service: str, operation: str) -> None:
        """Count one attempt; wait first if Lambda would throttle it."""
        with self._lock:
            self.counts[service, operation] += 1
            # Other services have far higher limits, which botocore's retries are enough for.
            if service != "lambda" or operation in _OWN_RATE:
                return
            now = self._clock()
            # Sleeping under the lock is meant: the threads of a build share the rate, and wait in line for it.
            pause = self._recent[0] + 1 - now if len(self._recent) == _LAMBDA_RATE else 0
            if pause > 0:
                self._sleep(pause)
            self._recent.append(now + max(pause, 0))
