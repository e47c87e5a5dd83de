"""Proxy for package indexes with a login: uv and pip must not know the login, as they may run foreign code.

A server on loopback that runs during one command. It serves the pages of the configured indexes and the files that
these pages name, and adds the login on the way to their host; it serves nothing else. Its URLs start with a random
word. Its pages contain its own URLs instead of the index's; `real` restores those.
"""

from __future__ import annotations

import contextlib
import html
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urlsplit

from builder.errors import UntrustedCertificate
from builder.network.loopback import Answer, Call, Loopback, Refused, Upstream, reaching_loopback, whole_body
from builder.python.pages import links
from builder.secrets.indexes import Indexes

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
# Pages are rewritten in memory: a server must not be able to use it up.
_MAX_PAGE = 64 << 20
_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
_FILE = re.compile(r"f/(?P<number>\d+)/[^/]+?(?P<metadata>\.metadata)?")
_PAGE = re.compile(r"i/(?P<number>\d+)/(?P<rest>(?:[A-Za-z0-9._-]+/?)?)")


class Gateway:
    """Gateway for the configured indexes. The server starts at the first call of `address`."""

    def __init__(self, indexes: Indexes, scratch: Path) -> None:
        self.indexes = indexes
        self._scratch = scratch
        self._upstream = Upstream(authorization=indexes.authorization)
        self._loopback = Loopback(self._answer)
        self._pages: list[str] = []
        self._files: list[str] = []
        self._lock = threading.Lock()

    @property
    def refused(self) -> Sequence[Refused]:
        """Hosts that refused a login."""
        return self._upstream.refused

    @property
    def untrusted(self) -> Sequence[UntrustedCertificate]:
        """Hosts whose certificate was not trusted."""
        return self._upstream.untrusted

    def address(self, url: str) -> str:
        """Return the address of the index, or page of links, at `url`: the gateway's if it has a login, else `url`."""
        if not self.indexes.covers(url):
            return url
        if not self._loopback.started:
            self._loopback.start()
        if url not in self._pages:
            self._pages.append(url)
        return f"{self._root}/i/{self._pages.index(url)}/"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a tool, with the address of the default index."""
        changed = {
            name: " ".join(map(self.address, environment[name].split())) for name in _VARIABLES if environment.get(name)
        }
        if not self._loopback.started:
            return dict(environment)
        # Our URLs differ each time: a cache keyed by them would be useless later.
        cache = self._scratch / "private-cache"
        changed |= reaching_loopback(environment)
        return {**environment, **changed, "UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}

    def real(self, text: str) -> str:
        """Return `text` with the indexes' own URLs instead of ours."""
        if not self._loopback.started:
            return text
        text = re.sub(
            rf"{re.escape(self._root)}/f/(\d+)/[^/\s\"'`)#]+?(\.metadata)?(?=[\s\"'`)#]|$)",
            lambda match: self._files[int(match[1])] + (match[2] or ""),
            text,
        )
        return re.sub(rf"{re.escape(self._root)}/i/(\d+)/?", lambda match: self._slashed(int(match[1])), text)

    def close(self) -> None:
        """End the server."""
        self._loopback.close()

    def _slashed(self, number: int) -> str:
        return self._pages[number].rstrip("/") + "/"

    @property
    def _root(self) -> str:
        return self._loopback.root

    def _answer(self, call: Call) -> None:
        found = self._named(call.rest)
        if found is None:
            call.send(404)
            return
        url, is_page = found
        # Files without content coding: ranges and hashes refer to the plain bytes.
        headers = {"Accept": _ACCEPT} if is_page else {"Accept-Encoding": "identity"}
        if not is_page and "Range" in call.headers:
            headers["Range"] = call.headers["Range"]
        with self._upstream.ask(url, headers, "GET" if is_page else call.method) as answer:
            if is_page and answer.status == 200:
                call.send(200, self._page(answer), {"Content-Type": "text/html"})
            elif call.method == "HEAD" and answer.status == 501:
                call.send(405)  # after a 405 uv uses GET
            else:
                call.pass_on(answer)

    def _named(self, rest: str) -> tuple[str, bool] | None:
        """Return the URL behind a path, and whether it is a page; None for an unknown path."""
        if (match := _FILE.fullmatch(rest)) and int(match["number"]) < len(self._files):
            return self._files[int(match["number"])] + (match["metadata"] or ""), False
        if (match := _PAGE.fullmatch(rest)) and int(match["number"]) < len(self._pages):
            page = self._pages[int(match["number"])]
            return (f"{page.rstrip('/')}/{match['rest']}" if match["rest"] else page), True
        return None

    def _page(self, answer: Answer) -> bytes:
        """Return an index's page as HTML with the gateway's addresses, whichever format it had."""
        is_json = "json" in answer.headers.get("Content-Type", "")
        lines = []
        for link in links(whole_body(answer, _MAX_PAGE), answer.url, is_json=is_json):
            url, fragment = urldefrag(link.url)
            here = self._here(url) + (f"#{fragment}" if fragment else "")
            more = "".join(f' {name}="{html.escape(value)}"' for name, value in link.attributes.items())
            lines.append(f'<a href="{html.escape(here)}"{more}>{html.escape(link.text)}</a>')
        return "\n".join(["<!DOCTYPE html><html><body>", *lines, "</body></html>"]).encode()

    def _here(self, url: str) -> str:
        if not self.indexes.covers(url):
            return url
        with self._lock:
            self._files.append(url)
            # Numbers are indexes of the list, so append and length belong together: requests run in parallel.
            number = len(self._files) - 1
        return f"{self._root}/f/{number}/{quote(unquote(urlsplit(url).path.rpartition('/')[2]))}"


@contextlib.contextmanager
def opened(indexes: Indexes, scratch: Path) -> Iterator[Gateway]:
    """Open a gateway while the block runs.

    Args:
        scratch: an existing directory for the tools' caches.
    """
    gateway = Gateway(indexes, scratch)
    try:
        yield gateway
    finally:
        gateway.close()
