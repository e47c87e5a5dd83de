"""Trust domains: whose code a build runs. What code of one domain has run leaves nothing that another's build uses."""

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

    `name` is for people; `keeps` says whether what its code has made is kept for its next build. `vouched`: the code is
    its owners' own, and not what somebody proposes to them.
    """

    name: str
    keeps: bool = True
    vouched: bool = True

    @property
    def id(self) -> str:
        """What stands for it in names of stored objects, and as Lambda's tenant."""
        return hashlib.sha256(f"domain\0{self.name}".encode()).hexdigest()[:40]

    @property
    def folder(self) -> str:
        """The part of the store that is this domain's alone."""
        return f"domains/{self.id}"


# What runs no foreign code: the builder's own setup.
OWN = Domain(name="the builder itself")


def domain_of(request: Request, resolved: Resolved | None, *, trusted: bool, keeping: Sequence[str] = ()) -> Domain:
    """The domain of a request's code: its repository, else the function that it is sent for.

    A commit that no allowed ref has, such as a pull request's, is a domain of its own: whoever wrote it may not be
    one of those who write to the repository. An archive may come from anybody who may invoke the builder, so what it
    makes is not kept, unless the operator says so for the function.

    Args:
        resolved: the commit, None for what does not come from a repository.
        trusted: whether an allowed ref has the commit.
        keeping: patterns of the functions whose archives may keep something.
    """
    if resolved is None:
        function = request.function or ""
        return Domain(name=f"function {function}", keeps=any(fnmatchcase(function, pattern) for pattern in keeping))
    repository = f"repository {_same(resolved.url)}"
    if trusted:
        return Domain(name=repository)
    return Domain(name=f"{repository} at {resolved.commit}", keeps=False, vouched=False)


def _same(url: str) -> str:
    """One spelling for a repository's URL; different repositories never share one."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(".git")
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, "", ""))
