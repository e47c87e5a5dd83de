"""Statements of IAM's policies, each action with the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Json: TypeAlias = "str | bool | int | Sequence[Json] | Mapping[str, Json]"
Document: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One statement of the policy. `why` maps every action to the reason for it.

    `forbids` makes it a Deny: "here" of the actions on `resources`, "elsewhere" of the actions on anything but
    `resources`, "all else" of anything but the actions on `resources`.
    """

    sid: str
    why: Mapping[str, str]
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None
    forbids: Literal["", "here", "elsewhere", "all else"] = ""

    def statement(self) -> Document:
        """Return the statement in IAM's format."""
        plain: dict[str, Json] = {
            "Sid": self.sid,
            "Effect": "Deny" if self.forbids else "Allow",
            "NotAction" if self.forbids == "all else" else "Action": list(self.why),
            "NotResource" if self.forbids == "elsewhere" else "Resource": list(self.resources),
        }
        return plain | {"Condition": self.condition} if self.condition else plain


def document(granted: Sequence[Grant]) -> Document:
    """Return the grants as one policy."""
    return {"Version": "2012-10-17", "Statement": [grant.statement() for grant in granted]}
