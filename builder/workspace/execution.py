"""The execution environment that the builder has to itself: taken over as the process begins, cleared for each call."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from builder.network import authorities
from builder.system import descendants, process, segments
from builder.system.concealment import conceal
from builder.workspace.directory import Workspace

log = logging.getLogger(__name__)

_TASK = Path("/var/task")
_TEMPORARY = Path("/tmp")  # noqa: S108 - the function's own
_EXTENSIONS = Path("/opt/extensions")


@functools.cache
def is_lambdas() -> bool:
    """Whether this process is a Lambda function's, and so everything of its user in here is the builder's."""
    return os.environ.get("LAMBDA_TASK_ROOT") == str(_TASK) and _TASK in Path(__file__).resolve().parents


def begin() -> None:
    """Make sure that nothing but this process runs here; at the beginning of each invocation.

    Processes that cannot be ended end the environment.
    """
    try:
        _take_over()
        process.end_strays()
        if is_lambdas():
            segments.remove_all()
    except descendants.StillRunningError:
        give_up()


def give_up() -> NoReturn:
    """End this environment, with what cannot be ended in it; Lambda replaces it by a new one."""
    log.exception("this environment is given up")
    process.give_up()


@functools.cache
def _take_over() -> None:
    conceal()
    if is_lambdas():
        authorities.settle(os.environ, on_lambda=True)
        # Nobody types control-C here. What foreign code sends must not have us stop in the middle of ending it.
        signal.signal(signal.SIGINT, _ignored)
    process.adopt()
    if is_lambdas() and (count := descendants.end_strangers(_is_extension)):
        log.warning("killed what an earlier process left running", extra={"fields": {"processes": count}})


def _ignored(signum: int, frame: FrameType | None) -> None:
    """Do nothing; children have the default again, as they would not where it is ignored."""


def _is_extension(pid: int) -> bool:
    """Whether a process is one of Lambda's extensions, which run beside the function as the same user."""
    with contextlib.suppress(OSError):
        return _EXTENSIONS in Path(f"/proc/{pid}/exe").readlink().parents
    return False


def workspace(environment: Mapping[str, str]) -> Workspace:
    """The builder's place in the temporary directory, the only one on Lambda that can be written."""
    if is_lambdas():
        # Not `tempfile.gettempdir`, which looks for one that can be written: this one cannot be where foreign code has
        # filled or locked it, until it is swept.
        return Workspace(_TEMPORARY / "lambdasmith", sealed=True, temporary=_TEMPORARY)
    return Workspace(Path(environment.get("TMPDIR") or tempfile.gettempdir()) / "lambdasmith", sealed=True)


if is_lambdas():
    conceal()  # at once: until then, the environment of this process can be read by others of its user
