"""Fetches one commit of a git repository into a directory, with its submodules and the content of its LFS files.

`resolve` turns the name that a user gives (branch, tag, commit, nothing) into a commit; `fetch` gets that commit
alone. Neither needs a git binary, a HOME, or a configuration file, and neither leaves credentials anywhere: they travel
in one header, to the origin that they belong to.

`gitlib` speaks the protocol, `fetch` takes the steps of a fetch, `checkout` writes to disk, `submodules` finds the
other repositories, `lfs` the files that are elsewhere, and `kept` holds the packs of a warm environment.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from builder.errors import InvalidEvent
from builder.network.access import GitCredentials, Network
from builder.network.urls import repository_urls, url_problem
from builder.sources.checkout import check_links
from builder.sources.fetch import Fetch
from builder.sources.gitlib.wire import Remote, ask
from builder.sources.partly import Choose
from builder.sources.refs import Listing, commit_by_name, commit_by_prefix, default_branch, full_names, no_such_ref
from builder.sources.snapshot import Resolved, Snapshot
from builder.sources.target import written

__all__ = ["GitCredentials", "Network", "Resolved", "Snapshot", "fetch", "repository_urls", "resolve", "tips"]

_SHA = re.compile(r"[0-9a-f]{40}")


def resolve(
    url: str, ref: str | None, *, credentials: Sequence[GitCredentials] = (), network: Network | None = None
) -> Resolved:
    """Return the commit that `ref` means at `url` now; None means the default branch, whatever its name.

    A full commit id is taken as it is, without asking the server: `fetch` finds out whether it exists. A short one is
    looked up among the tips of branches and tags. A name of both a branch and a tag is refused unless they agree.

    Raises:
        RepositoryNotFound, AuthenticationFailed, RefNotFound, SourceUnreachable, InvalidEvent
    """
    network = network or Network()
    _check_url(url)
    if ref and _SHA.fullmatch(ref.lower()):
        return Resolved(url=url, ref=ref.lower(), commit=ref.lower())

    name, commit, listing = ask(url, credentials, network, lambda remote: _found(remote, url, ref))
    return Resolved(url=url, ref=name, commit=commit, tips=listing.having(commit))


def _found(remote: Remote, url: str, ref: str | None) -> tuple[str, str, Listing]:
    if ref is None:
        # HEAD says which branch it stands for. The others matter only if it stands for none, and may be thousands.
        listing = remote.list(["HEAD"])
        if not listing.commits:
            listing = remote.list(["HEAD", "refs/heads/"])
        return *default_branch(url, listing), listing
    names = full_names(ref)
    # The server filters by prefix: asking for the names alone spares the whole list of a large repository.
    listing = remote.list(names)
    found = commit_by_name(ref, names, listing.commits)
    if found is None:
        # Refs such as pull/7/head are not branches, but exist.
        listing = remote.list(["HEAD", "refs/heads/", "refs/tags/", *([f"refs/{ref}"] if "/" in ref else [])])
        found = commit_by_prefix(ref, listing.commits)
        if found is None:
            raise no_such_ref(url, ref, listing)
    return *found, listing


def tips(
    resolved: Resolved, *, credentials: Sequence[GitCredentials] = (), network: Network | None = None
) -> tuple[str, ...]:
    """Return the full names of all branches and tags that have the commit as their tip now.

    Raises:
        RepositoryNotFound, AuthenticationFailed, SourceUnreachable, InvalidEvent
    """
    network = network or Network()
    _check_url(resolved.url)
    listing = ask(resolved.url, credentials, network, lambda remote: remote.list(["refs/heads/", "refs/tags/"]))
    return listing.having(resolved.commit)


def fetch(
    resolved: Resolved,
    into: Path,
    *,
    credentials: Sequence[GitCredentials] = (),
    max_bytes: int | None = None,
    path: str = "",
    known: Collection[str] = (),
    network: Network | None = None,
    cache: Path | None = None,
    choose: Choose | None = None,
    is_large: Callable[[], bool] = lambda: False,
) -> Snapshot:
    """Write the files of `resolved` into `into`, which must not exist or be empty, and say what they are.

    Packs lie beside it until they are written; both take at most `max_bytes`. After an error `into` is as it was.

    Args:
        path: a directory whose tree id is also wanted. Submodules outside of it need not be on allowed hosts.
        known: tree ids; no file is written if the whole tree or `path` has one of them.
        cache: an existing directory, on the same disk as `into`, where packs are kept for the next fetch.
        choose, is_large: see `Fetch`; without them all files are written.

    Raises:
        RefNotFound: the server does not have the commit, or does not hand it out.
        UnsafeSource: the tree contains something that must not be unpacked, or a submodule is on another host.
        OutOfSpace: the commit needs more than `max_bytes`, or the disk is full.
        RepositoryNotFound, AuthenticationFailed, SourceUnreachable, OutOfTime, InvalidEvent
    """
    _check_url(resolved.url)
    network = network or Network()
    with (
        written(into, resolved.url, "all of the repository is there"),
        tempfile.TemporaryDirectory(prefix=".fetch-", dir=into.parent) as scratch,  # its disk: packs are linked
    ):
        fetching = Fetch(
            credentials=credentials,
            network=network,
            hosts=network.hosts(resolved.url, credentials),
            cache=cache,
            scratch=Path(scratch),
            room_bytes=max_bytes,
            choose=choose,
            is_large=is_large,
        )
        snapshot = fetching.fetch(resolved, into, path=path, known=known)
        if fetching.submodules_fetched:
            # A submodule may have turned a directory on the way of an outer link into something else.
            check_links(into)
        return snapshot


def _check_url(url: str) -> None:
    if problem := url_problem(url):
        raise InvalidEvent(f"repo: {problem}")
