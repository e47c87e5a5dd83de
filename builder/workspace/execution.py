"""The execution environment, which the builder has to itself: taken over at the start, cleared for each call."""

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
    """Tell whether this process is a Lambda function's, so that everything of its user in here is the builder's."""
    return os.environ.get("LAMBDA_TASK_ROOT") == str(_TASK) and _TASK in Path(__file__).resolve().parents


def begin() -> None:
    """Make sure that nothing but this process runs here; called at the beginning of each invocation.

    If some processes cannot be ended, end the environment.
    """
    try:
        # Concealed and adopting first: only then can nothing new hide among the descendants that are ended next. Memory
        # segments go last, when no process is left that could attach one again.
        _take_over()
        process.end_strays()
        if is_lambdas():
            segments.remove_all()
    except descendants.StillRunningError:
        give_up()


def give_up() -> NoReturn:
    """End this environment, with the processes that cannot be ended; Lambda replaces it with a new one."""
    log.exception("this environment is given up")
    process.give_up()


@functools.cache
def _take_over() -> None:
    conceal()
    if is_lambdas():
        authorities.settle(os.environ, on_lambda=True)
        # No one types control-C here. A signal from foreign code must not stop the builder in the middle of ending it.
        signal.signal(signal.SIGINT, _ignored)
    # From here on orphans become children of this process, so that it can find and end them.
    process.adopt()
    if is_lambdas() and (count := descendants.end_strangers(_is_extension)):
        log.warning("killed what an earlier process left running", extra={"fields": {"processes": count}})


def _ignored(signum: int, frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN, a handler is not inherited: children have the default again."""


def _is_extension(pid: int) -> bool:
    """Tell whether a process is one of Lambda's extensions, which run beside the function as the same user."""
    with contextlib.suppress(OSError):
        return _EXTENSIONS in Path(f"/proc/{pid}/exe").readlink().parents
    return False


def workspace(environment: Mapping[str, str]) -> Workspace:
    """Return the builder's place in the temporary directory, the only one that can be written on Lambda."""
    if is_lambdas():
        # Not `tempfile.gettempdir`, which looks for a writable directory: this one is not writable while foreign code
        # has it filled or locked, until it is swept.
        return Workspace(_TEMPORARY / "lambdasmith", sealed=True, temporary=_TEMPORARY)
    return Workspace(Path(environment.get("TMPDIR") or tempfile.gettempdir()) / "lambdasmith", sealed=True)


if is_lambdas():
    conceal()  # at once: until then, other processes of the user can read this one's environment
