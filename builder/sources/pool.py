"""A pool of HTTP connections that goes nowhere it should not, and waits no longer than there is time."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3

from builder import authorities
from builder.errors import OutOfTime, UnsafeSource
from builder.sources.access import Network
from builder.sources.urls import host_of, is_loopback, without_secrets

CheckResponse = Callable[[str, int, Mapping[str, str]], None]
"""Called with URL, status and header fields of each answer that is no redirect; raises to refuse it."""

# How often, and for how long at most, a server that says "later" is waited for.
_WAITS, _LONGEST_WAIT_S = 3, 60.0
# Of the time that is left, what is not spent on waiting: the rest of the build needs some.
_SPARE_S = 5.0


class GuardedPool(urllib3.PoolManager):
    """Follows redirects by https to `hosts` only (None: to all), and looks at every answer before its reader does.

    urllib3 takes the credentials out of a request that is redirected to another origin. `close` ends everything.
    """

    home: str
    hosts: Collection[str] | None
    network: Network
    check_response: CheckResponse
    responses: list[urllib3.BaseHTTPResponse]

    # The signature is urllib3's, which calls this again for every redirect.
    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        self._check_address(url)
        for attempt in range(_WAITS + 1):
            if self.network.remaining() <= 0:
                raise OutOfTime(f"{self.home}: no time left to ask for the repository", hint="run the command again")
            response = super().urlopen(method, url, redirect, **kw)
            if response in self.responses:
                return response  # the answer to a redirected request, on its way back through the calls
            pause = _pause_s(response)
            if pause is None or attempt == _WAITS or pause > min(_LONGEST_WAIT_S, self.network.remaining() - _SPARE_S):
                break
            response.close()
            time.sleep(pause)
        self.responses.append(response)
        if not response.get_redirect_location():
            self.check_response(url, response.status, response.headers)
        return response

    def _check_address(self, url: str) -> None:
        parts, encrypted = urlsplit(url), self.home.startswith("https:")
        if parts.scheme != "https" and (encrypted or not is_loopback(parts.hostname or "")):
            raise UnsafeSource(f"the server redirects to {without_secrets(url)!r}, which is not encrypted")
        if self.hosts is not None and host_of(url) not in self.hosts:
            raise UnsafeSource(
                f"{self.home} redirects to another host, {host_of(url)}, which is not an allowed one",
                hint=f"give the address that it redirects to, or add {host_of(url)} to git_hosts in config.ini",
            )

    def close(self) -> None:
        for response in self.responses:
            response.close()
        self.clear()


class _GuardedProxy(GuardedPool, urllib3.ProxyManager):
    pass


def _pause_s(response: urllib3.BaseHTTPResponse) -> float | None:
    """How long the server asks to wait; None if it does not. GitHub's secondary limits are 403 with Retry-After."""
    if response.status not in (403, 429, 503) or "Retry-After" not in response.headers:
        return None
    try:
        return float(urllib3.Retry().get_retry_after(response) or 0)
    except urllib3.exceptions.InvalidHeader:
        return None


class Beginning:
    """The beginning of a git server's last answer, which says things that dulwich overlooks."""

    def __init__(self) -> None:
        self._data = b""
        self.agent = ""

    def watch(self, response: urllib3.BaseHTTPResponse) -> None:
        self._data = b""
        read = response.read

        def remembering(*args: Any, **kwargs: Any) -> bytes:
            data = read(*args, **kwargs)
            if len(self._data) < 400:
                self._data = (self._data + data)[:400]
                if found := re.search(rb"agent=(\S+)", self._data):
                    self.agent = found[1].decode("utf-8", "replace")
            return data

        response.read = remembering  # type: ignore[method-assign]

    def refusal(self) -> str:
        """What the server said in an `ERR` packet at the beginning of its last answer."""
        found = re.match(rb"[0-9a-f]{4}ERR ([^\n]*)", self._data)
        return found[1].decode("utf-8", "replace") if found else ""


def guarded_pool(
    url: str, check_response: CheckResponse, network: Network, *, hosts: Collection[str] | None
) -> GuardedPool:
    """A pool for requests to `url`'s server, through the environment's proxy if there is one for it.

    It waits 10 s for a connection, and repeats what failed before anything was sent.

    Raises:
        InvalidConfiguration: the CA bundle cannot be read.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=10, read=network.read_timeout_s),
        "retries": urllib3.Retry(
            total=4,
            connect=2,
            read=1,
            redirect=3,
            status=0,
            other=0,
            backoff_factor=0.2,
            respect_retry_after_header=False,  # it would wait for however long it is told
        ),
        "headers": {"User-Agent": "git/lambdasmith"},
    }
    if parts.scheme == "https":
        settings["ssl_context"] = authorities.context(network.ca_bundle)
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
    pool.home = url
    pool.hosts = hosts
    pool.network = network
    pool.check_response = check_response
    pool.responses = []
    return pool
