"""Progress of a run: a live list on a terminal, one line per finished step elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bootstrap.changes import Step
from bootstrap.walk import Watcher
from builder import amounts
from builder.characters import visible, visible_line

if TYPE_CHECKING:
    from rich.console import RenderableType


@contextmanager
def shown(steps: Sequence[Step], stream: TextIO, environment: Mapping[str, str]) -> Iterator[Watcher]:
    """Return a watcher that suits `stream`."""
    if stream.isatty() and environment.get("TERM", "dumb") != "dumb":
        with _live(steps, stream, environment) as watcher:
            yield watcher
    else:
        yield Lines(stream)


class Lines:
    """Watcher with plain lines: the progress of long steps, and the end of every step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: dict[str, str] = {}

    def _print(self, line: str) -> None:
        print(visible(line), file=self._stream, flush=True)

    def started(self, step: Step) -> None:
        """Print nothing: a line at the end is enough."""

    def said(self, step: Step, text: str) -> None:
        # A step that waits says the same again and again.
        if self._said.get(step.name) != text:
            self._said[step.name] = text
            self._print(f"  .. {step.name}: {text}")

    def finished(self, step: Step, seconds: float) -> None:
        self._print(f"  ok {step.sentence} ({amounts.seconds(seconds, 1)})")

    def failed(self, step: Step) -> None:
        self._print(f"  !! {step.sentence}")


@contextmanager
def _live(steps: Sequence[Step], stream: TextIO, environment: Mapping[str, str]) -> Iterator[Watcher]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, no_color=bool(environment.get("NO_COLOR")), highlight=False, _environ=environment)
    board = _Board(steps)
    with Live(console=console, refresh_per_second=10, get_renderable=board.render):
        yield board


class _Board:
    """Live list of all steps of a plan, each with a sign, its time and its progress."""

    def __init__(self, steps: Sequence[Step]) -> None:
        from rich.spinner import Spinner

        self._steps = steps
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._failed: set[str] = set()
        self._text: dict[str, str] = {}
        self._spinner = Spinner("dots")

    def started(self, step: Step) -> None:
        with self._lock:
            self._since[step.name] = time.monotonic()

    def said(self, step: Step, text: str) -> None:
        with self._lock:
            self._text[step.name] = visible_line(text)

    def finished(self, step: Step, seconds: float) -> None:
        with self._lock:
            self._took[step.name] = seconds

    def failed(self, step: Step) -> None:
        with self._lock:
            self._failed.add(step.name)

    def render(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        now = time.monotonic()
        with self._lock:
            for step in self._steps:
                name, sentence = step.name, Text(step.sentence)
                if name in self._took:
                    table.add_row(Text("✓", "green"), sentence, Text(amounts.seconds(self._took[name], 1), "dim"))
                elif name in self._failed:
                    table.add_row(Text("✗", "red"), sentence, "")
                elif name in self._since:
                    said = Text(f" ({self._text[name]})" if name in self._text else "", "dim")
                    seconds = Text(amounts.seconds(now - self._since[name], 1), "dim")
                    table.add_row(self._spinner, Text.assemble(sentence, said), seconds)
                else:
                    table.add_row(Text("·", "dim"), Text(step.sentence, "dim"), "")
        return table
