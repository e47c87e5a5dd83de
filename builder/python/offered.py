"""Files of one project on an index: to explain why a resolution failed, and where a file comes from.

Simple API (JSON, or else HTML):
https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urldefrag

from builder.amounts import megabytes, some
from builder.errors import SourceUnreachable
from builder.network.access import Network
from builder.network.urls import without_secrets
from builder.python.asking import ONCE, get
from builder.python.pages import links
from builder.python.pylock import Place, tags
from builder.runtimes import Target
from builder.secrets.indexes import NO_LOGINS, Indexes

if TYPE_CHECKING:
    import requests
    from packaging.tags import Tag

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
# The largest pages have some 10 MB; a server must not use up the builder's memory.
_MAX_BYTES = 32 << 20
_SHOWN = 6
# The start of a page, enough to see whether it lists a file.
_BEGINNING = 64 << 10
_ENDINGS = (b".whl", b".tar.gz", b".zip", b".tar.bz2", b".egg")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Files of one project. `wheels` and `sdists` are version → file names, newest version first."""

    wheels: Mapping[str, tuple[str, ...]]
    sdists: Mapping[str, tuple[str, ...]]
    yanked: frozenset[str]

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version with a file, newest first."""
        from packaging.version import Version

        return tuple(sorted({*self.wheels, *self.sdists}, key=Version, reverse=True))

    def fitting(self, target: Target) -> tuple[str, ...]:
        """Return the versions with a wheel for `target`, newest first."""
        accepted = set(tags(target))
        return tuple(
            version
            for version in self.versions
            if any(_tags_of(name) & accepted for name in self.wheels.get(version, ()))
        )

    def explained(self, specifier: str, target: Target) -> str:
        """Explain which versions exist, what the wanted ones offer, and what the target accepts."""
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            wanted = list(SpecifierSet(specifier).filter(self.versions, prereleases=True))
        except InvalidSpecifier:
            wanted = []
        if not wanted:
            return f"the index has {_some(self.versions)}"
        said = []
        newest = wanted[0]
        if newest in self.yanked:
            said.append(f"{newest} was yanked")
        names = self.wheels.get(newest, ())
        if names:
            said.append(f"{newest} has wheels for {_some(_short_tags(names, target))}")
        elif newest in self.sdists:
            said.append(f"{newest} is published as source alone")
        major, minor = target.runtime.glibc
        version = target.runtime.python or (3, 13)
        said.append(
            f"{target.label} accepts cp{version[0]}{version[1]}, abi3 and py3 on "
            f"manylinux_{major}_{minor}_{target.machine} and older, or any"
        )
        fitting = self.fitting(target)
        said.append(f"versions that fit: {_some(fitting)}" if fitting else "no version has a wheel that fits")
        return "; ".join(said)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """File on an index's page. `sha256` is "" if the page does not have it."""

    url: str
    sha256: str
    yanked: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Files on the page of one project, by name."""

    files: Mapping[str, Listed]

    def has(self, file: Place) -> bool:
        """Tell whether the page lists a file of a lock, by its hash or else its URL."""
        sha256 = file.get("hashes", {}).get("sha256", "")
        return any(
            one.sha256 == sha256 if one.sha256 and sha256 else one.url == file.get("url") for one in self.files.values()
        )


def look_up(name: str, urls: Sequence[str], indexes: Indexes = NO_LOGINS) -> Offer | None:
    """Return the offer of the first index at `urls` that knows the project `name`; None if none does or responds."""
    return examined(name, urls, indexes)[0]


def examined(
    name: str, urls: Sequence[str], indexes: Indexes = NO_LOGINS
) -> tuple[Offer | None, SourceUnreachable | None]:
    """Return the result of `look_up`, and the problem of the first index that has one.

    A page without files is a problem: an index without the project responds that there is no page.
    """
    trouble: SourceUnreachable | None = None
    for index in urls:
        url = _url(name, index)
        try:
            files = _page_at(url, indexes, ONCE)
        except SourceUnreachable as error:
            trouble = trouble or error
            continue
        if files:
            return offer_of(files), trouble
        if files is not None:
            trouble = trouble or no_page(url, "answers with a page without files")
    return None, trouble


def trouble_at(url: str, indexes: Indexes) -> SourceUnreachable | None:
    """Return the problem with the page or file at `url`, which another tool could not get.

    It is None if the page is available now.
    """
    try:
        if url.endswith("/"):
            _page_at(url, indexes, ONCE)
        else:
            get(url, _skimmed, login=indexes.login(url), network=ONCE)
    except SourceUnreachable as error:
        return error
    return None


def _skimmed(answer: requests.Response) -> None:
    if answer.status_code != 200:
        raise no_page(answer.url, f"answers {answer.status_code}")
    for _ in answer.iter_content(1 << 18):
        pass


def listing(name: str, index: str, indexes: Indexes = NO_LOGINS) -> Listing | None:
    """Return the index's listing of the project `name`; None if it does not know the project.

    Raises:
        SourceUnreachable: it does not respond, or its response is not a page.
    """
    files = _page_at(_url(name, index), indexes, None)
    return Listing(files=files) if files else None


def _page_at(url: str, indexes: Indexes, network: Network | None) -> dict[str, Listed] | None:
    return _asked(url, lambda answer: _files(answer, url) if _is_there(answer, url) else None, indexes, network)


def knows(name: str, index: str, indexes: Indexes = NO_LOGINS) -> bool:
    """Return whether the index has a file of the project `name`. The start of a long page is enough.

    Raises:
        SourceUnreachable: it does not respond, or its response is not a page.
    """
    url = _url(name, index)

    def read(answer: requests.Response) -> bool:
        if not _is_there(answer, url):
            return False
        beginning = b""
        for chunk in answer.iter_content(1 << 14):
            beginning += chunk
            # A page of this length lists files: the rest, megabytes for some projects, need not be loaded.
            if len(beginning) > _BEGINNING:
                return True
        return any(ending in beginning for ending in _ENDINGS)

    return _asked(url, read, indexes, None)


def _url(name: str, index: str) -> str:
    return f"{index.rstrip('/')}/{name}/"


def _asked(url: str, read: Callable[[requests.Response], T], indexes: Indexes, network: Network | None) -> T:
    return get(url, read, login=indexes.login(url), headers={"Accept": _ACCEPT}, network=network)


def _is_there(answer: requests.Response, url: str) -> bool:
    """Return whether the response is a page. Without access it is unknown whether there is one.

    Raises:
        SourceUnreachable: it is another response.
    """
    if answer.status_code in (401, 403, 404, 410):
        return False
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if answer.status_code != 200:
        raise no_page(url, f"answers {answer.status_code}")
    if not kind.endswith(("json", "html")):
        raise no_page(url, f"answers with {kind or 'no Content-Type'}, not with a page of an index")
    return True


def no_page(url: str, came: str) -> SourceUnreachable:
    """Return the error for an index whose response is not a page."""
    return SourceUnreachable(
        f"{without_secrets(url)} {came}",
        hint="try again later; if this persists, check the index's URL: it must be one that pip accepts",
    )


def _files(answer: requests.Response, url: str) -> dict[str, Listed]:
    body = b""
    for chunk in answer.iter_content(1 << 16):
        body += chunk
        # Counted while it arrives: a server may send more than its Content-Length, or have none.
        if len(body) > _MAX_BYTES:
            raise no_page(url, f"answers with a page of more than {megabytes(_MAX_BYTES, '.0f')}")
    kind = answer.headers.get("Content-Type", "")
    try:
        return parsed(body, kind, answer.url)
    except ValueError:
        language = "JSON" if "json" in kind else "HTML"
        raise no_page(url, f"answers with {language} that is not a page of an index: {_beginning(body)}") from None


def _beginning(body: bytes) -> str:
    text = body[:60].decode("utf-8", "replace")
    return repr("".join(character if character.isprintable() else "?" for character in text))


def parsed(body: bytes, content_type: str, url: str) -> dict[str, Listed]:
    """Return the files that the page at `url` lists, by name.


    Raises:
        ValueError: it is not a page of an index.
    """
    return {
        link.text: Listed(url=urldefrag(link.url)[0], sha256=link.sha256, yanked="data-yanked" in link.attributes)
        for link in links(body, url, is_json="json" in content_type)
    }


def offer_of(files: Mapping[str, Listed]) -> Offer:
    """Return the files by version; files that are neither wheels nor source distributions by name are skipped."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
    from packaging.version import InvalidVersion

    wheels: dict[str, list[str]] = {}
    sdists: dict[str, list[str]] = {}
    yanked = set()
    for filename, file in files.items():
        try:
            if filename.endswith(".whl"):
                version = str(parse_wheel_filename(filename)[1])
                wheels.setdefault(version, []).append(filename)
            else:
                version = str(parse_sdist_filename(filename)[1])
                sdists.setdefault(version, []).append(filename)
        except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
            continue  # eggs, installers, and names from before the standard
        if file.yanked:
            yanked.add(version)
    return Offer(
        wheels={version: tuple(sorted(names)) for version, names in wheels.items()},
        sdists={version: tuple(sorted(names)) for version, names in sdists.items()},
        yanked=frozenset(yanked),
    )


def _tags_of(filename: str) -> frozenset[Tag]:
    from packaging.utils import parse_wheel_filename

    return parse_wheel_filename(filename)[3]


def _short_tags(names: Sequence[str], target: Target) -> list[str]:
    """Return the tags of wheel names, those for Linux and the target's Python first."""
    version = target.runtime.python or (3, 13)
    found = list(dict.fromkeys("-".join(name.removesuffix(".whl").split("-")[-3:]) for name in names))
    own = f"cp{version[0]}{version[1]}-"
    return sorted(
        found, key=lambda tag: ("linux" not in tag or "musl" in tag, own not in tag, target.machine not in tag, tag)
    )


def _some(values: Sequence[str]) -> str:
    return some(values, _SHOWN) if values else "no version of it"
