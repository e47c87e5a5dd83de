"""A pool of HTTP connections that goes nowhere it should not, and waits no longer than there is time."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import urllib3

from builder.errors import OutOfTime, UnsafeSource
from builder.network import authorities
from builder.network.access import GitCredentials, Network, credentials_for
from builder.network.urls import host_of, is_loopback, is_url, origin, without_secrets

_REDIRECTS = "give the https address that the repository has now; if the server is yours, correct its redirect"

CheckResponse = Callable[[str, int, Mapping[str, str]], None]
"""Called with URL, status and header fields of each answer that is not a redirect; raises to refuse it."""


class GuardedPool(urllib3.PoolManager):
    """A pool that follows redirects by https to `hosts` only (None: to all), and checks every answer first.

    Every address gets those `credentials` that belong to it, also after a redirect; without any, headers stay as given,
    and urllib3 drops a login when another origin is redirected to. `close` ends everything.
    """

    home: str
    hosts: Collection[str] | None
    network: Network
    credentials: Sequence[GitCredentials]
    check_response: CheckResponse
    responses: list[urllib3.BaseHTTPResponse]

    # The signature is urllib3's, which calls this again for every redirect.
    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        self._check_address(url)
        # Before each request, redirects included: a chain of slow answers must not outlast the build.
        if self.network.is_over:
            raise self.out_of_time()
        if self.credentials:
            kw["headers"] = self._with_login(url, kw.get("headers") or self.headers)
        kw["timeout"] = urllib3.Timeout(connect=self.network.connect_s, read=self.network.read_s)
        try:
            response = super().urlopen(method, url, redirect, **kw)
        except ValueError as error:  # of urllib.parse and urllib3: `Location: https://[x`
            raise UnsafeSource(
                f"{self.home}: the server redirects to an address that is not a URL", hint=_REDIRECTS
            ) from error
        if response in self.responses:
            return response  # the answer to a redirected request, on its way back through the calls
        self.responses.append(response)
        if not response.get_redirect_location():
            self.check_response(url, response.status, response.headers)
        return response

    def login(self, url: str) -> GitCredentials | None:
        """Return the credentials that belong to `url`; those without a base go to `home`'s origin only."""
        at_home = origin(url) == origin(self.home)
        return credentials_for(url, [each for each in self.credentials if at_home or each.base is not None])

    def _with_login(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        theirs = self.login(url)
        return kept | (urllib3.make_headers(basic_auth=f"{theirs.username}:{theirs.token}") if theirs else {})

    def out_of_time(self) -> OutOfTime:
        """Return the error for a server that had not finished its answer when the time was over."""
        return OutOfTime(
            f"{self.home}: the server's answer was incomplete when the time was over",
            hint="run the command again, or give the builder more time and memory; more memory means a faster network",
        )

    def limit_silence(self, response: urllib3.BaseHTTPResponse) -> None:
        """Limit the wait for the next piece of an answer to the time that is left.

        Raises:
            OutOfTime: no time is left.
        """
        if self.network.is_over:
            raise self.out_of_time()
        # urllib3 sets one timeout per request. On the socket itself it follows the clock: a server that drips is left.
        raw = getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None)
        if (connection := getattr(raw, "_sock", None)) is not None:
            connection.settimeout(self.network.read_s)

    def _check_address(self, url: str) -> None:
        if not is_url(url):
            raise UnsafeSource(
                f"{self.home}: the server redirects to {without_secrets(url)!r}, which is not a URL", hint=_REDIRECTS
            )
        parts, encrypted = urlsplit(url), self.home.startswith("https:")
        # A redirect from https to http would send the token in the clear.
        if parts.scheme != "https" and (encrypted or not is_loopback(parts.hostname or "")):
            raise UnsafeSource(
                f"{self.home}: the server redirects to {without_secrets(url)!r}, which is not encrypted",
                hint=_REDIRECTS,
            )
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


class Beginning:
    """The beginning of a git server's last answer, which says things that dulwich overlooks."""

    def __init__(self) -> None:
        self._data = b""
        self.agent = ""

    def watch(self, response: urllib3.BaseHTTPResponse, pool: GuardedPool) -> None:
        self._data = b""
        read = response.read

        def remembering(*args: Any, **kwargs: Any) -> bytes:
            pool.limit_silence(response)
            data = read(*args, **kwargs)
            if len(self._data) < 400:
                self._data = (self._data + data)[:400]
                if found := re.search(rb"agent=(\S+)", self._data):
                    self.agent = found[1].decode("utf-8", "replace")
            return data

        response.read = remembering  # type: ignore[method-assign]

    def refusal(self) -> str:
        """Return the text of an `ERR` packet at the beginning of the server's last answer."""
        found = re.match(rb"[0-9a-f]{4}ERR ([^\n]*)", self._data)
        return found[1].decode("utf-8", "replace") if found else ""


def guarded_pool(
    url: str,
    check_response: CheckResponse,
    network: Network,
    *,
    hosts: Collection[str] | None,
    credentials: Sequence[GitCredentials] = (),
) -> GuardedPool:
    """Return a pool for requests to `url`'s server, through the environment's proxy if there is one for it.

    It tries everything once; `patience` decides what is tried again.

    Raises:
        InvalidConfiguration: the CA bundle cannot be read.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    settings: dict[str, Any] = {
        # Redirects only. Retries start the whole fetch over, which urllib3 can't; and it would not know the remaining
        # time.
        "retries": urllib3.Retry(
            total=3, connect=0, read=0, redirect=3, status=0, other=0, respect_retry_after_header=False
        ),
        # GitHub requires that it begins with git/: https://github.com/jelmer/dulwich/issues/562
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
    pool.credentials = credentials
    pool.check_response = check_response
    pool.responses = []
    return pool
