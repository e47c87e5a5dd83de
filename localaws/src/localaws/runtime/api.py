"""Lambda's Runtime API on loopback: the HTTP server that hands invocations to a runtime.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

__all__ = [
    "RESPONSE_LIMIT_BYTES",
    "Answer",
    "Call",
    "Event",
    "Exited",
    "Failure",
    "InitFailure",
    "Oversized",
    "Ready",
    "RuntimeApi",
    "Session",
    "Starved",
]

RESPONSE_LIMIT_BYTES = 6_291_556
_PREFIX = "/2018-06-01/runtime/"
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 413: "Too Large"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """Invocation as the runtime gets it."""

    request_id: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """Event: the runtime asked for an invocation."""


@dataclass(frozen=True)
class Answer:
    payload: bytes


@dataclass(frozen=True)
class Failure:
    """Event: the runtime reported an error of the function."""

    payload: bytes
    type: str


@dataclass(frozen=True)
class InitFailure:
    """Event: the runtime reported that it could not initialise."""

    payload: bytes
    type: str


@dataclass(frozen=True)
class Oversized:
    """Event: the runtime's response was too large."""


@dataclass(frozen=True)
class Exited:
    """Event: the runtime's process ended, with a shell's exit code if that is known."""

    code: int | None


@dataclass(frozen=True)
class Starved:
    """Event: the runtime used more than its memory."""


Event = Ready | Answer | Failure | InitFailure | Oversized | Exited | Starved


class Session:
    """Dialogue with one start of a runtime. Every start gets a new session, so that no stale message gets through."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._current: Call | None = None

    def put(self, call: Call) -> None:
        """Queue an invocation for the runtime, which may be waiting already."""
        self._calls.put(call)

    def close(self) -> None:
        """Release a runtime that waits for an invocation."""
        self._calls.put(None)

    def next(self) -> Call | None:
        """Wait for an invocation; None if the session is closed.

        Any process of the function can ask: during an invocation it gets the same one again, as from AWS's emulator.
        """
        if self._current is not None:
            return self._current
        self.events.put(Ready())
        self._current = self._calls.get()
        return self._current

    def finish(self, request_id: str, event: Answer | Failure | Oversized) -> bool:
        """Accept the result of the current invocation; return False for any other."""
        if self._current is None or request_id != self._current.request_id:
            return False
        self._current = None
        self.events.put(event)
        return True


class RuntimeApi:
    """Listening socket for one execution environment."""

    def __init__(self) -> None:
        self.session = Session()
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()[:2]
        self.address = f"{host}:{port}"
        threading.Thread(target=self._accept, name="localaws-runtime-api", daemon=True).start()

    def renew(self) -> Session:
        """End the current session and start another."""
        # Replaced before it is closed, so that a runtime that reconnects at once gets the new session.
        old, self.session = self.session, Session()
        old.close()
        return self.session

    def close(self) -> None:
        """Stop listening. Connections end with the runtime."""
        self.session.close()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close alone would not wake the thread in accept
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            # Without Nagle's delay: a response is small, and the runtime waits for it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection, peer), name="localaws-runtime", daemon=True).start()

    def _serve(self, connection: socket.socket, peer: object) -> None:
        with connection, suppress(OSError):
            type("Handler", (_Handler,), {"session": self.session})(connection, peer, self)


class _Handler(BaseHTTPRequestHandler):
    """Handler of one connection of a runtime."""

    protocol_version = "HTTP/1.1"
    session: ClassVar[Session]

    def do_GET(self) -> None:
        if self.path != f"{_PREFIX}invocation/next":
            self._reply_json(404, {"errorMessage": "Not Found", "errorType": "NotFound"})
            return
        call = self.session.next()
        if call is None:
            self.close_connection = True
            return
        self._reply(200, call.payload, {"Content-Type": "application/json", **call.headers})

    def do_POST(self) -> None:
        body = self._body()
        kind = self.headers.get("Lambda-Runtime-Function-Error-Type") or ""
        match self.path.removeprefix(_PREFIX).split("/"):
            case ["init", "error"]:
                self.session.events.put(InitFailure(body, kind))
                known = True
            case ["invocation", request_id, "error"]:
                known = self.session.finish(request_id, Failure(body, kind))
            case ["invocation", request_id, "response"] if len(body) > RESPONSE_LIMIT_BYTES:
                self.session.finish(request_id, Oversized())
                message = f"Exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
                self._reply_json(413, {"errorMessage": message, "errorType": "RequestEntityTooLarge"})
                return
            case ["invocation", request_id, "response"]:
                # A streaming runtime that fails half-way reports the error in a trailer or header.
                known = self.session.finish(request_id, Failure(body, kind) if kind else Answer(body))
            case _:
                self._reply_json(404, {"errorMessage": "Not Found", "errorType": "NotFound"})
                return
        if known:
            self._reply_json(202, {"status": "OK"})
        else:
            self._reply_json(400, {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the function's log must not contain our lines."""

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _reply_json(self, status: int, content: Mapping[str, str]) -> None:
        self._reply(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        # Head and body in one write: two packets would cost as much as the rest of a warm invoke.
        head = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)
