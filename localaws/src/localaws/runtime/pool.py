"""Existing environments: warm ones are reused, more are made under load, stale ones are stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localaws.runtime.environments import Environment
from localaws.runtime.images import FunctionImage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Pool"]

# Each idle environment is a process with its memory; Lambda also stops idle ones after some time.
_MOST_IDLE = 16


class Pool:
    """Pool of environments. Thread-safe. `make` is called without a lock, so that environments start in parallel."""

    def __init__(self, make: Callable[[FunctionImage], Environment]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        """Idle environments, least recently used first."""
        self._all: set[Environment] = set()
        self._current: dict[tuple[str, str], str] = {}
        """Revision asked for last, by (ARN, version)."""
        self._discards: Counter[str] = Counter()
        self._closed = False

    @contextmanager
    def environment(self, image: FunctionImage) -> Iterator[Environment]:
        """Lend an environment for one invocation; it returns to the pool at the end."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the fleet is closed")
            self._current[image.arn, image.version] = image.revision
            epoch = self._discards[image.arn]
            # Stale environments are only stopped once the new revision is invoked: until then the old one may still
            # serve.
            stale = [one for one in self._idle if _differs(one.image, image)]
            self._idle = [one for one in self._idle if one not in stale]
            found = next((one for one in reversed(self._idle) if _key(one.image) == _key(image)), None)
            if found:
                self._idle.remove(found)
        self._stop(stale)
        if found and not found.alive:
            self._stop([found])
            found = None
        environment = found or self._make(image)
        with self._lock:
            self._all.add(environment)
            closed = self._closed
        if closed:  # the pool was closed while this one started
            environment.close()
            raise RuntimeError("the fleet is closed")
        try:
            yield environment
        finally:
            self._give_back(environment, epoch)

    def discard(self, arn: str) -> None:
        """Stop the idle environments of a function now, and the busy ones when they return."""
        with self._lock:
            # Busy environments are not in the list: the count tells `_give_back` that theirs is from before.
            self._discards[arn] += 1
            stale = [one for one in self._idle if one.image.arn == arn]
            self._idle = [one for one in self._idle if one.image.arn != arn]
        self._stop(stale)

    def close(self) -> None:
        """Stop all environments, including busy ones, and wait."""
        with self._lock:
            self._closed = True
            everything, self._all, self._idle = list(self._all), set(), []
        if everything:
            with ThreadPoolExecutor(len(everything)) as threads:
                list(threads.map(lambda one: one.close(), everything))

    def _give_back(self, environment: Environment, epoch: int) -> None:
        image = environment.image
        with self._lock:
            keep = (
                not self._closed
                and environment.alive
                # A discard since the start of this invocation means it as well.
                and self._discards[image.arn] == epoch
                and self._current[image.arn, image.version] == image.revision
            )
            if keep:
                self._idle.append(environment)
            surplus = [] if keep else [environment]
            # From the front: those that were used least recently.
            while len(self._idle) > _MOST_IDLE:
                surplus.append(self._idle.pop(0))
        self._stop(surplus)

    def _stop(self, environments: Iterable[Environment]) -> None:
        """Close in the background: ending processes takes milliseconds, and the caller is an invoke."""
        for environment in environments:
            threading.Thread(target=self._close, args=(environment,), name="localaws-stop", daemon=True).start()

    def _close(self, environment: Environment) -> None:
        environment.close()
        with self._lock:
            self._all.discard(environment)


def _key(image: FunctionImage) -> tuple[str, str, str, str | None]:
    return image.arn, image.version, image.revision, image.tenant_id


def _differs(old: FunctionImage, new: FunctionImage) -> bool:
    return (old.arn, old.version) == (new.arn, new.version) and old.revision != new.revision
