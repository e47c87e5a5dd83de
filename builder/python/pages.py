"""The page of one project on a package index: its files, from JSON or HTML.

https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

import html.parser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from builder.jsontext import read_json


@dataclass(frozen=True, kw_only=True)
class Link:
    """File of a page: its absolute URL with the hash as its fragment, its name, and its HTML attributes."""

    url: str
    text: str
    attributes: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Hash of the file; "" if the page does not have it."""
        fragment = urldefrag(self.url)[1]
        return fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""


def links(body: bytes, base: str, *, is_json: bool) -> Iterator[Link]:
    """Return the files of the page at the URL `base`. A file without a usable address is skipped.

    Raises:
        ValueError: it is not a page.
    """
    if is_json:
        yield from _of_json(body, base)
        return
    page = _Page(base)
    try:
        page.feed(body.decode("utf-8", "replace"))
    except AssertionError as error:  # html.parser fails on a declaration that it does not know
        raise ValueError(f"no HTML: {error}") from error
    yield from page.links


def _of_json(body: bytes, base: str) -> Iterator[Link]:
    page = read_json(body)
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list):
        raise ValueError("it has no list of files")  # noqa: TRY004  # of the text, not of our call
    for file in files:
        if not isinstance(file, dict) or not all(isinstance(file.get(key), str) for key in ("filename", "url")):
            raise ValueError("a file has no name, or no URL")
        if (url := _absolute(base, file["url"])) is not None:
            digest = _sha256(file.get("hashes"))
            yield Link(
                url=urldefrag(url)[0] + (f"#sha256={digest}" if digest else ""),
                text=file["filename"],
                attributes=_attributes(file),
            )


def _attributes(file: Mapping[str, object]) -> dict[str, str]:
    """Return the attributes that an HTML page would have for a file."""
    attributes = {}
    if isinstance(required := file.get("requires-python"), str) and required:
        attributes["data-requires-python"] = required
    if yanked := file.get("yanked"):
        attributes["data-yanked"] = yanked if isinstance(yanked, str) else ""
    if metadata := file.get("core-metadata", file.get("dist-info-metadata")):
        digest = _sha256(metadata)
        attributes["data-core-metadata"] = f"sha256={digest}" if digest else "true"
    return attributes


def _sha256(hashes: object) -> str:
    found = hashes.get("sha256") if isinstance(hashes, dict) else None
    return found if isinstance(found, str) else ""


def _absolute(base: str, url: str) -> str | None:
    """Return the URL relative to the page; None if it is not valid, such as `https://[x`, or cannot be written."""
    try:
        found = urljoin(base, url)
        urlsplit(found)
        found.encode()
    except ValueError:
        return None
    return found


class _Page(html.parser.HTMLParser):
    """Parser of an index page: its links are the files."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        url = _absolute(self._base, given.pop("href")) if given.get("href") else None
        if url is None:
            return
        if tag == "base":
            self._base = url
        elif tag == "a":
            kept = {name: value for name, value in given.items() if name.startswith("data-")}
            text = unquote(urlsplit(url).path.rpartition("/")[2])
            self.links.append(Link(url=url, text=text, attributes=kept))
