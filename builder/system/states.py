"""The kernel's record of every file in a directory, which tells cheaply whether anyone has written to it since.

Only root can set the time of a file's last state change (ctime), and every write, rename and change of mode sets it;
so does the first write through a mapping. A file in the same state as before has the same content.
https://man7.org/linux/man-pages/man7/inode.7.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

# The kernel's clock for files ticks every few milliseconds: a change within the same tick would not be seen.
_TICK_S = 0.02

States = Mapping[str, tuple[int, ...]]


def states(root: Path) -> States:
    """Return {path below `root`: values that change whenever that file or directory does}.

    Call it only while nothing runs that could write there; later writes are noticed.
    """
    found: dict[str, tuple[int, ...]] = {}
    latest, waiting = 0, [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                state = entry.stat(follow_symlinks=False)
                found[path] = (state.st_ino, state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                latest = max(latest, state.st_ctime_ns)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
    # Wait until the clock has moved on from the newest file, so that the next write gets another ctime.
    time.sleep(max(0.0, min(_TICK_S, latest / 1e9 + _TICK_S - time.time())))
    return found
