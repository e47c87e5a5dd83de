"""Reads `.gitmodules`: which submodules a tree has and where they come from. Pure: nothing is fetched here.

The tree decides where a submodule is and which commit of it is meant; `.gitmodules` only says where that comes from.
So its paths are compared, never used.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from builder.errors import SourceError, UnsafeSource
from builder.network.urls import host_of, https_spelling, is_loopback, is_url, reached_as, url_problem, without_secrets
from builder.paths import shown
from builder.sources.gitlib.files import parse_config

# How deep submodules may be nested, and how many there may be in all: more are a loop, or a waste of a build's time.
MAX_NESTING, MAX_SUBMODULES = 6, 200


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """A commit of another repository at `path` (posix, relative to the tree's root)."""

    path: str
    commit: str
    url: str


def submodules_of(
    links: Mapping[str, str], gitmodules: bytes, *, parent: str
) -> tuple[tuple[Submodule, ...], dict[str, str]]:
    """Return the submodules to fetch, in order of their paths, and why others are left: {path: reason}.

    Args:
        links: {path: commit} of the submodules in the tree.
        gitmodules: the content of the tree's `.gitmodules`, empty if there is none.
        parent: the URL of the repository around them, to which theirs may be relative.

    Raises:
        SourceError: `.gitmodules` cannot be read, or names a URL that cannot be fetched.
    """
    try:
        sections = parse_config(gitmodules)
    except ValueError as error:
        raise SourceError(f".gitmodules cannot be read: {error}", hint="see git help gitmodules") from error
    said = {
        values["path"].rstrip("/"): values
        for section, values in sections.items()
        if section[0].lower() == "submodule" and "path" in values
    }
    wanted, left = [], {}
    for path, commit in sorted(links.items()):
        values = said.get(path, {})
        if not values.get("url"):
            left[path] = ".gitmodules does not say where it comes from"
        # The repository's own wish; git leaves it out as well.
        elif values.get("update", "").lower() == "none":
            left[path] = ".gitmodules says update = none"
        else:
            wanted.append(Submodule(path=path, commit=commit, url=_absolute(parent, values["url"], path)))
    return tuple(wanted), left


def refused_host(submodule: Submodule, hosts: Collection[str], above: Collection[str]) -> UnsafeSource | None:
    """Return the error for a submodule that is not on one of `hosts`; None if it may be fetched."""
    host = host_of(submodule.url)
    if host in hosts:
        return None
    where = "/".join((*above, submodule.path))
    return UnsafeSource(
        f"submodule {shown(where)}: {submodule.url} is on {host}, and submodules are not fetched from there",
        hint=f"if you trust that host, add {host} to git_hosts in config.ini, or configure credentials for it",
    )


def _absolute(parent: str, url: str, path: str) -> str:
    """Return the https URL of a submodule, as git would find it: `./` and `../` are relative to the parent's URL."""
    label = f"submodule {shown(path)}: the url in .gitmodules"
    if url.startswith(("./", "../")):
        base = urlsplit(parent)
        target = posixpath.normpath(f"{base.path.strip('/')}/{url}")
        if target == "." or target.startswith(".."):
            raise SourceError(f"{label}, {without_secrets(url)!r}, goes up beyond {base.netloc}")
        url = base._replace(path=f"/{target}").geturl()
    if (spelled := https_spelling(url)) != url:
        spelled = reached_as(spelled, parent)
    url = spelled.rstrip("/")
    # Old files still say http or git; no forge serves a repository over http and not over https.
    if url.startswith("http://") and is_url(url) and not is_loopback(urlsplit(url).hostname or ""):
        url = url.replace("http://", "https://", 1)
    if problem := url_problem(url):
        raise SourceError(f"{label}: {problem}", hint="relative and https URLs can be fetched")
    return url
