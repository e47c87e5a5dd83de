"""The account of builds in the store: who works on a build id, how far it is, how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import cast

from builder.errors import UnknownBuild
from builder.progress import Moment
from builder.store import Store

# Records are listed by name: counting down from here puts the newest first.
_FAR_FUTURE_MS = 10**13


class Builds:
    """Build states below `builds/`, records of ended builds below `records/`."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def claim(self, build_id: str, *, expires_in_s: float) -> dict[str, object] | None:
        """Take the build id; None if it is ours now, else the state that somebody else's work on it has.

        A claim whose time is over belongs to a builder that was killed, and is taken over.
        """
        state = {
            "build_id": build_id,
            "state": "running",
            "phase": "start",
            "message": "starting",
            "seconds": 0.0,
            "phases": [],
            "started": self._clock(),
            "expires": self._clock() + expires_in_s,
        }
        name = _state_name(build_id)
        if self._store.write_json(name, state, only_if_new=True):
            return None
        present = self._store.read_json(name)
        if present is None or self._is_lost(present):
            self._store.write_json(name, state)
            return None
        return present

    def _is_lost(self, state: Mapping[str, object]) -> bool:
        return state["state"] == "running" and cast("float", state["expires"]) < self._clock()

    def update(self, build_id: str, moment: Moment, *, expires_in_s: float) -> None:
        """Note what a running build does now."""
        self._store.write_json(
            _state_name(build_id),
            {
                "build_id": build_id,
                "state": "running",
                **asdict(moment),
                "expires": self._clock() + expires_in_s,
            },
        )

    def end(self, build_id: str, function: str, reply: Mapping[str, object], *, seconds: float) -> None:
        """Keep the reply of an ended build, under its id and in the function's history."""
        succeeded = cast("int", reply["statusCode"]) < 400
        state = {
            "build_id": build_id,
            "state": "succeeded" if succeeded else "failed",
            "seconds": round(seconds, 3),
            "phases": reply.get("phases", []),
            "ended": self._clock(),
            "function": function,
            "reply": reply,
        }
        self._store.write_json(_state_name(build_id), state)
        counted_down = _FAR_FUTURE_MS - int(self._clock() * 1000)
        self._store.write_json(f"records/{function}/{counted_down:013d}-{build_id}.json", state)
        self._store.write_json(f"recent/{counted_down:013d}-{build_id}.json", _short(state, reply))

    def state(self, build_id: str) -> dict[str, object]:
        """What is known of a build.

        Raises:
            UnknownBuild: nothing.
        """
        state = self._store.read_json(_state_name(build_id))
        if state is None:
            raise UnknownBuild(f"no build has the id {build_id!r}", hint="ids are printed when a build starts")
        if self._is_lost(state):
            state |= {"state": "failed", "message": "the builder was stopped before the build ended"}
        return state

    def recent(self, count: int) -> list[dict[str, object]]:
        """Short accounts of the last builds of all functions, the newest first."""
        return self._store.newest("recent", count)


def _state_name(build_id: str) -> str:
    return f"builds/{build_id}.json"


def _short(state: Mapping[str, object], reply: Mapping[str, object]) -> dict[str, object]:
    error = cast("Mapping[str, object]", reply.get("error") or {})
    return {
        "build_id": state["build_id"],
        "function": state["function"],
        "state": state["state"],
        "seconds": state["seconds"],
        "ended": state["ended"],
        "commit": reply.get("commit"),
        "error": error.get("code"),
    }
