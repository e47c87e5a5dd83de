"""Calls of AWS are counted, and Lambda's control plane is held to its rate."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from builder.aws import Clients, connect
from builder.network.calls import Calls


def test_the_thirteenth_call_within_a_second_waits_until_the_second_is_over() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    calls = Calls(clock=lambda: now[0], sleep=sleep)
    for _ in range(12):
        calls.note("lambda", "UpdateFunctionCode")
        now[0] += 0.05
    assert slept == []
    calls.note("lambda", "PublishVersion")
    assert slept == [0.4]
    assert calls.counts["lambda", "UpdateFunctionCode"] == 12


def test_what_has_a_rate_of_its_own_never_waits() -> None:
    calls = Calls(clock=lambda: 5.0, sleep=lambda _: None)
    for _ in range(50):
        calls.note("lambda", "GetFunction")
        calls.note("s3", "GetObject")
    calls.note("lambda", "PublishVersion")
    assert sum(calls.counts.values()) == 101


def test_each_build_may_retry_as_often_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has one quota for all its retries, and lives longer than a build."""
    throttles = 0

    class Throttling(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal throttles
            status, body = (429, b'{"__type": "TooManyRequestsException"}') if throttles else (200, b"{}")
            throttles = max(throttles - 1, 0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    def survives(clients: Clients, count: int) -> bool:
        nonlocal throttles
        throttles = count
        try:
            clients.secretsmanager.list_secrets()
        except clients.secretsmanager.exceptions.ClientError:
            return False
        return True

    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Throttling)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        clients = connect(region="us-east-1", access_key_id="test", secret_access_key="test")
        for _ in range(2):
            clients.begin_build()
            assert survives(clients, 4)
            assert not survives(clients, 5), "five attempts are made"
            assert sum(survives(clients, 4) or survives(clients, 5) for _ in range(100)) < 60, "a storm"
            assert not survives(clients, 2)
    finally:
        server.shutdown()
        server.server_close()
