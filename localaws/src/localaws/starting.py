"""Servers as processes: started afresh, or forked from a process that has imported everything (`localaws.warm`)."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Protocol

_HOME = Path(__file__).resolve().parent.parent
_LENGTH = struct.Struct("!I")
_ANSWER = struct.Struct("!i")


class Started(Protocol):
    """What of `subprocess.Popen` its user needs."""

    pid: int
    stdin: IO[str] | None
    stdout: IO[str] | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


def start(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Started:
    """Run `python -m localaws …` in a process of its own, with pipes to standard input and from standard output."""
    return subprocess.Popen(
        [sys.executable, "-m", "localaws", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=_HOME,
    )


def fork(arguments: Sequence[str]) -> Started:
    """Do the same in a fork of a process that has imported what a server needs; with this process's environment."""
    return _warm().start(Order(arguments, _environment()))


def _environment() -> dict[str, str]:
    """Return this process's environment but for what differs with every test: what was found out in one is known."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@dataclass(frozen=True)
class Order:
    """Arguments and whole environment of `python -m localaws`.

    It is sent as JSON after its length, with four descriptors: the three standard ones of the server, and one that is
    open as long as the server lives. The answer is the server's process id.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]

    def give(self, to: socket.socket, descriptors: Sequence[int]) -> int:
        """Return the process id of the server."""
        content = json.dumps([self.arguments, self.environment]).encode()
        socket.send_fds(to, [_LENGTH.pack(len(content))], descriptors)
        to.sendall(content)
        pid: int = _ANSWER.unpack(_receive(to, _ANSWER.size))[0]
        return pid

    @classmethod
    def take(cls, source: socket.socket) -> tuple[Order, Sequence[int]] | None:
        """Return the next order and its descriptors; None if none can come."""
        head, descriptors, _, _ = socket.recv_fds(source, _LENGTH.size, 4)
        if not head:
            return None
        head += _receive(source, _LENGTH.size - len(head))
        arguments, environment = json.loads(_receive(source, _LENGTH.unpack(head)[0]))
        return cls(arguments, environment), descriptors

    @staticmethod
    def answer(to: socket.socket, pid: int) -> None:
        to.sendall(_ANSWER.pack(pid))


def _receive(source: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = source.recv(length - len(received))
        if not part:
            raise RuntimeError("localaws.warm ended")
        received += part
    return bytes(received)


class _Warm:
    """The process that forks, while this one lives."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localaws.warm"], stdin=theirs.fileno(), cwd=_HOME, env=_environment()
            )
        atexit.register(self._close)

    def start(self, order: Order) -> _Fork:
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        (given, stdin), (stdout, out), (ended, life) = pipes
        try:
            with self._lock:
                pid = order.give(self._orders, [given, out, 2, life])
        except BaseException:
            for descriptor in (stdin, stdout, ended):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (given, out, life):
                os.close(descriptor)
        return _Fork(pid, stdin, stdout, ended)

    def _close(self) -> None:
        self._orders.close()
        self._process.wait()


class _Fork:
    """Process that another one has started: nobody here can ask how it ended, but that it did shows."""

    def __init__(self, pid: int, stdin: int, stdout: int, ended: int) -> None:
        self.pid = pid
        self.stdin: IO[str] | None = os.fdopen(stdin, "w")
        self.stdout: IO[str] | None = os.fdopen(stdout)
        self._ended: int | None = ended

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"localaws, process {self.pid}", timeout or 0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        if self._ended is not None:
            if not select.select([self._ended], [], [], timeout)[0]:
                return None
            os.close(self._ended)
            self._ended = None
        return 0

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _warm() -> _Warm:
    return _Warm()
