"""A pool of HTTP connections for git that goes nowhere it should not."""

from __future__ import annotations

import re
import ssl
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import urllib3

from builder.errors import UnsafeSource
from builder.sources.urls import is_loopback, without_secrets

CheckResponse = Callable[[str, int, str], None]
"""Called with URL, status and content type of each answer that is no redirect; raises to refuse it."""


class GuardedPool(urllib3.PoolManager):
    """Follows redirects to https only, and looks at every answer before git does.

    urllib3 takes the credentials out of a request that is redirected to another origin. `close` ends everything.
    """

    encrypted: bool
    check_response: CheckResponse
    responses: list[urllib3.BaseHTTPResponse]
    _begun: bytes = b""

    # The signature is urllib3's.
    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        parts = urlsplit(url)
        if parts.scheme != "https" and (self.encrypted or not is_loopback(parts.hostname or "")):
            raise UnsafeSource(f"the server redirects to {without_secrets(url)!r}, which is not encrypted")
        response = super().urlopen(method, url, redirect, **kw)
        if response in self.responses:
            return response  # the answer to a redirected request, on its way back through the calls
        self.responses.append(response)
        self._begun = b""
        if not response.get_redirect_location():
            self.check_response(url, response.status, response.headers.get("Content-Type", ""))
        read = response.read

        def remembering(*args: Any, **kwargs: Any) -> bytes:
            data = read(*args, **kwargs)
            self._begun = (self._begun + data)[:400] if len(self._begun) < 400 else self._begun
            return data

        response.read = remembering  # type: ignore[method-assign]
        return response

    def refusal(self) -> str:
        """What the server said in an `ERR` packet at the beginning of its last answer; dulwich overlooks it there."""
        found = re.match(rb"[0-9a-f]{4}ERR ([^\n]*)", self._begun)
        return found[1].decode("utf-8", "replace") if found else ""

    def close(self) -> None:
        for response in self.responses:
            response.close()
        self.clear()


class _GuardedProxy(GuardedPool, urllib3.ProxyManager):
    pass


def guarded_pool(url: str, check_response: CheckResponse) -> GuardedPool:
    """A pool for requests to `url`'s server, through the environment's proxy if there is one for it.

    It waits 10 s for a connection, 60 s for each piece of an answer, and repeats what failed before anything was sent.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=10, read=60),
        "retries": urllib3.Retry(total=4, connect=2, read=1, redirect=3, status=0, other=0, backoff_factor=0.2),
        "headers": {"User-Agent": "git/lambdasmith"},
    }
    if parts.scheme == "https":
        settings["ca_certs"] = _certificates()
    proxy = None
    if not is_loopback(host) and not urllib.request.proxy_bypass(host):
        proxy = urllib.request.getproxies().get(parts.scheme)
    pool: GuardedPool
    if proxy:
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        login = f"{address.username}:{address.password or ''}" if address.username else None
        bare = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        pool = _GuardedProxy(
            bare, proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None, **settings
        )
    else:
        pool = GuardedPool(**settings)
    pool.encrypted = parts.scheme == "https"
    pool.check_response = check_response
    pool.responses = []
    return pool


def _certificates() -> str | None:
    """A CA bundle where the interpreter finds none by itself (SSL_CERT_FILE is honoured by the interpreter)."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return None
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()
