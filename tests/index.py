"""A package index of our own on loopback: a directory of wheels and sdists over the simple API.

PEP 503 (HTML), PEP 691 (JSON) and PEP 658 (metadata beside wheels). It counts what it is asked.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import html
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_PATIENCE_S = 30
_JSON = "application/vnd.pypi.simple.v1+json"


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _project(filename: str) -> str:
    return normalised(filename.split("-")[0] if filename.endswith(".whl") else filename.rpartition("-")[0])


@dataclass
class Fault:
    """What an index does wrong the first `times` that a path is asked for: an answer, or a part of one.

    `cut` sends half of the body that it has announced; without a body that is half of the right one. `drop` sends
    nothing and hangs up.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: bool = False
    drop: bool = False
    times: int = 1 << 30


@dataclass
class Index:
    """A running index.

    `yanked` names files; `redirects` maps paths to where else they are, `lies` a file to content that is sent in its
    place; `max_age` is how many seconds its answers may be kept, which it says only if it is set. `together`: a wheel
    is sent once it was asked for so many times, to all at once. `logins_seen` are the Authorization headers that came,
    `faults` what is wrong with some paths.
    """

    root: Path
    url: str = ""
    html_only: bool = False
    login: tuple[str, str] | None = None
    max_age: int | None = None
    together: int = 0
    yanked: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    logins_seen: set[str] = field(default_factory=set)
    lies: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def simple(self) -> str:
        return f"{self.url}/simple"

    def files_of(self, project: str) -> list[Path]:
        return sorted(path for path in self.root.iterdir() if path.is_file() and _project(path.name) == project)

    def page(self, project: str) -> list[Mapping[str, object]]:
        entries: list[Mapping[str, object]] = []
        for path in self.files_of(project):
            entry: dict[str, object] = {
                "filename": path.name,
                "url": f"{self.url}/files/{path.name}",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                "yanked": path.name in self.yanked,
            }
            if path.suffix == ".whl":
                entry["core-metadata"] = {"sha256": hashlib.sha256(_metadata(path)).hexdigest()}
            entries.append(entry)
        return entries


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))


class _Handler(BaseHTTPRequestHandler):
    index: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.index.requests[self.path] += 1
        self.index.logins_seen.add(self.headers.get("Authorization", ""))
        if self.index.login and not self._may():
            self._send(401, b"who are you?", "text/plain", {"WWW-Authenticate": 'Basic realm="index"'})
            return
        fault = self.index.faults.get(self.path)
        if fault and self.index.requests[self.path] <= fault.times:
            self._fail(fault)
            return
        path = unquote(self.path.partition("?")[0])
        if self.path in self.index.redirects:
            self._send(302, b"", "text/plain", {"Location": self.index.redirects[self.path]})
            return
        if match := re.fullmatch(r"/simple/([^/]+)/", path):
            self._page(match[1])
        elif match := re.fullmatch(r"/files/([^/]+)", path):
            self._file(match[1])
        else:
            self._send(404, b"nothing here", "text/plain")

    def _fail(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.drop:
            return
        body = fault.body
        if body is None:
            name = unquote(self.path).rpartition("/")[2]
            body = (self.index.root / name).read_bytes() if fault.cut and name else b""
        kind = {} if "Content-Type" in fault.headers else {"Content-Type": "text/html"}
        self.send_response(fault.status)
        for field_name, value in {
            **kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **fault.headers,
        }.items():
            self.send_header(field_name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault.cut else body)

    def _may(self) -> bool:
        user, password = self.index.login or ("", "")
        wanted = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {wanted}"

    def _page(self, project: str) -> None:
        files = self.index.page(project)
        if not files:
            self._send(404, b"no such project", "text/plain")
        elif _JSON in self.headers.get("Accept", "") and not self.index.html_only:
            body = {"meta": {"api-version": "1.1"}, "name": project, "files": files, "versions": []}
            self._send(200, json.dumps(body).encode(), _JSON)
        else:
            links = "".join(
                f'<a href="{file["url"]}#sha256={file["hashes"]["sha256"]}"'  # type: ignore[index]
                f"{' data-yanked=bad' if file['yanked'] else ''}>{html.escape(str(file['filename']))}</a>\n"
                for file in files
            )
            self._send(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")

    def _file(self, name: str) -> None:
        path = self.index.root / name.removesuffix(".metadata")
        if not path.is_file():
            self._send(404, b"no such file", "text/plain")
            return
        until = time.monotonic() + _PATIENCE_S
        while name.endswith(".whl") and self.index.requests[self.path] < self.index.together:
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        body = _metadata(path) if name.endswith(".metadata") else self.index.lies.get(name) or path.read_bytes()
        self._send(200, body, "application/octet-stream")

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        kept = {} if self.index.max_age is None else {"Cache-Control": f"max-age={self.index.max_age}"}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **kept, **(headers or {})}.items():
            if value:  # an empty one says: without it
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(root: Path) -> Iterator[Index]:
    """An index of the files in `root`, on a free port of 127.0.0.1; files may be added while it runs."""
    index = Index(root=root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index}))
    index.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
