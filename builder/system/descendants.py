"""Finds and ends processes that children leave behind, however they try to get away.

A process that forks, starts a session of its own and lets its parent end has no parent among ours any more: it
outlives the build, and in a warm environment it lives beside the builds of others. A subreaper stays the parent of all
of them, so none can leave the tree that is searched here. No privilege is needed, and every kernel below Lambda has it.
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
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
# The kernel needs far less to end a process, unless that waits for a device.
_PATIENCE_S = 5.0
# More looks would only delay the deadline; each costs far less than a look at all of /proc.
_PAUSE_S = 0.001
_QUICK_LOOKS = 200


class StillRunningError(RuntimeError):
    """Processes that cannot be ended: whatever runs in this environment next would run beside them."""


@functools.cache
def adopt() -> None:
    """Make this process the parent of all its orphaned descendants, for the rest of its life.

    https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html

    Raises:
        OSError: the kernel refuses; then no foreign code may run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end(spare: Collection[int] = (), *, patience_s: float = _PATIENCE_S) -> int:
    """End every descendant of this process; return how many there were, zombies included.

    Only for a process that is the subreaper of its descendants: earlier orphans are not found.

    Args:
        spare: children that go on, with all that they have started.
        patience_s: seconds until it gives up.

    Raises:
        StillRunningError: some are still running.
    """
    deadline, ended = time.monotonic() + patience_s, 0
    # Killing its own group would end the builder.
    spared = {os.getpgrp(), *spare}
    while _has_children() and (found := _descendants(spare)):
        # A group is killed at once: none of it can fork meanwhile. https://man7.org/linux/man-pages/man2/kill.2.html
        for group in {process.group for process in found if not process.is_zombie} - spared:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        # Then each by its own id, because some have left their group.
        for process in found:
            _signal(process.pid, signal.SIGKILL)
        ended += _reaped(process.pid for process in found)
        # A process that leaves its group with each fork is quicker than a look at all of /proc. Its dead parents were
        # ours, so it is our child by now, and the list of children is short.
        for _ in range(_QUICK_LOOKS):
            if not (children := _children(spare)):
                break
            # The newest first: it is the one that is about to fork.
            for pid in reversed(children):
                _signal(pid, signal.SIGKILL)
            ended += _reaped(children)
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier command cannot be killed")
    return ended


def end_strangers(spare: Callable[[int], bool], *, patience_s: float = _PATIENCE_S) -> int:
    """End every other process that this one may signal, ancestors excepted; return how many there were.

    Only where every process of this user is the builder's, as in Lambda. Foreign code may have killed an earlier
    builder, and its processes are no one's descendants now.

    Args:
        spare: whether a process may go on.
        patience_s: seconds until it gives up.

    Raises:
        StillRunningError: some are still running.
    """
    deadline, ended = time.monotonic() + patience_s, set[int]()
    while found := _killed_strangers(spare):
        ended |= found
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier builder cannot be killed")
        time.sleep(_PAUSE_S)
    return len(ended)


def _killed_strangers(spare: Callable[[int], bool]) -> set[int]:
    # All are stopped at once, which the kernel does without letting a fork slip through. A process that forks and ends,
    # again and again, would otherwise have another id at each look, and be gone at each signal.
    _signal(-1, signal.SIGSTOP)
    try:
        found = _strangers(spare)
        for pid in found:
            _signal(pid, signal.SIGKILL)
    # In `finally`: whatever is spared (the Runtime API's own processes) must not stay stopped.
    finally:
        _signal(-1, signal.SIGCONT)
    return found


def _strangers(spare: Callable[[int], bool]) -> set[int]:
    processes = {process.pid: process for process in _processes()}
    own = {pid := os.getpid()}
    while pid in processes and (pid := processes[pid].parent) not in own:
        own.add(pid)
    others = (process.pid for process in processes.values() if not process.is_zombie and process.pid not in own)
    return {pid for pid in others if _may_signal(pid) and not spare(pid)}


def _may_signal(pid: int) -> bool:
    # Not by the owner of /proc/PID: a process that has made itself undumpable appears to be root's.
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


class _Process(NamedTuple):
    pid: int
    parent: int
    group: int
    is_zombie: bool


def _descendants(spare: Collection[int]) -> list[_Process]:
    """Return all processes below this one, zombies included, except those spared and their descendants."""
    children = defaultdict(list)
    for process in _processes():
        children[process.parent].append(process)
    found, waiting = list[_Process](), [os.getpid()]
    while waiting:
        for process in children[waiting.pop()]:
            if process.pid not in spare:
                found.append(process)
                waiting.append(process.pid)
    return found


def _processes() -> Iterable[_Process]:
    """Yield every process that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # called after every child
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            # The name is in brackets and may contain brackets and blanks; then come state, parent, group.
            fields = file.read().rpartition(b")")[2].split()
            # A process whose first thread has ended looks like a zombie, while its other threads run on.
            is_zombie = fields[0] == b"Z" and int(fields[17]) <= 1
            yield _Process(pid=int(name), parent=int(fields[1]), group=int(fields[2]), is_zombie=is_zombie)


def _children(spare: Collection[int]) -> list[int]:
    """Return the children of this process, newest last; none if the kernel does not list them."""
    found = list[int]()
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            with open(f"/proc/self/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    return [pid for pid in found if pid not in spare]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reaped(pids: Iterable[int]) -> int:
    """Take the exit status of those that are children of this process and have ended; return how many.

    The others become children of this process when their parents end.
    """
    count = 0
    for pid in pids:
        # WNOHANG: a process may take long to die, and the next look finds it again.
        with contextlib.suppress(ChildProcessError):
            count += os.waitpid(pid, os.WNOHANG)[0] != 0
    return count
