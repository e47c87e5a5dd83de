"""What went wrong with a connection, in words: real sockets, and the libraries that wrap their errors."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import urllib3

from builder.network.wire import trouble
from tests.sources.forge import HANGS_UP, Answer, Front, self_signed

HOST = "127.0.0.1"


def by_urllib3(url: str) -> None:
    retries = urllib3.Retry(total=3, connect=0, read=0, redirect=2)
    with urllib3.PoolManager(retries=retries, timeout=0.3) as pool:
        pool.request("GET", url)


def by_requests(url: str) -> None:
    requests.get(url, timeout=0.3)


def by_urllib(url: str) -> None:
    with urllib.request.urlopen(url, timeout=0.3) as answer:
        answer.read()


CLIENTS = [by_urllib3, by_requests, by_urllib]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that listens, and says nothing."""
    with socket.create_server((HOST, 0)) as server:
        yield f"http://{HOST}:{server.getsockname()[1]}/"


def told(client: Callable[[str], None], url: str) -> tuple[str, str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of three libraries
        client(url)
    found = trouble(caught.value)
    if isinstance(caught.value, urllib.error.HTTPError):
        caught.value.close()
    assert "object at" not in found.words
    assert "Pool(" not in found.words
    assert "Errno" not in found.words
    return found.kind, found.words


@pytest.mark.parametrize("client", CLIENTS)
def test_nobody_there(client: Callable[[str], None]) -> None:
    assert told(client, f"http://{HOST}:9/") == ("refused", "the connection is refused")


@pytest.mark.parametrize("client", CLIENTS)
def test_nobody_speaks(client: Callable[[str], None], silent: str) -> None:
    assert told(client, silent) == ("silent", "timed out: no data arrived for too long")


@pytest.mark.parametrize("client", CLIENTS)
def test_no_such_name(client: Callable[[str], None]) -> None:
    kind, words = told(client, "http://name.invalid/")
    assert kind == "name"
    assert words in ("there is no host of that name", "the host's name cannot be resolved at the moment")


@pytest.mark.parametrize("client", CLIENTS)
def test_whoever_is_not_known_to_anybody(client: Callable[[str], None], tmp_path: Path) -> None:
    with Front(lambda path, headers: (200, {}, b""), "", tls=self_signed(tmp_path / "pem")) as front:
        kind, words = told(client, front.url)
    assert kind == "tls"
    assert "certificate verify failed" in words


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (HANGS_UP, "cut", "the connection was closed without an answer"),
        ((200, {"Content-Length": "100"}, b"x" * 40), "cut", "the answer broke off after 40 bytes, 60 are missing"),
        ((302, {"Location": "/"}, b""), "redirects", "too many redirects"),
    ],
    ids=["hangs-up", "cut", "redirects"],
)
def test_half_an_answer(client: Callable[[str], None], answer: Answer, kind: str, words: str) -> None:
    with Front(lambda path, headers: answer, "") as front:
        assert told(client, front.url) == (kind, words)


def test_a_reset_is_a_cut() -> None:
    with socket.create_server((HOST, 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        assert told(by_requests, f"http://{HOST}:{server.getsockname()[1]}/") == ("cut", "the connection was cut")
        thread.join()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ssl.SSLEOFError(8, "EOF occurred"), "cut", "the connection was cut"),
        (http.client.BadStatusLine("SSH-2.0"), "other", "the answer is not HTTP"),
        (OSError(101, "Network is unreachable"), "other", "there is no route to that host"),
        (OSError(28, "No space left on device"), "other", "No space left on device"),
        (ValueError("one line\nand <object object at 0x7f00>"), "other", "one line"),
        (ValueError(), "other", "ValueError"),
    ],
    ids=["tls-end", "no-http", "no-way", "disk", "text", "nothing"],
)
def test_others(error: Exception, kind: str, words: str) -> None:
    found = trouble(error)
    assert (found.kind, found.words) == (kind, words)
