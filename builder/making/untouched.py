"""A guard of the fetched project against code that the build runs.

Commands and builds work in copies, but as the same user as the builder: they could write to the original, from which
other components are made.
"""

from __future__ import annotations

from pathlib import Path

from builder.amounts import some
from builder.errors import SourceChanged
from builder.system.states import States, states

_SHOWN = 5


class Untouched:
    """State of the directory `root` before the first foreign code runs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before: States | None = None

    def note(self) -> None:
        """Record the state; later calls change nothing."""
        if self._before is None:
            self._before = states(self._root)

    def check(self, doing: str) -> None:
        """Raise if the state differs from the recorded one, if there is one.

        Raises:
            SourceChanged: naming the changed files.
        """
        if self._before is None:
            return
        try:
            now = states(self._root)
        except OSError:  # code has made a directory unreadable: counts as a change of everything
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
