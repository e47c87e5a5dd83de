"""What state machines need to know of the server that they run in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`endpoint_url` is this server: tasks call it with the credentials of their state machine's role."""

    endpoint_url: str
    enforce_iam: bool
