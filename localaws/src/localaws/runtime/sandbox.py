"""Sandbox of a runtime: what is in it, and the supervisor that starts and stops one runtime at a time."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from localaws.runtime.logstream import LogStream
from localaws.runtime.rootfs import Bind, Language

__all__ = ["Guest", "Isolator", "Layout", "Sandbox"]

# Killing takes milliseconds; the rest is for a loaded machine. After that the whole sandbox is closed.
_STOP_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Contents of a sandbox."""

    system: Literal["al2", "al2023"]
    language: Language | None
    """Language of the runtime; None for a runtime that the function includes."""
    runtime: Path | None
    """Directory for `/var/runtime`."""
    code: Path
    opt: Path | None
    ephemeral_mb: int
    extra: tuple[Bind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths as the runtime sees them: Lambda's own, or the host's without a sandbox."""

    task: str
    opt: str
    runtime: str
    start: tuple[str, ...]
    """Start of the command of a managed runtime; () for a guest without a language."""
    library_path: str
    path: str
    tmp: str | None
    """Private folder in place of /tmp; None where /tmp itself is private."""
    extra: Mapping[str, str]
    """Path at which the runtime finds each bind target."""


class Isolator(Protocol):
    """Protocol of a way to run guests."""

    kind: Literal["bwrap", "plain"]

    def layout(self, guest: Guest) -> Layout:
        """Return the paths for a new sandbox. Each call belongs to one `open`."""

    def prepare(self, guest: Guest) -> None:
        """Prepare what every sandbox for such a guest needs."""

    def open(self, guest: Guest, layout: Layout, argv: Sequence[str], env: Mapping[str, str]) -> Sandbox:
        """Return a sandbox in which `argv` can be started, with no runtime started yet."""


class Sandbox:
    """Running supervisor that starts and stops one runtime at a time. It ends when closed or when this process ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: int,
        status: int,
        logs: LogStream,
        *,
        kill: bool,
        secrets: tuple[int, bytes],
    ) -> None:
        """`kill`: the supervisor may be killed, which ends all below it; otherwise it is asked to end its children.

        `secrets`: a descriptor, and the lines that each runtime reads from it at its start.
        """
        self.logs = logs
        self.on_exit: Callable[[int, int | None], None] = lambda number, code: None
        """Callback with the number of a start, and the runtime's exit code, or None if the supervisor has ended."""
        self._process = process
        self._control = control
        self._status = status
        self._kill = kill
        self._secrets = secrets
        self._number = 0
        self._stopped = threading.Event()
        self._dead = threading.Event()
        self._closing = threading.Lock()
        self._closed = False
        self._pump = threading.Thread(target=self._run, name="localaws-sandbox", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._dead.is_set()

    def start(self) -> int:
        """Start the runtime; the number tells its exit from that of an earlier one."""
        self._number += 1
        descriptor, lines = self._secrets
        self._send(lines, descriptor)
        self._send(f"start {self._number}\n".encode())
        return self._number

    def stop(self) -> None:
        """End every process of the runtime and wait for it; /tmp stays."""
        # Cleared before the request is sent: afterwards the clear could erase the answer.
        self._stopped.clear()
        self._send(b"stop\n")
        if self.alive and not self._stopped.wait(_STOP_S):
            self.close()

    def close(self) -> None:
        """End everything and wait for it. May be called again."""
        with self._closing:  # held to the end: a second caller waits until everything has ended
            if self._closed:
                return
            self._closed = True
            os.close(self._control)  # at the end of this pipe the plain supervisor cleans up
            os.close(self._secrets[0])
            if self._kill:
                self._process.kill()
            try:
                # Bounded: a process in uninterruptible sleep must not block the server's end.
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._pump.join(_STOP_S)
            self.logs.close()

    def _send(self, lines: bytes, descriptor: int | None = None) -> None:
        with self._closing, suppress(OSError):
            if not self._closed:  # a closed descriptor's number may belong to another file by now
                os.write(self._control if descriptor is None else descriptor, lines)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.logs.descriptor, selectors.EVENT_READ)
            selector.register(self._status, selectors.EVENT_READ)
            pending = b""
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fd == self._status:
                        data = os.read(self._status, 4096)
                        *lines, pending = (pending + data).split(b"\n")
                        for line in lines:
                            self._heard(line.decode())
                        ended = not data
                    else:
                        ended = not self.logs.pump()
                    if ended:
                        selector.unregister(key.fd)
                    if ended and key.fd == self._status:
                        self._end()
        os.close(self._status)

    def _heard(self, line: str) -> None:
        match line.split():
            case ["exit", number, code]:
                self.on_exit(int(number), int(code))
            case ["stopped"]:
                self._stopped.set()

    def _end(self) -> None:
        self._dead.set()
        self._stopped.set()
        self.on_exit(self._number, None)
