"""Which invocation a request comes from: every environment has credentials of its own, as on Lambda."""

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
    """A function's invocation that is under way."""

    def __init__(self, environment: Environment, request_id: str, payload: bytes) -> None:
        self._environment = environment
        self._payload = payload
        self.function = environment.image.name
        self.request_id = request_id
        self.killed = False

    @cached_property
    def event(self) -> object:
        """What the function was invoked with."""
        return json.loads(self._payload)

    def kill(self) -> None:
        """End the environment with SIGKILL, with all that is in it; nothing of it runs when this returns."""
        self.killed = True
        self._environment.kill()


class Callers:
    """The invocations under way, by the access key of their environments. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[str, Invocation] = {}

    @contextmanager
    def during(self, environment: Environment, request_id: str, payload: bytes) -> Iterator[None]:
        """The block is an invocation. A killed one stays known: what it had on its way may arrive later."""
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
        """The invocation that signs with this key."""
        with self._lock:
            return self._by_key.get(access_key)
