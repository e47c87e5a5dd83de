"""Whether the project is still as it was fetched, while code that it asked for runs beside it.

Commands and builds work in copies, but as the same user as the builder: they could write to the original, of which
other components are made.
"""

from __future__ import annotations

from pathlib import Path

from builder.amounts import some
from builder.errors import SourceChanged
from builder.system.states import States, states

_SHOWN = 5


class Untouched:
    """The directory `root`, as it is before the first foreign code runs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before: States | None = None

    def note(self) -> None:
        """Remember how everything is; only the first time."""
        if self._before is None:
            self._before = states(self._root)

    def check(self, doing: str) -> None:
        """Return if all is as it was noted, or nothing was.

        Raises:
            SourceChanged: names what was changed.
        """
        if self._before is None:
            return
        try:
            now = states(self._root)
        except OSError:  # a directory cannot be listed any more
            now = {}
        if now == self._before:
            return
        changed = sorted(path for path in {*self._before, *now} if self._before.get(path) != now.get(path))
        files = [path for path in changed if not (self._root / path).is_dir()] or changed
        raise SourceChanged(
            f"{doing}: code that ran has changed the project itself, outside of its copy: {some(files, _SHOWN)}",
            hint="commands and builds of dependencies write below their working directory, HOME or TMPDIR; nothing was "
            "deployed",
        )
