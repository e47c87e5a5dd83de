"""Earlier responses of a custom resource, so that a rollback restores the earlier state.

When a stack update fails, CloudFormation sends the earlier properties again. They may name a branch that has moved on:
built again, the rollback would deploy an unwanted commit, or fail like the update.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.store.keeping import Damaged
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.cloudformation.request import StackRequest
    from builder.store.keeping import Store
    from builder.store.values import JsonObject

# CloudFormation's own properties, not part of the request.
_NOT_ASKED = ("ServiceToken", "ServiceTimeout")
# A later return to old properties is a decision, not a rollback.
_ROLLBACK_WITHIN_S = 3600


@dataclass(frozen=True, kw_only=True)
class Known:
    """Earlier response. `is_repeated`: it was the response to this very request, which has arrived twice."""

    data: Mapping[str, object]
    is_repeated: bool

    def pinned(self, event: Mapping[str, object]) -> dict[str, object]:
        """Return the event for the commit that was built then."""
        commit = self.data.get("CommitId")
        if commit is None or not ({"repo", "repo_name"} & set(event)):
            return dict(event)
        return {name: value for name, value in event.items() if name != "branch"} | {"ref": commit}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Response: its request, the hash of its properties, and its time in seconds since 1970."""

    request: str
    asked: str
    at: float
    data: Mapping[str, object]

    def as_json(self) -> dict[str, object]:
        """Return the JSON for the store."""
        return {"request": self.request, "asked": self.asked, "at": self.at, "data": dict(self.data)}

    @classmethod
    def parse(cls, kept: Fields) -> Answer:
        """Parse the result of `as_json`."""
        return cls(
            request=kept.text("request"),
            asked=kept.text("asked"),
            at=kept.number("at"),
            data=kept.fields("data").value,
        )


class Memory:
    """The last two responses for each custom resource, below `stacks/` in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, request: StackRequest, now: float) -> Known | None:
        """Return the response to which the request returns, None if it asks for something new."""
        current, previous = self._kept(request)
        if current is None:
            return None
        asked = _hash(request.properties)
        if current.request == request.request_id:
            return Known(data=current.data, is_repeated=True)
        if request.kind != "Update":
            return None
        # The properties are those of the last response: the update in between has failed, and is rolled back.
        if current.asked == asked:
            return Known(data=current.data, is_repeated=False)
        # The update was successful here, and another resource of the stack has failed.
        undone = current.asked == _hash(request.old_properties) and previous and previous.asked == asked
        if undone and previous and now - current.at < _ROLLBACK_WITHIN_S:
            return Known(data=previous.data, is_repeated=False)
        return None

    def keep(self, request: StackRequest, data: Mapping[str, object], now: float) -> None:
        """Record a response. After a rollback there is no earlier one: the next update is a new one."""
        current, previous = self._kept(request)
        asked = _hash(request.properties)
        if current and current.request == request.request_id:
            return
        before = None if asked in [one.asked for one in (current, previous) if one] else current
        answer = Answer(request=request.request_id, asked=asked, at=round(now, 1), data=data)
        value: JsonObject = {"stack": request.stack, "resource": request.resource}
        kept = {"current": answer.as_json(), "previous": before.as_json() if before else None}
        self._store.write_json(_name(request), {**value, **kept})

    def _kept(self, request: StackRequest) -> tuple[Answer | None, Answer | None]:
        """Return the last response and the one before it.

        Raises:
            StoreDamaged: they cannot be read, and it is an update, which may be a rollback to them.
        """
        found = self._store.look(_name(request), _answers)
        if isinstance(found, Damaged):
            if request.kind == "Update":
                raise found.error("it says what a rollback goes back to; delete it, and update the stack again")
            self._store.forsake(found)
            found = None
        return found or (None, None)


def _answers(kept: Fields) -> tuple[Answer, Answer | None]:
    previous = kept.fields_or_none("previous")
    return Answer.parse(kept.fields("current")), Answer.parse(previous) if previous else None


def _name(request: StackRequest) -> str:
    who = f"{request.stack}\n{request.resource}"
    return f"stacks/{hashlib.sha256(who.encode()).hexdigest()}.json"


def _hash(properties: Mapping[str, object]) -> str:
    asked = {name: value for name, value in properties.items() if name not in _NOT_ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
