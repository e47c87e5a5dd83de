"""Faults on demand: at a chosen AWS call, the function is killed or the call fails.

Faults are set over HTTP (docs/localaws.md), or by `localaws.testing.Server.fault`.
"""

from __future__ import annotations

import difflib
import fnmatch
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from localaws.interception.api_calls import ApiCall
from localaws.runtime.callers import Invocation

__all__ = ["Fault", "FaultError", "Faults"]

Action = Literal["kill-before", "kill-after", "throttle", "fail", "drop"]
Kind = Literal["all", "reading", "writing"]


class FaultError(ValueError):
    """Invalid description of a fault; the message names every problem."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Fault to inject, and the calls that it concerns.

    Args:
        do: kill-before, kill-after (the function's environment is killed before or after the call takes effect),
            throttle, fail (429 or 503, and 500; without effect), drop (takes effect, the connection ends unanswered).
        function: name of the calling function.
        event: members that the invocation's event must have.
        operation: pattern of operations, such as `s3:Put*`.
        calls: those that read, those that write, or all.
        at: number of the call among those that match, from 1 in each invocation; None for every one.
        times: number of attempts to hit, as SDKs retry; None for every attempt.
    """

    do: Action
    function: str
    event: Mapping[str, object] = field(default_factory=dict)
    operation: str = "*"
    calls: Kind = "all"
    at: int | None = None
    times: int | None = 1

    @classmethod
    def parse(cls, value: object) -> Fault:
        """Parse the fault that a JSON object describes.

        Raises:
            FaultError: the object is not a valid fault.
        """
        if not isinstance(value, dict):
            raise FaultError("a fault is a JSON object")
        problems = [_unknown(name) for name in value if name not in _CHECKS]
        problems += [f"{name} is missing" for name in ("do", "function") if name not in value]
        problems += [
            f"{name}: {value[name]!r} is not {wanted}"
            for name, (wanted, fits) in _CHECKS.items()
            if name in value and not fits(value[name])
        ]
        if problems:
            raise FaultError("; ".join(problems))
        return cls(**value)

    def concerns(self, invocation: Invocation, call: ApiCall) -> bool:
        """Return whether the call matches."""
        if invocation.function != self.function or not fnmatch.fnmatchcase(call.name, self.operation):
            return False
        if self.calls != "all" and call.writes != (self.calls == "writing"):
            return False
        if not self.event:
            return True
        event = invocation.event
        return isinstance(event, dict) and all(
            name in event and event[name] == value for name, value in self.event.items()
        )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _CHECKS, n=1)
    return f"{name} is no member of a fault" + (f"; is {near[0]} meant?" if near else "")


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


_CHECKS: Mapping[str, tuple[str, Any]] = {
    "do": (f"one of {', '.join(get_args(Action))}", lambda value: value in get_args(Action)),
    "function": ("the name of a function", lambda value: isinstance(value, str) and value),
    "event": ("a JSON object", lambda value: isinstance(value, dict)),
    "operation": ("a pattern like s3:Put*", lambda value: isinstance(value, str) and value),
    "calls": (f"one of {', '.join(get_args(Kind))}", lambda value: value in get_args(Kind)),
    "at": ("a number from 1, or null", _is_count),
    "times": ("a number from 1, or null", _is_count),
}
assert {one.name for one in fields(Fault)} == _CHECKS.keys()  # noqa: S101


class _Set:
    """Fault that is set, with its counters."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.fired = 0
        # Weak: the counts go with the invocation.
        self._places: WeakKeyDictionary[Invocation, dict[int, int]] = WeakKeyDictionary()

    def due(self, invocation: Invocation, call: ApiCall) -> bool:
        """Count the call and return whether the fault hits it."""
        if not self.fault.concerns(invocation, call):
            return False
        places = self._places.setdefault(invocation, {})
        # By the call's number, which its attempts share: a retry is the same call.
        place = places.setdefault(call.number, len(places) + 1)
        if self.fault.at not in (None, place) or (self.fault.times is not None and call.attempt > self.fault.times):
            return False
        self.fired += 1
        return True


class Faults:
    """Faults that are set. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: dict[str, _Set] = {}

    def add(self, fault: Fault) -> str:
        """Set a fault and return its id."""
        identity = uuid.uuid4().hex
        with self._lock:
            self._set[identity] = _Set(fault)
        return identity

    def remove(self, identity: str) -> int | None:
        """Remove a fault and return how often it fired; None if no fault has this id."""
        with self._lock:
            found = self._set.pop(identity, None)
        return found.fired if found else None

    def shown(self) -> list[Mapping[str, object]]:
        """Return every fault with its id and how often it fired."""
        with self._lock:
            return [{"id": identity, "fired": one.fired, **vars(one.fault)} for identity, one in self._set.items()]

    def due(self, invocation: Invocation, call: ApiCall) -> Action | None:
        """Return the fault that hits a call. Every fault counts the call; the first that is due is injected."""
        with self._lock:
            # All of them count the call, also behind one that is due: `at` must not depend on other faults.
            found = [one.fault.do for one in self._set.values() if one.due(invocation, call)]
        return found[0] if found else None
