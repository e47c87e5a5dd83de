"""Finds the commit for a name that a user typed in a server's list of refs. Pure: no network, no dulwich."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.amounts import some
from builder.errors import RefNotFound
from builder.nearest import alike, meant

_SHOWN = 8
_SHORT_SHA = re.compile(r"[0-9a-f]{4,39}")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Refs of a server: `commits` by full name, annotated tags peeled; `head` is the branch of HEAD, if known."""

    commits: Mapping[str, str]
    head: str | None

    def having(self, commit: str) -> tuple[str, ...]:
        """Return the full names that stand for the commit, sorted."""
        return tuple(sorted(name for name, each in self.commits.items() if each == commit))


def full_names(ref: str) -> list[str]:
    """Return the full ref names that `ref` may stand for."""
    if ref == "HEAD" or ref.startswith("refs/"):
        return [ref]
    return [f"refs/heads/{ref}", f"refs/tags/{ref}"]


def commit_by_name(ref: str, names: Sequence[str], commits: Mapping[str, str]) -> tuple[str, str] | None:
    """Return (full name, commit) of the one of `names` that exists; None if none does.

    Raises:
        RefNotFound: several exist and mean different commits.
    """
    present = [(name, commits[name]) for name in names if name in commits]
    if len({commit for _, commit in present}) > 1:
        raise RefNotFound(
            f"{ref!r} is both a branch and a tag, of different commits",
            hint=f"write {' or '.join(name for name, _ in present)}",
        )
    return present[0] if present else None


def commit_by_prefix(ref: str, commits: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the commit that `ref` begins, twice (it is its own name); None if `ref` begins none.

    Raises:
        RefNotFound: it begins several commits.
    """
    if not _SHORT_SHA.fullmatch(ref.lower()):
        return None
    matching = sorted({commit for commit in commits.values() if commit.startswith(ref.lower())})
    if len(matching) > 1:
        raise RefNotFound(f"{ref!r} begins several commits: {', '.join(matching)}", hint="write more of it")
    return (matching[0], matching[0]) if matching else None


def default_branch(url: str, listing: Listing) -> tuple[str, str]:
    """Return (full name, commit) of the default branch.

    Raises:
        RefNotFound: the repository is empty, or its HEAD points nowhere.
    """
    if listing.head and listing.head in listing.commits:
        return listing.head, listing.commits[listing.head]
    if "HEAD" in listing.commits:
        return "HEAD", listing.commits["HEAD"]
    if not listing.commits:
        raise RefNotFound(f"{url} is empty: it has no commits yet", hint="push a branch and try again")
    branches = _short_names(listing, "refs/heads/")
    pointer = f" (HEAD points to {listing.head}, which is not there)" if listing.head else ""
    raise RefNotFound(f"{url} has no default branch{pointer}", hint=f"give ref, one of: {some(branches, _SHOWN)}")


def no_such_ref(url: str, ref: str, listing: Listing) -> RefNotFound:
    """Return the error for a name that is not in `listing`, with the nearest names."""
    branches, tags = _short_names(listing, "refs/heads/"), _short_names(listing, "refs/tags/")
    if not branches and not tags:
        return RefNotFound(f"{url} is empty: it has no commits yet", hint="push a branch and try again")
    wanted = ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("origin/")
    near = alike(wanted, sorted({*branches, *tags}), most=3, cutoff=0.5)
    message = f"{ref!r} is neither a branch nor a tag of {url}"
    if f"refs/{ref}" in listing.commits:
        return RefNotFound(message, hint=f"there is refs/{ref}: write that")
    message += meant(near)
    if _SHORT_SHA.fullmatch(ref.lower()):
        hint = "a short commit id works for the tip of a branch or tag only; otherwise write all 40 characters"
    else:
        hint = f"branches: {some(branches, _SHOWN)}" + (f"; tags: {some(tags, _SHOWN)}" if tags else "")
    return RefNotFound(message, hint=hint)


def _short_names(listing: Listing, prefix: str) -> list[str]:
    return sorted(name.removeprefix(prefix) for name in listing.commits if name.startswith(prefix))
