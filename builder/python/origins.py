"""Origins of the distributions in a lock: the index of each, ambiguous names, and names that one index owns.

uv does not report the index of a distribution, and a foreign lock may claim any. So the indexes are asked: a file
belongs to the index whose page lists its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from builder.amounts import some
from builder.errors import SourceUnreachable, UntrustedCertificate, WrongIndex
from builder.python.inputs import Inputs
from builder.python.offered import knows, listing
from builder.python.pylock import Locked, Place
from builder.python.requirements import normalised_name
from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin

if TYPE_CHECKING:
    from builder.replies.deploys import DistributionRow

_PARALLEL = 8
_SHOWN = 12

# Lines of a lock as `pylock.dumped` writes them: a key and its value, which is JSON for strings.
_LINE = re.compile(r"^([a-z-]+) = (.*)$", re.MULTILINE)
_PLACES = ("archive", "sdist", "wheels", "vcs")
_URL = re.compile(r'(?:^|[{ ])url = ("[^"]*")')

T = TypeVar("T")


def named(url: str) -> str:
    """Return an index or server for people: host and path, without parts that could be secret."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def bare(url: str) -> str:
    """Return a URL without parts that could be secret."""
    return f"{urlsplit(url).scheme}://{named(url)}" if url else ""


def files(package: Locked) -> Iterator[Place]:
    """Yield the files of a locked package, each with its hashes."""
    if "archive" in package:
        yield package["archive"]
    if "sdist" in package:
        yield package["sdist"]
    yield from package.get("wheels", [])


def _remote(package: Locked) -> list[Place]:
    return [file for file in files(package) if file.get("url")]


def rows(lock: str) -> list[DistributionRow]:
    """Return a row for each distribution of our lock, {name, version, index}; no index for those in the project.

    Every reply has them, so the text is scanned: parsing the TOML takes ten times as long.
    """
    return [_row(dict(_LINE.findall(block))) for block in lock.split("\n[[packages]]\n")[1:]]


def _row(lines: dict[str, str]) -> DistributionRow:
    index: str | None = None
    if "index" in lines:
        index = named(json.loads(lines["index"]))
    elif url := next((found[1] for key in _PLACES if (found := _URL.search(lines.get(key, "")))), ""):
        index = _server(json.loads(url))
    version = json.loads(lines["version"]) if "version" in lines else None
    return {"name": json.loads(lines["name"]), "version": version, "index": index}


def _server(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _where(package: Locked) -> str:
    """Return the index, else the server of the package's files or commits."""
    if package.get("index"):
        return named(str(package["index"]))
    url = next((file["url"] for file in _remote(package)), package.get("vcs", {}).get("url", ""))
    return _server(str(url)) or "elsewhere"


def attribute(
    packages: Sequence[Locked], inputs: Inputs, places: Sequence[str], indexes: Indexes, note: Callable[[str], None]
) -> None:
    """Add its index to every package that came from one; report names that more than one index has.

    Args:
        places: the indexes of a resolution in their order; a foreign lock names its own.

    Raises:
        SourceUnreachable: one of several indexes does not respond.
    """
    coming = [package for package in packages if _remote(package) and "archive" not in package]
    if inputs.lock is not None:
        places = list(dict.fromkeys(str(package["index"]) for package in packages if package.get("index")))
    if len(places) > 1 or any("://" in place for place in inputs.options.find_links):
        _survey(coming, places, indexes, note)
    elif inputs.lock is None:
        for package in coming:
            package["index"] = bare(places[0])
    else:
        for package in coming:
            if not _is_plausible(str(package.pop("index", "")), package):
                continue
            package["index"] = bare(places[0])


def _is_plausible(index: str, package: Locked) -> bool:
    """Tell whether the files are on the index's own server, which needs no request."""
    host = urlsplit(index).netloc.rpartition("@")[2]
    hosts = {urlsplit(str(file["url"])).netloc for file in _remote(package)}
    return bool(host) and hosts <= {host}


def _survey(coming: Sequence[Locked], places: Sequence[str], indexes: Indexes, note: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(_PARALLEL) as pool:
        # All indexes are asked for every name, also after a hit: a second index with the name is what the note is
        # about.
        found = list(pool.map(lambda package: _having(package, places, indexes), coming))
    doubtful: dict[tuple[str, str], list[str]] = {}
    for package, (own, others) in zip(coming, found, strict=True):
        package.pop("index", None)
        if own:
            package["index"] = bare(own)
        for other in others:
            doubtful.setdefault((own, other), []).append(str(package["name"]))
    for (own, other), names in sorted(doubtful.items()):
        note(
            f"{named(own) or 'another place'} and {named(other)} both have {some(sorted(names), _SHOWN)}: "
            f"taken from {named(own) or 'the former'}; `only` in [index NAME] of config.ini says "
            "which index a name belongs to"
        )


def _having(package: Locked, places: Sequence[str], indexes: Indexes) -> tuple[str, list[str]]:
    """Return the index whose page lists the package's files, "" if none does, and the others that have its name."""
    name = normalised_name(str(package["name"]))
    own, others = "", []
    for place in places:
        if own:
            if _asked(knows, name, place, indexes):
                others.append(place)
        elif page := _asked(listing, name, place, indexes):
            if all(page.has(file) for file in _remote(package)):
                own = place
            else:
                others.append(place)
    return own, others


def _asked(ask: Callable[[str, str, Indexes], T], name: str, place: str, indexes: Indexes) -> T:
    try:
        return ask(name, place, indexes)
    except UntrustedCertificate:
        raise
    except SourceUnreachable as error:
        raise SourceUnreachable(
            f"{named(place)} does not say whether it has {name}: {error.message}",
            hint="try again later; every index is asked, so that no file comes from an unexpected one",
        ) from None


def _listed(package: Locked, index: IndexLogin, indexes: Indexes) -> bool:
    page = _asked(listing, normalised_name(str(package["name"])), index.url, indexes)
    return page is not None and all(page.has(file) for file in _remote(package))


def check_pins(packages: Sequence[Locked], inputs: Inputs, indexes: Indexes) -> None:
    """Return if every distribution whose name is an index's alone, by `only` of config.ini, is that index's.

    Distributions that the project contains as a path, or names as a git repository, are its own choice.

    Raises:
        WrongIndex: names all that come from elsewhere.
        SourceUnreachable: the index does not answer.
    """
    pins = ((package, indexes.pin(normalised_name(str(package["name"])))) for package in packages)
    pinned = [(package, *pin) for package, pin in pins if pin]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        fine = list(pool.map(lambda one: _is_of(one[0], one[1], inputs, indexes), pinned))
    problems = [
        f"{package['name']} {package.get('version', '')} comes from {_where(package)}, but [index "
        f"{index.name}] only = {pattern} says that it comes only from {named(index.url)}"
        for (package, index, pattern), is_fine in zip(pinned, fine, strict=True)
        if not is_fine
    ]
    if problems:
        raise WrongIndex(
            f"{', '.join(inputs.names)}: " + "; ".join(problems),
            hint="name that index with --index-url or --extra-index-url, before others, and lock again; if the name is "
            "not yours, the operator narrows `only`",
            problems=problems,
        )


def _is_of(package: Locked, index: IndexLogin, inputs: Inputs, indexes: Indexes) -> bool:
    """Tell whether a package comes from that index, or is one that the project contains or names itself."""
    if "vcs" in package:
        # A dependency's own dependency could name any repository, so only the project's are trusted.
        own = {one.name for one in inputs.requirements if one.kind == "git"}
        return inputs.lock is not None or normalised_name(str(package["name"])) in own
    return not _remote(package) or _listed(package, index, indexes)
