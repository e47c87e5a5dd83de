"""The environments that exist: warm ones are used again, more are made under load, stale ones are stopped."""

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

_MOST_IDLE = 16


class Pool:
    """Thread-safe. `make` is called without any lock held, so that environments start in parallel."""

    def __init__(self, make: Callable[[FunctionImage], Environment]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        """Least recently used first."""
        self._all: set[Environment] = set()
        self._current: dict[tuple[str, str], str] = {}
        """(ARN, version) → revision asked for last."""
        self._discards: Counter[str] = Counter()
        self._closed = False

    @contextmanager
    def environment(self, image: FunctionImage) -> Iterator[Environment]:
        """An environment for one invocation, given back at the end."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the fleet is closed")
            self._current[image.arn, image.version] = image.revision
            epoch = self._discards[image.arn]
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
        if closed:  # closed while this one was starting
            environment.close()
            raise RuntimeError("the fleet is closed")
        try:
            yield environment
        finally:
            self._give_back(environment, epoch)

    def discard(self, arn: str) -> None:
        """Stop the idle environments of a function now, the busy ones when they are given back."""
        with self._lock:
            self._discards[arn] += 1
            stale = [one for one in self._idle if one.image.arn == arn]
            self._idle = [one for one in self._idle if one.image.arn != arn]
        self._stop(stale)

    def close(self) -> None:
        """Stop all environments, busy ones too, and wait for it."""
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
                and self._discards[image.arn] == epoch
                and self._current[image.arn, image.version] == image.revision
            )
            if keep:
                self._idle.append(environment)
            surplus = [] if keep else [environment]
            while len(self._idle) > _MOST_IDLE:
                surplus.append(self._idle.pop(0))
        self._stop(surplus)

    def _stop(self, environments: Iterable[Environment]) -> None:
        """Close without making the caller wait: ending processes takes milliseconds."""
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
