"""Context of the steps, and how long AWS may take to know what has just been made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.changes import Step
from bootstrap.invoke import Ping
from bootstrap.names import Names
from builder.aws import Clients

# A new role is usable after about ten seconds, rarely later.
IAM_PATIENCE_S = 90.0
# Lambda applies most updates of a function within seconds, and refuses another one meanwhile.
BUSY_PATIENCE_S = 60.0


@dataclass
class Hands:
    """Context of the steps, and the results that they leave for later ones.

    Args:
        work: an empty temporary directory; the caller removes it.
        environment: the operator's, for the download of the starter layer.
        tell: receives a sentence from a step that takes long.
    """

    clients: Clients
    names: Names
    work: Path
    environment: Mapping[str, str]
    index_url: str | None
    tell: Callable[[Step, str], None]
    starter_arn: str = ""
    ping: Ping | None = None
    notes: list[str] = field(default_factory=list)
    opened: bool = False  # the builder may change itself now, by this run or by the one before
    closed: bool = False  # the run is over: nothing may be opened any more
    lock: threading.Lock = field(default_factory=threading.Lock)
