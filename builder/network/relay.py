"""A proxy on loopback in front of one that wants a login: children use it, and don't know the login.

Every connection begins with the head of one request (CONNECT, or one with a whole URL). It goes to the real proxy with
the login in place of a random word, which keeps other users of the machine out; after that, bytes are passed on as
they come, both ways.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import secrets
import socket
import socketserver
import threading
from urllib.parse import SplitResult, unquote, urlsplit

from builder.network import authorities

# A proxy is near; a child that waits longer for it reports the timeout itself.
_CONNECT_S = 30.0
# More than any client's head: anything longer is not a request.
_MAX_HEAD = 1 << 16
_CHUNK = 1 << 16
# Headers between a client and its next proxy. The connection ends after its first request, because a second one would
# have no login.
_OWN = re.compile(rb"(?:proxy-authorization|proxy-connection|connection)[ \t]*:", re.IGNORECASE)
_WHO = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="relay"\r\n'
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@functools.cache
def relay(proxy: str) -> str:
    """Return the URL on loopback of a relay to the http(s) proxy at `proxy`; it runs as long as this process."""
    server = _Server(urlsplit(proxy))
    threading.Thread(target=server.serve_forever, args=(0.5,), name="relay", daemon=True).start()
    return f"http://relay:{server.word}@127.0.0.1:{server.server_address[1]}"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: SplitResult) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._proxy = proxy
        self.word = secrets.token_urlsafe(18)
        self.login = _field(unquote(proxy.username or ""), unquote(proxy.password or ""))
        self.expected = _field("relay", self.word).partition(b" ")[2]

    def upstream(self) -> socket.socket:
        """Open a connection to the real proxy."""
        host, is_tls = self._proxy.hostname or "", self._proxy.scheme == "https"
        made = socket.create_connection((host, self._proxy.port or (443 if is_tls else 80)), timeout=_CONNECT_S)
        if is_tls:
            made = authorities.context().wrap_socket(made, server_hostname=host)
        # A tunnel may be silent for long; the child at its end has a time limit of its own.
        made.settimeout(None)
        return made

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: the client that broke off knows."""


class _Connection(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            # Bounded, since anyone on this machine can connect and send bytes without end.
            if len(received) > _MAX_HEAD or not (more := self.request.recv(_CHUNK)):
                return
            received += more
        head, _, rest = received.partition(b"\r\n\r\n")
        if not self._may(head):
            self.request.sendall(_WHO)
            return
        try:
            upstream = self.server.upstream()
        except OSError:
            self.request.sendall(_UNREACHABLE)
            return
        with upstream:
            upstream.sendall(self._with_login(head) + rest)
            back = threading.Thread(target=_pass_on, args=(upstream, self.request), daemon=True)
            back.start()
            _pass_on(self.request, upstream)
            back.join()

    def _may(self, head: bytes) -> bool:
        fields = (field.partition(b":") for field in head.split(b"\r\n")[1:])
        given = (value.strip() for name, _, value in fields if name.strip().lower() == b"proxy-authorization")
        return any(secrets.compare_digest(value, self.server.expected) for value in given)

    def _with_login(self, head: bytes) -> bytes:
        first, *fields = head.split(b"\r\n")
        kept = [field for field in fields if not _OWN.match(field)]
        ends = [] if first.startswith(b"CONNECT ") else [b"Connection: close"]
        return b"\r\n".join([first, *kept, self.server.login, *ends, b"", b""])


def _field(user: str, password: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode())


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until the source has no more, then close the target's direction."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    # Only one direction: the other side may still be answering.
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
