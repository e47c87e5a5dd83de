"""A server on loopback for the time of one command, for a tool that must not know a login.

It only hands out, and its URLs begin with a random word, so that other users of the machine can't ask it. `Upstream`
is the other side: it asks the real servers, each with its own login.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.error import HTTPError, URLError

from builder.errors import UntrustedCertificate
from builder.network import authorities
from builder.network.untrusted import explained

# What a server says, errors included.
Answer = HTTPResponse | HTTPError

# Like git's: a server that is silent for a minute will not answer any more.
_TIMEOUT_S = 60.0
_CHUNK = 1 << 18
_PASSED = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Retry-After")


class Loopback:
    """A server whose `answer` responds to every call with a URL that begins with `root`.

    Args:
        answer: called in a thread of each connection. Network errors that it raises become a 502.
    """

    def __init__(self, answer: Callable[[Call], None]) -> None:
        self.answer = answer
        # 144 random bits, so that no other user of the machine can guess a URL.
        self._word = secrets.token_urlsafe(18)
        self._server: _Server | None = None

    def start(self) -> None:
        """Start to listen on a free port."""
        self._server = _Server(("127.0.0.1", 0), partial(Call, self))
        # Polls for `shutdown` every 0.05 s: the default of 0.5 s would be added to each command.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="loopback", daemon=True).start()

    @property
    def started(self) -> bool:
        return self._server is not None

    @property
    def root(self) -> str:
        """Beginning of every URL here, without a slash at its end."""
        port = self._server.server_address[1] if self._server else 0
        return f"http://127.0.0.1:{port}/{self._word}"

    def below(self, path: str) -> str | None:
        """Return `path` without the random word and without a query; None if it does not begin with the word."""
        word, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        # compare_digest: how long a comparison takes must not tell how much of the word was right.
        return rest if secrets.compare_digest(word.encode(), self._word.encode()) else None

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Tools open dozens of connections at once; one that does not fit in the queue is retried only after a second.
    request_queue_size = 128


class Call(BaseHTTPRequestHandler):
    """A tool's request. `method` is GET or HEAD, `rest` the path below the server's root, quoted as it came."""

    protocol_version = "HTTP/1.1"
    method: str
    rest: str

    def __init__(self, loopback: Loopback, *arguments: Any) -> None:
        self._loopback = loopback
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def _answer(self, method: str) -> None:
        rest = self._loopback.below(self.path)
        if rest is None:
            self.send(404)
            return
        self.method, self.rest = method, rest
        try:
            self._loopback.answer(self)
        except (OSError, HTTPException, ValueError):
            # The head may have been sent already, so the connection ends: a second answer on it would be read as
            # content.
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.send(502)

    def send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer with `body`."""
        self._begin(status, {**(headers or {}), "Content-Length": str(len(body))})
        if self._has_body():
            self.wfile.write(body)

    def send_stream(self, file: IO[bytes], size: int, headers: Mapping[str, str]) -> None:
        """Answer with the `size` bytes of `file`."""
        self._begin(200, {**headers, "Content-Length": str(size)})
        while self._has_body() and (chunk := file.read(_CHUNK)):
            self.wfile.write(chunk)

    def redirect(self, url: str) -> None:
        """Redirect to another URL, which needs no login."""
        self.send(302, headers={"Location": url})

    def pass_on(self, answer: Answer) -> None:
        """Pass on another server's answer."""
        passed = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
        if "Content-Length" not in passed:
            self.close_connection = True
        status = answer.code if isinstance(answer, HTTPError) else answer.status
        self._begin(status, passed | ({"Connection": "close"} if self.close_connection else {}))
        while self._has_body() and (chunk := answer.read(_CHUNK)):
            self.wfile.write(chunk)

    def _has_body(self) -> bool:
        return self.command != "HEAD"

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the URLs contain the random word."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A request that a server refused for its login, or for want of one."""

    url: str
    status: int


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The real servers. `authorization` returns the header that belongs to a URL, None if there is none."""

    authorization: Callable[[str], str | None] = field(repr=False)
    timeout_s: float = _TIMEOUT_S
    refused: list[Refused] = field(default_factory=list)
    untrusted: list[UntrustedCertificate] = field(default_factory=list)

    def ask(self, url: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """Return the server's answer, errors included.

        Raises:
            OSError, HTTPException: there is no answer.
        """
        request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310  # http or https
        self.authorize(request)
        handler = urllib.request.HTTPSHandler(context=authorities.context())
        opener = urllib.request.build_opener(handler, _Redirects(self))
        try:
            answer: HTTPResponse = opener.open(request, timeout=self.timeout_s)
            return answer
        except HTTPError as error:
            # Remembered, because the tool reports such an error in its own words, without the name of the login.
            if error.code in (401, 403):
                self.refused.append(Refused(url=url, status=error.code))
            return error
        except URLError as error:
            if refused := explained(error, url):
                self.untrusted.append(refused)
            raise

    def authorize(self, request: urllib.request.Request) -> None:
        """Add the login of the requested host, in a header that is not sent along with a redirect."""
        if header := self.authorization(request.full_url):
            request.add_unredirected_header("Authorization", header)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; each host gets its own login, or none."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        follow = super().redirect_request(req, fp, code, msg, headers, newurl)
        if follow is not None:
            self._upstream.authorize(follow)
        return follow


def whole_body(answer: Answer, max_bytes: int) -> bytes:
    """Return the body of an answer.

    Raises:
        IncompleteRead: it broke off, or is longer. With a limit http.client itself takes part of it for all.
    """
    body = answer.read(max_bytes)
    if answer.length:
        raise IncompleteRead(body, answer.length)
    return body


def reaching_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep proxies away from 127.0.0.1 in a child's environment."""
    around = ("NO_PROXY", "no_proxy")
    return {name: ",".join(filter(None, (environment.get(name), "127.0.0.1"))) for name in around}
