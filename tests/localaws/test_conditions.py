"""Of two conditional requests to one object, the second sees what the first has done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localaws.s3.conditions import Conditions


class Counter:
    """An application that knows how many requests it is in at the same time, per path."""

    def __init__(self) -> None:
        self.present: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        with self._lock:
            self.present[path] = self.present.get(path, 0) + 1
            self.most[path] = max(self.most.get(path, 0), self.present[path])
        time.sleep(0.05)
        with self._lock:
            self.present[path] -= 1
        if environ.get("fails"):
            raise ZeroDivisionError
        return [b""]


def send(application: Conditions, *requests: dict[str, str]) -> None:
    def one(request: dict[str, str]) -> None:
        application({"REQUEST_METHOD": "PUT", "HTTP_HOST": "h", **request}, lambda *_: None)

    with ThreadPoolExecutor(len(requests)) as pool:
        list(pool.map(one, requests))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
@pytest.mark.parametrize("condition", ["HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"])
def test_conditional_changes_of_one_object_come_one_at_a_time(method: str, condition: str) -> None:
    counter = Counter()
    application = Conditions(counter)
    send(application, *[{"REQUEST_METHOD": method, "PATH_INFO": "/b/a", condition: "x"}] * 4)
    assert counter.most == {"/b/a": 1}
    assert application._paths == {}


def test_everything_else_goes_side_by_side() -> None:
    counter = Counter()
    application = Conditions(counter)
    send(application, *[{"PATH_INFO": "/b/plain"}] * 4)
    send(application, *[{"PATH_INFO": "/b/read", "REQUEST_METHOD": "GET", "HTTP_IF_MATCH": "x"}] * 4)
    started = time.monotonic()
    send(application, *[{"PATH_INFO": f"/b/{name}", "HTTP_IF_MATCH": "x"} for name in "abcdefgh"])
    assert time.monotonic() - started < 0.3
    assert counter.most["/b/plain"] > 1
    assert counter.most["/b/read"] > 1


def test_a_request_that_fails_holds_nobody_up() -> None:
    application = Conditions(Counter())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            send(application, {"PATH_INFO": "/b/a", "HTTP_IF_MATCH": "x", "fails": "yes"})
    assert application._paths == {}
