"""Package indexes with a login, for tools that must not know the login: uv and pip, which may run a stranger's code.

A server on loopback for the time of one command. It hands out the pages of the configured indexes, and the files that
these pages have named, and adds the login on the way to their host; nothing else can be asked of it. Its URLs begin
with a random word. What it hands out has its own URLs in the place of the index's; `real` puts those back.
"""

from __future__ import annotations

import base64
import contextlib
import html
import html.parser
import json
import re
import secrets
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException, HTTPMessage, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from builder.python.indexes import Indexes

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_TIMEOUT_S = 60.0
_MAX_PAGE = 64 << 20
_CHUNK = 1 << 18
_PASSED = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Retry-After")
_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_FILE = re.compile(r"f/(?P<number>\d+)/[^/]+?(?P<metadata>\.metadata)?")
_PAGE = re.compile(r"i/(?P<number>\d+)/(?P<rest>(?:[A-Za-z0-9._-]+/?)?)")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An index did not take the login that is configured for it."""

    index: str
    url: str
    status: int


@dataclass(frozen=True, kw_only=True)
class _Link:
    """A file of a page: its absolute URL, and the attributes that an HTML page gives it."""

    url: str
    text: str
    attributes: Mapping[str, str]


@dataclass
class Gateway:
    """What is handed out at the moment. The server starts with the first address that is asked for."""

    indexes: Indexes
    scratch: Path
    ca_file: str | None = None
    refused: list[Refusal] = field(default_factory=list)
    _word: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    _pages: list[str] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, url: str) -> str:
        """Where to ask for the index, or page of links, at `url`: here if it has a login, else there."""
        if self.indexes.login(url) is None:
            return url
        if self._server is None:
            self._start()
        if url not in self._pages:
            self._pages.append(url)
        return f"{self._root}/i/{self._pages.index(url)}/"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of a tool with the default index as `address` says it."""
        changed = {name: self.address(environment[name]) for name in _VARIABLES if environment.get(name)}
        if self._server is None:
            return dict(environment)
        # Our URLs are others each time: what is kept under them is of no use later.
        cache = self.scratch / "private-cache"
        around = ("NO_PROXY", "no_proxy")
        direct = {name: ",".join(filter(None, (environment.get(name), "127.0.0.1"))) for name in around}
        return {**environment, **changed, **direct, "UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}

    def real(self, text: str) -> str:
        """`text` with the indexes' own URLs in the place of ours."""
        if self._server is None:
            return text
        text = re.sub(
            rf"{re.escape(self._root)}/f/(\d+)/[^/\s\"'`)#]+?(\.metadata)?(?=[\s\"'`)#]|$)",
            lambda match: self._files[int(match[1])] + (match[2] or ""),
            text,
        )
        return re.sub(rf"{re.escape(self._root)}/i/(\d+)/?", lambda match: self._slashed(int(match[1])), text)

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _slashed(self, number: int) -> str:
        return self._pages[number].rstrip("/") + "/"

    def _start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="gateway", daemon=True).start()

    @property
    def _root(self) -> str:
        port = self._server.server_address[1] if self._server else 0
        return f"http://127.0.0.1:{port}/{self._word}"

    def upstream(self, path: str) -> tuple[str, bool] | None:
        """The URL that a path here stands for, and whether it is a page; None if nothing does."""
        word, _, rest = path.lstrip("/").partition("/")
        if not secrets.compare_digest(word.encode(), self._word.encode()):
            return None
        if (match := _FILE.fullmatch(rest)) and int(match["number"]) < len(self._files):
            return self._files[int(match["number"])] + (match["metadata"] or ""), False
        if (match := _PAGE.fullmatch(rest)) and int(match["number"]) < len(self._pages):
            page = self._pages[int(match["number"])]
            return (f"{page.rstrip('/')}/{match['rest']}" if match["rest"] else page), True
        return None

    def page(self, answer: HTTPResponse) -> bytes:
        """An index's page with our addresses, as HTML, whatever it came as."""
        body = answer.read(_MAX_PAGE)
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
        if self.indexes.login(url) is None:
            return url
        with self._lock:
            self._files.append(url)
            number = len(self._files) - 1
        return f"{self._root}/f/{number}/{quote(unquote(urlsplit(url).path.rpartition('/')[2]))}"

    def ask(self, url: str, headers: Mapping[str, str], method: str) -> HTTPResponse:
        """The index's answer, also where it is an error.

        Raises:
            OSError, HTTPException: there is none.
        """
        request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310  # http or https
        self.authorize(request)
        context = ssl.create_default_context(cafile=self.ca_file)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects(self))
        try:
            return cast("HTTPResponse", opener.open(request, timeout=_TIMEOUT_S))
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                self.refused.append(Refusal(index=self.indexes.name(url), url=url, status=error.code))
            return cast("HTTPResponse", error)

    def authorize(self, request: urllib.request.Request) -> None:
        """Add the login of the host that is asked, in a header that no redirect takes along."""
        if login := self.indexes.login(request.full_url):
            encoded = base64.b64encode(":".join(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {encoded}")


@contextlib.contextmanager
def opened(indexes: Indexes, scratch: Path, environment: Mapping[str, str]) -> Iterator[Gateway]:
    """A gateway for the time of the block.

    Args:
        scratch: an existing directory for what tools keep meanwhile.
        environment: of children; says where the bundle of certificates is.
    """
    bundle = environment.get("SSL_CERT_FILE") or environment.get("REQUESTS_CA_BUNDLE") or None
    gateway = Gateway(indexes=indexes, scratch=scratch, ca_file=bundle)
    try:
        yield gateway
    finally:
        gateway.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows; each host gets its own login, or none."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        follow = super().redirect_request(req, fp, code, msg, headers, newurl)
        if follow is not None:
            self._gateway.authorize(follow)
        return follow


class _Handler(BaseHTTPRequestHandler):
    """Answers a tool. Only reading is possible."""

    protocol_version = "HTTP/1.1"

    def __init__(self, gateway: Gateway, *arguments: Any) -> None:
        self._gateway = gateway
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def _answer(self, method: str) -> None:
        found = self._gateway.upstream(self.path.partition("?")[0])
        if found is None:
            self._send(404, {"Content-Length": "0"})
            return
        url, is_page = found
        headers = {"Accept": _ACCEPT} if is_page else {"Accept-Encoding": "identity"}
        if not is_page and "Range" in self.headers:
            headers["Range"] = self.headers["Range"]
        try:
            with self._gateway.ask(url, headers, "GET" if is_page else method) as answer:
                if is_page and answer.status == 200:
                    body = self._gateway.page(answer)
                    self._send(200, {"Content-Type": "text/html", "Content-Length": str(len(body))})
                    self.wfile.write(body if method == "GET" else b"")
                    return
                self._pass_on(answer, method)
        except (OSError, HTTPException, ValueError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self._send(502, {"Content-Length": "0"})

    def _pass_on(self, answer: HTTPResponse, method: str) -> None:
        if method == "HEAD" and answer.status == 501:
            self._send(405, {"Content-Length": "0"})  # which uv takes for an answer, and asks by GET
            return
        passed = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
        if "Content-Length" not in passed:
            self.close_connection = True
        self._send(answer.status, passed | ({"Connection": "close"} if self.close_connection else {}))
        while method == "GET" and (chunk := answer.read(_CHUNK)):
            self.wfile.write(chunk)

    def _send(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the URLs have the random word in them."""


def _json_links(body: bytes, base: str) -> Iterator[_Link]:
    """https://packaging.python.org/en/latest/specifications/simple-repository-api/#json-serialization"""
    for file in json.loads(body)["files"]:
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
