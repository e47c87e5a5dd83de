"""Conditional requests to one S3 object, one at a time.

moto compares ETags first and writes later. Between the two another request may write: two that hold the same ETag would
both succeed, which S3 rules out.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from localaws.wire.wsgi import Application, Environ, StartResponse


class Conditions:
    """Passes requests on; those with a condition on what they change wait for others of the same path."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        # By path: the lock, and how many hold it or wait for it.
        self._paths: dict[str, tuple[threading.Lock, int]] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        if not conditional or environ["REQUEST_METHOD"] not in ("PUT", "POST", "DELETE"):
            return self._application(environ, start_response)
        with self._alone(environ.get("HTTP_HOST", "") + environ.get("PATH_INFO", "")):
            return self._application(environ, start_response)

    @contextlib.contextmanager
    def _alone(self, path: str) -> Iterator[None]:
        with self._lock:
            lock, users = self._paths.get(path, (threading.Lock(), 0))
            self._paths[path] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._paths[path]
                if users == 1:
                    del self._paths[path]
                else:
                    self._paths[path] = lock, users - 1
