"""Trust domains: whose code a build runs. Code of one domain leaves nothing that another domain's build uses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.event.request import Request
    from builder.sources.git import Resolved


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One trust domain.

    `name` is for people; `keeps` says whether the results of its code are kept for its next build. `vouched`: the code
    is its owners' own, not something that others propose to them.
    """

    name: str
    keeps: bool = True
    vouched: bool = True

    @property
    def id(self) -> str:
        """Name of the domain in stored objects, and as Lambda's tenant."""
        return hashlib.sha256(f"domain\0{self.name}".encode()).hexdigest()[:40]

    @property
    def folder(self) -> str:
        """Part of the store that belongs to this domain alone."""
        return f"domains/{self.id}"


# For builds that run no foreign code: the builder's own setup.
OWN = Domain(name="the builder itself")


def domain_of(request: Request, resolved: Resolved | None, *, trusted: bool, keeping: Sequence[str] = ()) -> Domain:
    """Return the domain of a request's code: its repository, else the function that it is sent for.

    A commit that no allowed ref has, such as a pull request's, is a domain of its own: its author need not be one of
    those who write to the repository. An archive may come from anyone who may invoke the builder, so its results are
    not kept, unless the operator says so for the function.

    Args:
        resolved: the commit, None for a source without a repository.
        trusted: whether an allowed ref has the commit.
        keeping: patterns of the functions whose archives may keep something.
    """
    # The name comes from the caller, so everyone who may invoke the builder for that function is one domain.
    if resolved is None:
        function = request.function or ""
        return Domain(name=f"function {function}", keeps=any(fnmatchcase(function, pattern) for pattern in keeping))
    repository = f"repository {one_spelling(resolved.url)}"
    if trusted:
        return Domain(name=repository)
    # The commit is part of the name: two proposals, perhaps of different people, share nothing.
    return Domain(name=f"{repository} at {resolved.commit}", keeps=False, vouched=False)


def one_spelling(url: str) -> str:
    """Return one spelling for a repository's URL; different repositories never share one."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(".git")
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, "", ""))
