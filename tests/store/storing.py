"""The store as the builder has it, in the embedded AWS, also behind a proxy that loses answers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from builder.aws import connect
from builder.records.record import Record
from builder.store.keeping import Store
from builder.store.s3 import S3Store
from builder.store.values import Fields
from localaws.testing import Server


def read_json(store: Store, name: str) -> Mapping[str, Any] | None:
    """The JSON at `name`, None if there is none."""
    return store.read(name, lambda kept: kept.value, hint="")


def new_bucket(aws: Server) -> str:
    bucket = f"store-{uuid.uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return bucket


def store_in(aws: Server, bucket: str, *, endpoint_url: str | None = None, prefix: str = "t/") -> S3Store:
    """The store below `prefix` of the bucket, with clients of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint_url or aws.endpoint_url)
        clients = connect(
            region=aws.env["AWS_REGION"],
            access_key_id=aws.env["AWS_ACCESS_KEY_ID"],
            secret_access_key=aws.env["AWS_SECRET_ACCESS_KEY"],
        )
        assert clients.s3.meta.endpoint_url == (endpoint_url or aws.endpoint_url)
    return S3Store(clients, bucket, prefix)


@dataclass
class Line:
    """A way to the embedded AWS. `loses(method, key)` says whether an answer never arrives; the request does."""

    url: str = ""
    loses: Callable[[str, str], bool] = lambda method, key: False
    lost: list[str] = field(default_factory=list)


@contextmanager
def bad_line(aws: Server) -> Iterator[Line]:
    line, to = Line(), urlsplit(aws.endpoint_url)

    class Forward(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            onward = HTTPConnection(to.hostname or "", to.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            onward.request(self.command, self.path, body, headers)
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if line.loses(self.command, self.path):
                line.lost.append(f"{self.command} {self.path}")
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        line.url = f"http://127.0.0.1:{server.server_port}"
        yield line
        server.shutdown()
        thread.join()


# What a record says of a layer besides its component, name and ARN.
LAYER: Mapping[str, object] = {"sha256": "1" * 64, "description": "", "license": "", "runtimes": []}


def deployment_of(**more: object) -> dict[str, Any]:
    """What a record says that a build has deployed, with some of it as given."""
    empty: dict[str, object] = {"settings": {}, "tags": {}, "extras": {}}
    nothing = dict.fromkeys(("role", "version", "alias", "lock", "source", "origin"))
    what = {"architecture": "x86_64", "runtime": "python3.13", "code": {"sha256": "0" * 64}, "layers": []}
    return {**what, **empty, **nothing, **more}


def record_of(**more: object) -> Record:
    """The record of a build, with some of it as given."""
    nothing = ("function", "by", "repo", "commit", "ref", "alias", "version", "error", "message", "restored")
    what = {"build_id": "b", "action": "build", "state": "succeeded", "builder": "1", "path": ""}
    times = {"seconds": 1.0, "started": "2026-11-21T10:16:35Z", "ended": "2026-11-21T10:16:36Z"}
    made: dict[str, object] = {"changed": [], "sizes": {}, "reply": {}, "deployment": None}
    return Record.parse(Fields({**what, **times, **dict.fromkeys(nothing), **made, **more}))
