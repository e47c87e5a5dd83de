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
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
# What the kernel takes to end a process is far less, unless it waits for a device.
_PATIENCE_S = 5.0
_PAUSE_S = 0.001
_QUICK_LOOKS = 200


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
    """End every descendant of this process; return how many there were, zombies included.

    Only for a process that is the subreaper of its descendants: what was orphaned before is not found.

    Args:
        spare: children that go on, with everything that they have started and not left.
        patience_s: seconds until it is given up.

    Raises:
        StillRunningError: some are still there.
    """
    deadline, ended = time.monotonic() + patience_s, 0
    spared = {os.getpgrp(), *spare}
    while _has_children() and (found := _descendants(spare)):
        # A group is killed at once: none of it can fork on the way. https://man7.org/linux/man-pages/man2/kill.2.html
        for group in {process.group for process in found if not process.is_zombie} - spared:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for process in found:
            _signal(process.pid, signal.SIGKILL)
        ended += _reaped(process.pid for process in found)
        # What leaves its group with each fork is quicker than a look at all processes; its parents were ours.
        for _ in range(_QUICK_LOOKS):
            if not (children := _children(spare)):
                break
            for pid in reversed(children):
                _signal(pid, signal.SIGKILL)
            ended += _reaped(children)
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier command cannot be killed")
    return ended


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
    while found := _killed_strangers(spare):
        ended |= found
        if time.monotonic() > deadline:
            raise StillRunningError(f"{len(found)} processes of an earlier builder cannot be killed")
        time.sleep(_PAUSE_S)
    return len(ended)


def _killed_strangers(spare: Callable[[int], bool]) -> set[int]:
    # All are stopped at once, which the kernel does without letting a fork slip through: nobody here is the parent of
    # what forks and ends, again and again, so it would be another process whenever one looks, and gone at each signal.
    _signal(-1, signal.SIGSTOP)
    try:
        found = _strangers(spare)
        for pid in found:
            _signal(pid, signal.SIGKILL)
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
    # Not by the owner of /proc/PID: a process that has made itself undumpable is shown as root's.
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
    """All below this process, zombies included, but for those spared and what is below them."""
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
    """Every process that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208  # called after every child
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            # The name stands in brackets and may have brackets and blanks in it; then state, parent, group.
            fields = file.read().rpartition(b")")[2].split()
            # Where its first thread has ended, a process looks like a zombie, and the others run on.
            is_zombie = fields[0] == b"Z" and int(fields[17]) <= 1
            yield _Process(pid=int(name), parent=int(fields[1]), group=int(fields[2]), is_zombie=is_zombie)


def _children(spare: Collection[int]) -> list[int]:
    """Children of this process, the newest last; none where the kernel does not list them."""
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
    """Take the exit status of those that are children of this process and have ended; how many these were.

    The others become children of this process when their parents end.
    """
    count = 0
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            count += os.waitpid(pid, os.WNOHANG)[0] != 0
    return count
