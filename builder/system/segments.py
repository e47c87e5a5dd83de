"""Removes memory that outlives its processes: System V's shared segments, queues and semaphores.

What a build leaves there would be missing for later builds as long as the environment lasts, and could be read by
them. https://man7.org/linux/man-pages/man7/sysvipc.7.html
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

_TABLES = Path("/proc/sysvipc")
_IPC_RMID = 0


def remove_all() -> int:
    """Remove all that this user may; return how many. Only where nothing but the builder uses them."""
    libc = ctypes.CDLL(None)
    calls: dict[str, Callable[[int], int]] = {
        "shm": lambda found: int(libc.shmctl(found, _IPC_RMID, None)),
        "msg": lambda found: int(libc.msgctl(found, _IPC_RMID, None)),
        "sem": lambda found: int(libc.semctl(found, 0, _IPC_RMID, None)),
    }
    return sum(remove(found) == 0 for kind, remove in calls.items() for found in _ids(kind))


def _ids(kind: str) -> Iterator[int]:
    with contextlib.suppress(OSError):  # a kernel may have none of these
        for line in (_TABLES / kind).read_text().splitlines()[1:]:
            yield int(line.split()[1])
