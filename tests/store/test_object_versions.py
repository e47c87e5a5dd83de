"""Which version of an object holds an artifact, where the bucket keeps versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from builder.aws import connect
from builder.store.s3 import S3Store

# What S3 says of an object by its key: in a bucket with versions, without, and where they have been suspended.
VERSIONS = {"kept": "3sL4kqtJlcpXroDTDmJ", "plain": None, "suspended": "null"}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    class Head(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            version = VERSIONS[self.path.rpartition("/")[2]]
            if version is not None:
                self.send_header("x-amz-version-id", version)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Head) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield S3Store(connect(region="us-east-1", access_key_id="k", secret_access_key="s"), "bucket", "t/")
        server.shutdown()
        thread.join()


def test_an_object_has_a_version_only_where_versions_are_kept(store: S3Store) -> None:
    assert store.version_id("kept") == VERSIONS["kept"]
    assert store.version_id("plain") is None
    assert store.version_id("suspended") is None
