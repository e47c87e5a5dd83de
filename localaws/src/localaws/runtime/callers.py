"""The invocation that a request comes from: every environment has its own credentials, as on Lambda."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localaws.runtime.environments import Environment

__all__ = ["Callers", "Invocation"]


class Invocation:
    """Invocation under way."""

    def __init__(self, environment: Environment, request_id: str, payload: bytes) -> None:
        self._environment = environment
        self._payload = payload
        self.function = environment.image.name
        self.request_id = request_id
        self.killed = False

    @cached_property
    def event(self) -> object:
        """Event of the invocation."""
        return json.loads(self._payload)

    def kill(self) -> None:
        """Kill the environment with SIGKILL; none of its processes runs when this returns."""
        # Marked first: a request that arrives during the kill must find it marked, and get no response.
        self.killed = True
        self._environment.kill()


class Callers:
    """Invocations under way, by the access key of their environments. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[str, Invocation] = {}

    @contextmanager
    def during(self, environment: Environment, request_id: str, payload: bytes) -> Iterator[None]:
        """Register an invocation while the block runs. A killed one stays known: its requests may still arrive."""
        key = environment.credentials.access_key_id
        invocation = Invocation(environment, request_id, payload)
        with self._lock:
            self._by_key[key] = invocation
        try:
            yield
        finally:
            with self._lock:
                if not invocation.killed:
                    self._by_key.pop(key, None)

    def find(self, access_key: str) -> Invocation | None:
        """Return the invocation whose requests are signed with this key."""
        with self._lock:
            return self._by_key.get(access_key)
