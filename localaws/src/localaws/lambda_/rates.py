"""How many requests a second Lambda's control plane takes from an account in a region."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from localaws.wire.errors import TooManyRequestsException

__all__ = ["ControlPlaneRates"]

# Requests a second: these two have a rate of their own, all others share one. Invokes are limited by concurrency.
_OWN = {"GetFunction": 100.0, "GetPolicy": 15.0}
_SHARED = 15.0


class ControlPlaneRates:
    """Token buckets that hold a second's worth; nobody is held to them unless they are `enforced`. Thread-safe."""

    def __init__(self, *, enforced: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.enforced = enforced
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
        """(account, region, operation or "") → (tokens, when they were counted)."""

    def take(self, account: str, region: str, operation: str) -> None:
        """Count a request.

        Raises:
            TooManyRequestsException: there were too many.
        """
        if not self.enforced or operation.startswith("Invoke"):
            return
        rate = _OWN.get(operation, _SHARED)
        key = (account, region, operation if operation in _OWN else "")
        with self._lock:
            now = self._clock()
            tokens, counted = self._buckets.get(key, (rate, now))
            tokens = min(rate, tokens + (now - counted) * rate)
            allowed = tokens >= 1
            self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if not allowed:
            raise TooManyRequestsException("Rate exceeded", Reason="CallerRateLimitExceeded")
