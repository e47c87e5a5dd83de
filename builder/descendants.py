"""Processes that children leave behind: found and ended, however they try to get away.

A process that forks, starts a session of its own and lets its parent end is nobody's child any more: it outlives the
build, and in a warm environment it lives beside the builds of others. A subreaper stays the parent of all of them, so
none can leave the tree that is searched here. No privilege is needed, and every kernel below Lambda has it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# What the kernel takes to end a process is far less, unless it waits for a device.
_PATIENCE_S = 5.0
_PAUSE_S = 0.001


class StillRunningError(RuntimeError):
    """Processes could not be ended. Whatever runs in this environment next would run beside them."""


@functools.cache
def adopt() -> None:
    """Make this process the parent of all its orphaned descendants, for the rest of its life.

    https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html

    Raises:
        OSError: the kernel refuses; nothing of a stranger must then run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end(spare: Collection[int] = (), *, patience_s: float = _PATIENCE_S) -> int:
    """End every descendant of this process; return how many there were.

    Only for a process that is the subreaper of its descendants: what was orphaned before is not found.

    Args:
        spare: children that go on, with everything that they have started and not left.
        patience_s: seconds until it is given up.

    Raises:
        StillRunningError: some are still there.
    """
    deadline, ended = time.monotonic() + patience_s, set[int]()
    while _has_children() and (found := _descendants(spare)):
        # All are stopped before the first is killed: what forks faster than it is killed would get away.
        stopped = set[int]()
        while waiting := found - stopped:
            for pid in waiting:
                _signal(pid, signal.SIGSTOP)
            stopped |= waiting
            found = _descendants(spare)
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        ended |= stopped
        _reap(stopped)
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier command cannot be ended")
    return len(ended)


def end_strangers(spare: Callable[[int], bool], *, patience_s: float = _PATIENCE_S) -> int:
    """End every other process that this one may signal, ancestors excepted; return how many there were.

    Only where every process of this user is the builder's, as in Lambda: what foreign code left there before this
    process began, having killed the one before it, is nobody's descendant.

    Args:
        spare: whether a process is to go on.
        patience_s: seconds until it is given up.

    Raises:
        StillRunningError: some are still there.
    """
    deadline, ended = time.monotonic() + patience_s, set[int]()
    while found := _strangers(spare):
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier builder cannot be ended")
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                _signal(pid, number)
        ended |= found
        time.sleep(_PAUSE_S)
    return len(ended)


def _strangers(spare: Callable[[int], bool]) -> set[int]:
    parents = dict(_processes())
    own = {pid := os.getpid()}
    while (pid := parents.get(pid, 0)) and pid not in own:
        own.add(pid)
    return {pid for pid in parents if pid not in own and _may_signal(pid) and not spare(pid)}


def _may_signal(pid: int) -> bool:
    # Not by the owner of /proc/PID: a process that has made itself undumpable is shown as root's.
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return False


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _descendants(spare: Collection[int]) -> set[int]:
    """Process ids, zombies included."""
    children = defaultdict(list)
    for pid, parent in _processes():
        children[parent].append(pid)
    found, waiting = set[int](), [os.getpid()]
    while waiting:
        for pid in children[waiting.pop()]:
            if pid not in spare:
                found.add(pid)
                waiting.append(pid)
    return found


def _processes() -> Iterable[tuple[int, int]]:
    """(id, parent's id) of every process that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # called after every child
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            # The name stands in brackets and may have brackets and blanks in it; then state, parent.
            yield int(name), int(file.read().rpartition(b")")[2].split()[1])


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(pids: Iterable[int]) -> None:
    """Take the exit status of those that are children of this process; the others become so when their parents end."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            for _ in range(20):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    break
                time.sleep(_PAUSE_S)
