"""Request rates of Lambda's control plane, per account and region."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from localaws.wire.errors import TooManyRequestsException

__all__ = ["ControlPlaneRates"]

# Requests per second: these two have rates of their own, all others share one. Invokes are limited by concurrency.
_OWN = {"GetFunction": 100.0, "GetPolicy": 15.0}
# Of all control plane calls of an account and Region together, and not adjustable (Lambda Developer Guide,
# gettingstarted-limits).
_SHARED = 15.0


class ControlPlaneRates:
    """Token buckets that hold one second's worth; they have no effect unless `enforced`. Thread-safe."""

    def __init__(self, *, enforced: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.enforced = enforced
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
        """(account, region, operation or "") → (tokens, time of the count)."""

    def take(self, account: str, region: str, operation: str) -> None:
        """Count a request.

        Raises:
            TooManyRequestsException: the rate is exceeded.
        """
        if not self.enforced or operation.startswith("Invoke"):
            return
        rate = _OWN.get(operation, _SHARED)
        key = (account, region, operation if operation in _OWN else "")
        with self._lock:
            now = self._clock()
            tokens, counted = self._buckets.get(key, (rate, now))
            # At most a second's worth: a quiet minute must not allow a storm.
            tokens = min(rate, tokens + (now - counted) * rate)
            allowed = tokens >= 1
            self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if not allowed:
            raise TooManyRequestsException("Rate exceeded", Reason="CallerRateLimitExceeded")
