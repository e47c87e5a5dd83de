"""Which servers may be asked for a repository, as whom, and for how long. No network, no dulwich."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from builder.errors import LambdasmithError
from builder.network.urls import host_of, origin

# Pauses before each further try after trouble that may pass: 15 s in all, a third more or less. That is how long a
# forge is away when it restarts.
PAUSES_S: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
# No connection waits longer than this for a server that does not answer: the build has other uses for its minutes.
_CONNECT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class GitCredentials:
    """User and token of a forge, or of a part of it.

    They go to URLs of the origin of `base` and at or below its path, and to no others; None: to the host that is asked
    first. `modules` are path prefixes of Go modules that are there and nowhere else. `called` is their name for people,
    and `renewal` says how to renew them. Those that cannot be had have the error in `refused`, for builds that need
    them.
    """

    username: str
    token: str = field(repr=False)
    base: str | None = None
    modules: tuple[str, ...] = ()
    called: str = "the builder's git token"
    renewal: str = "renew git_token, run setup.py update"
    refused: LambdasmithError | None = field(default=None, repr=False, compare=False)


def credentials_for(url: str, credentials: Sequence[GitCredentials]) -> GitCredentials | None:
    """Return the credentials that belong to `url`: of several, those whose `base` says most of it.

    Raises:
        LambdasmithError: they cannot be had.
    """
    fitting = [(len(_segments(each.base or "")), each) for each in credentials if _belongs(each, url)]
    # Those without a base know nothing of the URL and come last.
    found = max(fitting, key=lambda one: (one[1].base is not None, one[0]))[1] if fitting else None
    if found is not None and found.refused is not None:
        raise found.refused
    return found


def _belongs(credentials: GitCredentials, url: str) -> bool:
    if credentials.base is None:
        return True
    base, asked = _segments(credentials.base), _segments(url)
    # A path with `..` could leave the base on the server although it begins with it here.
    return origin(credentials.base) == origin(url) and asked[: len(base)] == base and ".." not in asked


def _segments(url: str) -> list[str]:
    """Split the path into names, without `.git`: every forge knows its repositories with and without it."""
    return [unquote(part).removesuffix(".git") for part in urlsplit(url).path.split("/") if part]


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """A server's first answer about a repository: what it can do, and the `url` that it has redirected to."""

    capabilities: set[bytes]
    url: str
    protocol: int


def _without_end() -> float:
    return math.inf


def _pauses_s() -> tuple[float, ...]:
    return PAUSES_S


@dataclass(frozen=True, kw_only=True)
class Network:
    """Limits of requests: what they may reach, whom they trust and how long they may take.

    Args:
        allowed_hosts: `host` or `host:port` that redirects and submodules may lead to, besides the repository's own
            host and those of known credentials.
        ca_bundle: path, or PEM text, of certificates that are trusted besides the system's; "" for none.
        read_timeout_s: for each piece of an answer.
        remaining: seconds left for everything, asked before each step.
        pauses_s: how long to wait before each further try.
        greetings: first answers of servers, by the repository's URL and the login that it got.
    """

    allowed_hosts: tuple[str, ...] = ()
    ca_bundle: str = ""
    read_timeout_s: float = 60.0
    remaining: Callable[[], float] = _without_end
    pauses_s: tuple[float, ...] = field(default_factory=_pauses_s)
    greetings: MutableMapping[tuple[str, GitCredentials | None], Greeting] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def connect_s(self) -> float:
        """Seconds that a connection may take to be established now."""
        return self._within(_CONNECT_S)

    @property
    def read_s(self) -> float:
        """Seconds that the next piece of an answer may take now."""
        return self._within(self.read_timeout_s)

    def _within(self, limit_s: float) -> float:
        # Never 0, which means "don't block" to a socket.
        return max(0.01, min(limit_s, self.remaining()))

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.02

    def present_url(self, url: str) -> str:
        """Return the URL that a server has redirected `url` to, if it has; else `url`.

        A forge that redirects git from a repository's old name need not do so for its LFS files.
        """
        known = (greeting.url.rstrip("/") for (asked, _), greeting in self.greetings.items() if asked == url)
        return next(known, url)

    def hosts(self, url: str, credentials: Sequence[GitCredentials]) -> frozenset[str]:
        """Return the hosts that a project at `url` may lead to."""
        bases = [each.base for each in credentials if each.base]
        return frozenset({host_of(url), *map(host_of, bases), *(host.lower() for host in self.allowed_hosts)})
