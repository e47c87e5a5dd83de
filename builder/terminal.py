"""Shows a build on a terminal: one live line for the present work, lines for finished work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import TextIO

from builder.amounts import seconds
from builder.characters import visible, visible_line
from builder.flow.bounds import MAX_LINE, short_line
from builder.flow.page import Text
from builder.progress import Moment


class Terminal:
    """Shows moments of a build on `stream`: live if that is a terminal, else one line each."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        dumb = environment.get("TERM", "") in ("", "dumb")
        self._live = stream.isatty() and not dumb
        self._colour = self._live and not environment.get("NO_COLOR")
        self._drawn = False
        self._shown = 0

    def __call__(self, moment: Moment) -> None:
        """Show what begins now, and above it the phases that have ended since."""
        for phase in moment.phases[self._shown :]:
            if self._live:
                self._write(f"{self._paint('32', '✓')} {phase.name} {self._paint('2', seconds(phase.seconds, 2))}")
        self._shown = len(moment.phases)
        if not self._live:
            self.line(f"{moment.seconds:6.2f} s  {short_line(moment.message)}")
            return
        width = shutil.get_terminal_size().columns
        text = f"{moment.phase}: {moment.message}" if moment.phase not in moment.message else moment.message
        text = visible_line(text[:MAX_LINE])
        self._stream.write(f"\r\x1b[K{self._paint('36', '…')} {text[: max(10, width - 3)]}")
        self._stream.flush()
        self._drawn = True

    def line(self, text: str) -> None:
        """Write a line that stays, without sequences that a terminal would obey: much of it comes from projects."""
        self._write(visible(text))

    def _write(self, text: str) -> None:
        self.clear()
        self._stream.write(text + os.linesep)
        self._stream.flush()

    def clear(self) -> None:
        """Remove the live line."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def show(self, text: Text) -> None:
        """Write a text that is rendered."""
        self.clear()
        self._stream.write(text.colour if self._colour else text.plain)
        self._stream.flush()

    def failed(self, text: Text) -> None:
        """Write what went wrong."""
        self.clear()
        self._stream.write(f"{self._paint('1;31', 'error:')} ")
        self.show(text)

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._write(f"{self._paint('33', 'warning:')} {visible(text)}")

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
