"""Conditional requests to one S3 object, one at a time.

moto compares ETags first and writes later. Another request may write in between: two requests with the same ETag would
both succeed, which cannot happen on S3.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from localaws.wire.wsgi import Application, Environ, StartResponse


class Conditions:
    """WSGI application that serialises conditional writes per path, and passes all other requests on."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        # By path: the lock, and the number of its holders and waiters, so that the last one removes it.
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
