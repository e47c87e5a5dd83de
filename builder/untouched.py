"""Whether the project is still as it was fetched, while code that it asked for runs beside it.

Commands and builds work in copies, but as the same user as the builder: they could write to the original, of which
other components are made. What the kernel says of a file tells: nobody but root can set the time of a file's last
change of state (ctime), and every write and rename sets it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from builder.errors import SourceChanged

# The kernel's clock for files moves on every few milliseconds: a change within the same tick would not be seen.
_TICK_S = 0.02
_SHOWN = 5


class Untouched:
    """The directory `root`, as it is before the first foreign code runs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before: Mapping[str, tuple[int, ...]] | None = None

    def note(self) -> None:
        """Remember how everything is; only the first time."""
        if self._before is None:
            before = _states(self._root)
            latest = max((state[-1] for state in before.values()), default=0) / 1e9
            time.sleep(max(0.0, min(_TICK_S, latest + _TICK_S - time.time())))
            self._before = before

    def check(self, doing: str) -> None:
        """Return if all is as it was noted, or nothing was.

        Raises:
            SourceChanged: names what was changed.
        """
        if self._before is None:
            return
        now = _states(self._root)
        if now == self._before:
            return
        changed = sorted(path for path in {*self._before, *now} if self._before.get(path) != now.get(path))
        files = [path for path in changed if not (self._root / path).is_dir()] or changed
        shown = ", ".join(files[:_SHOWN]) + (f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else "")
        raise SourceChanged(
            f"{doing}: code that ran has changed the project itself, outside of its copy: {shown}",
            hint="commands and builds of dependencies write below their working directory, HOME or TMPDIR; nothing was "
            "deployed",
        )


def _states(root: Path) -> dict[str, tuple[int, ...]]:
    """Path below `root` → what changes whenever the file or directory does."""
    found: dict[str, tuple[int, ...]] = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                state = entry.stat(follow_symlinks=False)
                found[path] = (state.st_ino, state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
    return found
