"""The request: one Lambda event, checked, as a frozen value.

Standard library only, on purpose: `ping` and `setup` arrive while the builder still runs on its starter layer, which has
no pydantic, and a build sent then must still be understood well enough to be told "run setup first".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    SETUP = "setup"
    BUILD = "build"
    PACKAGE = "package"
    PLAN = "plan"
    STATUS = "status"
    HISTORY = "history"
    ROLLBACK = "rollback"
    VERIFY = "verify"
    PING = "ping"


@dataclass(frozen=True, kw_only=True)
class GitSource:
    repo: str | None = None
    repo_name: str | None = None
    ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    action: Action
    function: str | None = None
    source: GitSource | None = None
    path: str = ""
    build_file: str | None = None
    components: tuple[str, ...] = ()
    version: bool = False
    alias: str | None = None
    build_id: str | None = None
    force: bool = False


def parse_event(event: Mapping[str, object]) -> Request:
    raise NotImplementedError
