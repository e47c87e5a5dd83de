"""The calls that functions make of AWS: each known by its service, operation and place in the invocation, and kept."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from localaws.iam.signed import operation
from localaws.runtime.callers import Invocation
from localaws.wire.wsgi import Environ

__all__ = ["ApiCall", "CallLog"]

_MOST_KEPT = 50_000
# How the names of operations begin that change nothing, in every service.
_READING = ("Get", "List", "Head", "Describe", "BatchGet", "Filter", "Lookup", "Search", "Select", "Simulate", "Query")


@dataclass(kw_only=True)
class ApiCall:
    """One request of a function. What the SDK repeats is the same call again, with the next `attempt`.

    `number` counts the calls of an invocation from 1. `status` is what AWS answered; None if the call never took
    effect, or is under way. `fault` is what was done to it.
    """

    function: str
    request_id: str
    number: int
    attempt: int
    service: str
    operation: str
    path: str
    fault: str | None = None
    status: int | None = None

    @property
    def name(self) -> str:
        """As in policies: `s3:PutObject`."""
        return f"{self.service}:{self.operation}"

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return not self.operation.startswith(_READING)

    def as_json(self) -> Mapping[str, object]:
        return {**vars(self), "name": self.name, "writes": self.writes}


@dataclass
class _Count:
    """The calls of one invocation so far: the number of each by the SDK's id, and its attempts."""

    numbers: dict[str, int]
    attempts: dict[str, int]


class CallLog:
    """The last calls of all functions, the oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[ApiCall] = deque(maxlen=_MOST_KEPT)
        self._counts: WeakKeyDictionary[Invocation, _Count] = WeakKeyDictionary()

    def begin(self, invocation: Invocation, environ: Environ, service: str) -> ApiCall:
        """Note a request that has come in."""
        name, _ = operation(environ, service)
        identity = environ.get("HTTP_AMZ_SDK_INVOCATION_ID") or str(uuid.uuid4())
        with self._lock:
            count = self._counts.setdefault(invocation, _Count({}, {}))
            number = count.numbers.setdefault(identity, len(count.numbers) + 1)
            count.attempts[identity] = count.attempts.get(identity, 0) + 1
            call = ApiCall(
                function=invocation.function,
                request_id=invocation.request_id,
                number=number,
                attempt=count.attempts[identity],
                service=service,
                operation=name,
                path=environ["PATH_INFO"],
            )
            self._calls.append(call)
        return call

    def kept(self, *, function: str | None = None, request_id: str | None = None) -> list[ApiCall]:
        """The calls of a function, or of one invocation; of all without either."""
        with self._lock:
            calls = list(self._calls)
        return [call for call in calls if function in (None, call.function) and request_id in (None, call.request_id)]

    def forget(self) -> None:
        """Begin anew, with what is under way counted from 1 again."""
        with self._lock:
            self._calls.clear()
            self._counts.clear()
