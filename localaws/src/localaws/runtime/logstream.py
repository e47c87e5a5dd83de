"""What a function prints, as log events, read from one pipe in the order in which it was written."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
import time

__all__ = ["LogStream"]

# awslambdaric frames what goes through `logging`, so that one event may have many lines: type (4 bytes, the last one
# and a half say format and level), length (4), microseconds (8), text. Both kinds share a pipe to keep their order; no
# UTF-8 text contains these bytes.
_FRAME = b"\xa5\x5a\x00"
_FRAME_HEADER = struct.Struct(">4sIQ")
_FRAME_LIMIT = 16 * 1024 * 1024
_CHUNK = 65536


class LogStream:
    """Log events of one execution environment. `pump` and the invoker may call at the same time."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the reading end of the pipe; it becomes non-blocking and belongs to this object."""
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._lock = threading.Lock()
        self._rest = b""
        self._events: list[tuple[int, str]] = []
        self._closed = False

    def pump(self) -> bool:
        """Read what is there now, so that the function never waits for us; False once the pipe has ended."""
        with self._lock:
            return self._read(_CHUNK)

    def write(self, text: str) -> None:
        """Add an event of the platform after everything that was written before this call."""
        with self._lock:
            self._drain()
            self._events.append((_now_ms(), text))

    def take(self) -> tuple[tuple[int, str], ...]:
        """All events so far, an unfinished last line included; they are forgotten here."""
        with self._lock:
            self._drain()
            events, self._events = self._events, []
        return tuple(events)

    def holds(self, text: str) -> bool:
        """Whether a complete line so far contains `text`."""
        with self._lock:
            self._read_waiting()
            return any(text in line for _, line in self._events)

    def close(self) -> None:
        """Close the pipe; later calls read nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.descriptor)

    def _drain(self) -> None:
        self._read_waiting()
        if self._rest and not self._rest.startswith(_FRAME):
            self._add(_now_ms(), self._rest)
            self._rest = b""

    def _read_waiting(self) -> None:
        # What a function wrote before it answered is in the pipe already; what a thread of it goes on writing
        # meanwhile would keep us here for ever, so the amount is fixed first.
        if not self._closed:
            waiting = struct.unpack("i", fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
            if waiting:
                self._read(waiting)

    def _read(self, size: int) -> bool:
        if self._closed:
            return False
        try:
            data = os.read(self.descriptor, size)
        except BlockingIOError:
            return True
        self._rest = self._split(self._rest + data)
        return bool(data)

    def _split(self, data: bytes) -> bytes:
        """Add the complete events in `data`, return what is left."""
        now = _now_ms()
        start = 0
        while start < len(data):
            frame = data.find(_FRAME, start)
            newline = data.find(b"\n", start, frame if frame >= 0 else len(data))
            if newline >= 0:
                self._add(now, data[start:newline])
                start = newline + 1
            elif frame < 0:
                break
            elif frame > start:
                self._add(now, data[start:frame])
                start = frame
            else:
                if len(data) - start < _FRAME_HEADER.size:
                    break
                _, length, microseconds = _FRAME_HEADER.unpack_from(data, start)
                body = start + _FRAME_HEADER.size
                if length > _FRAME_LIMIT:  # binary output that only looks like a frame
                    self._add(now, data[start:body])
                    start = body
                    continue
                if len(data) - body < length:
                    break
                self._add(microseconds // 1000, data[body : body + length].removesuffix(b"\n"))
                start = body + length
        return data[start:]

    def _add(self, when_ms: int, text: bytes) -> None:
        self._events.append((when_ms, text.decode("utf-8", "replace")))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
