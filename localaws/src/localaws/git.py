"""Bare repositories over smart HTTP: git's own `http-backend` behind a loopback server.

The server behaves like a forge: any reachable commit can be fetched by its id, protocol 2 is spoken, a token makes
everything private. A missing or wrong token is answered with 401, an unknown repository with 404.
"""

from __future__ import annotations

import base64
import hmac
import logging
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from localaws.wire.origins import why_refused

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024
# These settings override each repository's own, so that it behaves like a forge's.
_CONFIGURATION = {
    "uploadpack.allowReachableSHA1InWant": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
    "http.receivepack": "true",
    "safe.directory": "*",
}


class GitServer(ThreadingHTTPServer):
    """Server of every bare repository under `root` at its relative path, with or without `.git`."""

    daemon_threads = True

    def __init__(self, root: Path, *, port: int, token: str | None = None) -> None:
        """Bind to loopback.

        Raises:
            FileNotFoundError: git is not installed.
        """
        git = shutil.which("git")
        if git is None:
            raise FileNotFoundError("git is not on the PATH: install git to serve repositories")
        self.git = git
        self.root = root.resolve()
        self.token = token
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def repository(self, name: str) -> Path | None:
        """Return the repository with this relative name; None for anything else, or outside the root."""
        for candidate in (name, f"{name}.git"):
            # Resolved before it is compared: neither `..` nor a link leads out of the root.
            path = (self.root / candidate).resolve()
            if path.is_relative_to(self.root) and path != self.root and (path / "HEAD").is_file():
                return path
        return None


class _Handler(BaseHTTPRequestHandler):
    server: GitServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        if why := why_refused(self.headers.get):
            self._plain(403, f"Forbidden: {why}\n")
            return
        if not self._authorized():
            self._plain(401, "Authentication required\n", {"WWW-Authenticate": 'Basic realm="git"'})
            return
        path, _, query = self.path.partition("?")
        name, action = _split(path)
        repository = self.server.repository(name) if name else None
        if repository is None:
            self._plain(404, "Repository not found\n")
            return
        self._run_backend(repository, action, query)

    def _authorized(self) -> bool:
        token = self.server.token
        if token is None:
            return True
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return False
        # In constant time, so that the token cannot be guessed letter by letter.
        return hmac.compare_digest(password.encode(), token.encode())

    def _plain(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _run_backend(self, repository: Path, action: str, query: str) -> None:
        environment = _environment(self, repository, action, query)
        with subprocess.Popen(
            [self.server.git, "http-backend"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            try:
                for block in self._body():
                    process.stdin.write(block)
                process.stdin.close()
                self._relay(process.stdout)
            # Either side may end early: a client that has what it wants, or git after an error.
            except (BrokenPipeError, ConnectionResetError):
                process.kill()
                self.close_connection = True

    def _relay(self, output: IO[bytes]) -> None:
        """Send the CGI output as HTTP. Its length is unknown, so the end of the connection marks its end."""
        headers: list[tuple[str, str]] = []
        status = 200
        for line in iter(output.readline, b""):
            name, _, value = line.decode("latin-1").strip().partition(": ")
            if not name:
                break
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        shutil.copyfileobj(output, self.wfile, _CHUNK_BYTES)
        self.close_connection = True

    def _body(self) -> Iterator[bytes]:
        """Yield the request body in blocks, with chunking and gzip undone."""
        blocks = self._raw_body()
        if self.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
            yield from blocks
            return
        # wbits 31 is zlib's number for gzip.
        inflater = zlib.decompressobj(wbits=31)
        for block in blocks:
            yield inflater.decompress(block)
        yield inflater.flush()

    def _raw_body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            block = self.rfile.read(min(left, _CHUNK_BYTES))
            if not block:
                return
            left -= len(block)
            yield block

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


def _split(path: str) -> tuple[str, str]:
    """Split a smart-HTTP path into repository and action. Both are empty for any other path."""
    for action in ("/info/refs", "/git-upload-pack", "/git-receive-pack"):
        if path.endswith(action):
            return path.removesuffix(action).strip("/"), action
    return "", ""


def _environment(handler: _Handler, repository: Path, action: str, query: str) -> dict[str, str]:
    """Return the CGI environment.

    Git's configuration is passed in it, so that no file of the user is read or changed.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(_CONFIGURATION)),
        "GIT_PROJECT_ROOT": str(repository),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": action,
        "QUERY_STRING": query,
        "REQUEST_METHOD": handler.command,
        "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
        "REMOTE_ADDR": HOST,
        "REMOTE_USER": "git",
        "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
    }
    for index, (key, value) in enumerate(_CONFIGURATION.items()):
        environment |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return environment
