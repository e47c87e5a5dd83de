"""Package indexes with a login, for tools that must not know the login: uv and pip, which may run a stranger's code.

A server on loopback for the time of one command. It hands out the pages of the configured indexes, and the files that
these pages have named, and adds the login on the way to their host; nothing else can be asked of it. Its URLs begin
with a random word. What it hands out has its own URLs in the place of the index's; `real` puts those back.
"""

from __future__ import annotations

import contextlib
import html
import html.parser
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from builder.loopback import Call, Loopback, Refused, Upstream, reaching_loopback, trust, whole
from builder.python.indexes import Indexes

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_MAX_PAGE = 64 << 20
_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_FILE = re.compile(r"f/(?P<number>\d+)/[^/]+?(?P<metadata>\.metadata)?")
_PAGE = re.compile(r"i/(?P<number>\d+)/(?P<rest>(?:[A-Za-z0-9._-]+/?)?)")


@dataclass(frozen=True, kw_only=True)
class _Link:
    """A file of a page: its absolute URL, and the attributes that an HTML page gives it."""

    url: str
    text: str
    attributes: Mapping[str, str]


class Gateway:
    """What is handed out at the moment. The server starts with the first address that is asked for."""

    def __init__(self, indexes: Indexes, scratch: Path, ca_file: str | None = None) -> None:
        self.indexes = indexes
        self._scratch = scratch
        self._upstream = Upstream(authorization=indexes.authorization, ca_file=ca_file)
        self._loopback = Loopback(self._answer)
        self._pages: list[str] = []
        self._files: list[str] = []
        self._lock = threading.Lock()

    @property
    def refused(self) -> Sequence[Refused]:
        """Where a login was not taken."""
        return self._upstream.refused

    def address(self, url: str) -> str:
        """Where to ask for the index, or page of links, at `url`: here if it has a login, else there."""
        if not self.indexes.covers(url):
            return url
        if not self._loopback.started:
            self._loopback.start()
        if url not in self._pages:
            self._pages.append(url)
        return f"{self._root}/i/{self._pages.index(url)}/"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of a tool with the default index as `address` says it."""
        changed = {name: self.address(environment[name]) for name in _VARIABLES if environment.get(name)}
        if not self._loopback.started:
            return dict(environment)
        # Our URLs are others each time: what is kept under them is of no use later.
        cache = self._scratch / "private-cache"
        changed |= reaching_loopback(environment)
        return {**environment, **changed, "UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}

    def real(self, text: str) -> str:
        """`text` with the indexes' own URLs in the place of ours."""
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
        headers = {"Accept": _ACCEPT} if is_page else {"Accept-Encoding": "identity"}
        if not is_page and "Range" in call.headers:
            headers["Range"] = call.headers["Range"]
        with self._upstream.ask(url, headers, "GET" if is_page else call.method) as answer:
            if is_page and answer.status == 200:
                call.send(200, self._page(answer), {"Content-Type": "text/html"})
            elif call.method == "HEAD" and answer.status == 501:
                call.send(405)  # which uv takes for an answer, and asks by GET
            else:
                call.pass_on(answer)

    def _named(self, rest: str) -> tuple[str, bool] | None:
        """The URL that a path here stands for, and whether it is a page; None if nothing does."""
        if (match := _FILE.fullmatch(rest)) and int(match["number"]) < len(self._files):
            return self._files[int(match["number"])] + (match["metadata"] or ""), False
        if (match := _PAGE.fullmatch(rest)) and int(match["number"]) < len(self._pages):
            page = self._pages[int(match["number"])]
            return (f"{page.rstrip('/')}/{match['rest']}" if match["rest"] else page), True
        return None

    def _page(self, answer: HTTPResponse) -> bytes:
        """An index's page with our addresses, as HTML, whatever it came as."""
        body = whole(answer, _MAX_PAGE)
        is_json = "json" in answer.headers.get("Content-Type", "")
        found = _json_links(body, answer.url) if is_json else _html_links(body, answer.url)
        lines = []
        for link in found:
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
            number = len(self._files) - 1
        return f"{self._root}/f/{number}/{quote(unquote(urlsplit(url).path.rpartition('/')[2]))}"


@contextlib.contextmanager
def opened(indexes: Indexes, scratch: Path, environment: Mapping[str, str]) -> Iterator[Gateway]:
    """A gateway for the time of the block.

    Args:
        scratch: an existing directory for what tools keep meanwhile.
        environment: of children; says where the bundle of certificates is.
    """
    gateway = Gateway(indexes, scratch, trust(environment))
    try:
        yield gateway
    finally:
        gateway.close()


def _json_links(body: bytes, base: str) -> Iterator[_Link]:
    """https://packaging.python.org/en/latest/specifications/simple-repository-api/#json-serialization

    Raises:
        ValueError: it is no such page.
    """
    page = json.loads(body)
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list) or not all(
        isinstance(file, dict) and {"url", "filename"} <= {*file} for file in files
    ):
        raise ValueError("not the page of an index")
    for file in files:
        hashes, metadata = file.get("hashes") or {}, file.get("core-metadata", file.get("dist-info-metadata"))
        attributes = {}
        if file.get("requires-python"):
            attributes["data-requires-python"] = str(file["requires-python"])
        if yanked := file.get("yanked"):
            attributes["data-yanked"] = yanked if isinstance(yanked, str) else ""
        if metadata:
            digest = metadata.get("sha256") if isinstance(metadata, dict) else None
            attributes["data-core-metadata"] = f"sha256={digest}" if digest else "true"
        fragment = f"#sha256={hashes['sha256']}" if "sha256" in hashes else ""
        yield _Link(url=urljoin(base, str(file["url"])) + fragment, text=str(file["filename"]), attributes=attributes)


def _html_links(body: bytes, base: str) -> Iterator[_Link]:
    page = _Page(base)
    page.feed(body.decode("utf-8", "replace"))
    yield from page.links


class _Page(html.parser.HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.links: list[_Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and "href" in given:
            self._base = urljoin(self._base, given["href"])
        elif tag == "a" and "href" in given:
            url = urljoin(self._base, given.pop("href"))
            kept = {name: value for name, value in given.items() if name.startswith("data-")}
            text = unquote(urlsplit(url).path.rpartition("/")[2])
            self.links.append(_Link(url=url, text=text, attributes=kept))
