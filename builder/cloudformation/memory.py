"""What was answered for a custom resource before, so that going back really goes back.

When a stack update fails, CloudFormation sends the properties from before once more. They may name a branch that has
moved on: built anew, the rollback would deploy what nobody has asked for, or fail like the update.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from builder.cloudformation.request import StackRequest
    from builder.store import JsonObject, Store

# CloudFormation's, and no part of what is asked for.
_NOT_ASKED = ("ServiceToken", "ServiceTimeout")
# An update that is undone later than this is somebody's decision.
_ROLLBACK_WITHIN_S = 3600


@dataclass(frozen=True, kw_only=True)
class Known:
    """An answer from before. `is_repeated`: it was given to this very request, which has arrived twice."""

    data: Mapping[str, object]
    is_repeated: bool

    def pinned(self, event: Mapping[str, object]) -> dict[str, object]:
        """The event, for the commit that was built then."""
        commit = self.data.get("CommitId")
        if commit is None or not ({"repo", "repo_name"} & set(event)):
            return dict(event)
        return {name: value for name, value in event.items() if name != "branch"} | {"ref": commit}


class Memory:
    """The last two answers for each custom resource, below `stacks/` in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, request: StackRequest, now: float) -> Known | None:
        """The answer that the request goes back to, None if it asks for something new."""
        kept = self._kept(request)
        current, previous = kept.get("current"), kept.get("previous")
        if current is None:
            return None
        asked = _hash(request.properties)
        if current["request"] == request.request_id:
            return _known(current, repeated=True)
        if request.kind != "Update":
            return None
        # What is asked for is what was answered last: the update in between has failed, and is taken back.
        if current["asked"] == asked:
            return _known(current)
        # The update was answered, and something else of the stack has failed.
        undone = current["asked"] == _hash(request.old_properties) and previous and previous["asked"] == asked
        if undone and now - cast("float", current["at"]) < _ROLLBACK_WITHIN_S:
            return _known(cast("Mapping[str, object]", previous))
        return None

    def keep(self, request: StackRequest, data: Mapping[str, object], now: float) -> None:
        """Remember an answer. What is gone back to has no answer before it: the next update is a new one."""
        kept = self._kept(request)
        asked, current, previous = _hash(request.properties), kept.get("current"), kept.get("previous")
        if current and current["request"] == request.request_id:
            return
        before = None if asked in [one["asked"] for one in (current, previous) if one] else current
        answer: JsonObject = {"request": request.request_id, "asked": asked, "at": round(now, 1), "data": dict(data)}
        value: JsonObject = {"stack": request.stack, "resource": request.resource}
        self._store.write_json(_name(request), {**value, "current": answer, "previous": before})

    def _kept(self, request: StackRequest) -> Mapping[str, Mapping[str, object] | None]:
        return cast("Mapping[str, Mapping[str, object] | None]", self._store.read_json(_name(request)) or {})


def _known(answer: Mapping[str, object], *, repeated: bool = False) -> Known:
    return Known(data=cast("Mapping[str, object]", answer["data"]), is_repeated=repeated)


def _name(request: StackRequest) -> str:
    who = f"{request.stack}\n{request.resource}"
    return f"stacks/{hashlib.sha256(who.encode()).hexdigest()}.json"


def _hash(properties: Mapping[str, object]) -> str:
    asked = {name: value for name, value in properties.items() if name not in _NOT_ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
