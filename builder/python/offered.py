"""What an index offers of one project: to say in the reader's words why a resolution failed, and where a file is from.

Simple API (JSON, or HTML where that is all):
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
_MAX_BYTES = 32 << 20
_SHOWN = 6
# Of a page, to see whether there is a file on it.
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
        """Every version that has a file, newest first."""
        from packaging.version import Version

        return tuple(sorted({*self.wheels, *self.sdists}, key=Version, reverse=True))

    def fitting(self, target: Target) -> tuple[str, ...]:
        """The versions that have a wheel for `target`, newest first."""
        accepted = set(tags(target))
        return tuple(
            version
            for version in self.versions
            if any(_tags_of(name) & accepted for name in self.wheels.get(version, ()))
        )

    def explained(self, specifier: str, target: Target) -> str:
        """One sentence or two: which versions there are, what the wanted ones offer, what the target accepts."""
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
    """A file on an index's page. `sha256` is "" where the page does not say it."""

    url: str
    sha256: str
    yanked: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What the page of one project lists, by file name."""

    files: Mapping[str, Listed]

    def has(self, file: Place) -> bool:
        """Whether it lists a file of a lock: by its hash, else by its URL."""
        sha256 = file.get("hashes", {}).get("sha256", "")
        return any(
            one.sha256 == sha256 if one.sha256 and sha256 else one.url == file.get("url") for one in self.files.values()
        )


def look_up(name: str, urls: Sequence[str], indexes: Indexes = NO_LOGINS) -> Offer | None:
    """What the first index at `urls` that knows the project `name` offers; None if none does, or answers."""
    return examined(name, urls, indexes)[0]


def examined(
    name: str, urls: Sequence[str], indexes: Indexes = NO_LOGINS
) -> tuple[Offer | None, SourceUnreachable | None]:
    """As `look_up`; beside it what is wrong with the first of the indexes that are in trouble.

    A page without files counts as trouble here: who does not know a project answers that there is no page.
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
    """What is wrong with the page or file at `url`, which others could not get; None if it can be had now."""
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
    """What the index at the URL `index` lists of the project `name`; None if it does not know it.

    Raises:
        SourceUnreachable: it does not answer, or what it answers is no page.
    """
    files = _page_at(_url(name, index), indexes, None)
    return Listing(files=files) if files else None


def _page_at(url: str, indexes: Indexes, network: Network | None) -> dict[str, Listed] | None:
    return _asked(url, lambda answer: _files(answer, url) if _is_there(answer, url) else None, indexes, network)


def knows(name: str, index: str, indexes: Indexes = NO_LOGINS) -> bool:
    """Whether the index has a file of the project `name`. Of a long page the beginning is enough.

    Raises:
        SourceUnreachable: it does not answer, or what it answers is no page.
    """
    url = _url(name, index)

    def read(answer: requests.Response) -> bool:
        if not _is_there(answer, url):
            return False
        beginning = b""
        for chunk in answer.iter_content(1 << 14):
            beginning += chunk
            if len(beginning) > _BEGINNING:
                return True
        return any(ending in beginning for ending in _ENDINGS)

    return _asked(url, read, indexes, None)


def _url(name: str, index: str) -> str:
    return f"{index.rstrip('/')}/{name}/"


def _asked(url: str, read: Callable[[requests.Response], T], indexes: Indexes, network: Network | None) -> T:
    return get(url, read, login=indexes.login(url), headers={"Accept": _ACCEPT}, network=network)


def _is_there(answer: requests.Response, url: str) -> bool:
    """Whether the answer is a page. Whoever is not let in does not get to know what is there.

    Raises:
        SourceUnreachable: it is something else.
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
    """The error for an index that answers something else than a page."""
    return SourceUnreachable(
        f"{without_secrets(url)} {came}",
        hint="try again later; if this persists, check the index's URL: it must be one that pip accepts",
    )


def _files(answer: requests.Response, url: str) -> dict[str, Listed]:
    body = b""
    for chunk in answer.iter_content(1 << 16):
        body += chunk
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
    """The files that the page at `url` lists, by name.


    Raises:
        ValueError: it is no page of an index.
    """
    return {
        link.text: Listed(url=urldefrag(link.url)[0], sha256=link.sha256, yanked="data-yanked" in link.attributes)
        for link in links(body, url, is_json="json" in content_type)
    }


def offer_of(files: Mapping[str, Listed]) -> Offer:
    """What the files are, by version; what is no wheel and no source distribution by its name is passed over."""
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
            continue  # eggs, installers and names from before there were rules
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
    """The tags of wheel names, those for Linux and the target's Python first."""
    version = target.runtime.python or (3, 13)
    found = list(dict.fromkeys("-".join(name.removesuffix(".whl").split("-")[-3:]) for name in names))
    own = f"cp{version[0]}{version[1]}-"
    return sorted(
        found, key=lambda tag: ("linux" not in tag or "musl" in tag, own not in tag, target.machine not in tag, tag)
    )


def _some(values: Sequence[str]) -> str:
    return some(values, _SHOWN) if values else "no version of it"
