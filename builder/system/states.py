"""What the kernel says of every file in a directory: whether somebody has written to it since, at the price of a look.

Nobody but root can set the time at which a file's state changed last (ctime), and every write, rename and change of
mode sets it; so does the first write through a mapping. What has the same state as before has the same content.
https://man7.org/linux/man-pages/man7/inode.7.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

# The kernel's clock for files moves on every few milliseconds: a change within the same tick would not be seen.
_TICK_S = 0.02

States = Mapping[str, tuple[int, ...]]


def states(root: Path) -> States:
    """Path below `root` → what changes whenever that file or directory does.

    Only while nothing that could write there runs; what is written afterwards is seen.
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
    time.sleep(max(0.0, min(_TICK_S, latest / 1e9 + _TICK_S - time.time())))
    return found
