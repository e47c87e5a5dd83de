"""Package indexes that want a login: which, and how to get at it when it is needed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from builder.errors import AuthenticationFailed
from builder.secrets.logins import IndexLogin, index_for

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True, kw_only=True)
class Login:
    """User and password, or, where it is a `bearer`'s, a token that needs no user."""

    user: str
    password: str = field(repr=False)
    bearer: bool = False

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        if self.bearer:
            return f"Bearer {self.password}"
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As `auth` of a request of requests."""
        request.headers["Authorization"] = self.header
        return request


def _nothing(login: IndexLogin) -> tuple[str, str]:
    raise AssertionError(f"no one reads the login of {login.name}")


@dataclass(frozen=True, kw_only=True)
class Indexes:
    """The configured indexes. `read` gives user and password, or "" and token, of one; it is called for every use."""

    logins: tuple[IndexLogin, ...] = ()
    read: Callable[[IndexLogin], tuple[str, str]] = field(default=_nothing, repr=False)

    def covers(self, url: str) -> bool:
        """Whether there is a login for the page or file at `url`."""
        found = index_for(url, self.logins)
        return found is not None and found.has_login

    def knows(self, url: str) -> bool:
        """Whether the configuration names the index at `url`."""
        return any(index.url.rstrip("/") == url.rstrip("/") for index in self.logins)

    def pin(self, name: str) -> tuple[IndexLogin, str] | None:
        """The index that distributions of that name, in its normal form, come from alone; beside it the pattern."""
        for index in self.logins:
            for pattern in index.only.split():
                if fnmatchcase(name, pattern):
                    return index, pattern
        return None

    @property
    def pins(self) -> str:
        """A text that is equal for equal rules of whose which name is."""
        return "\n".join(sorted(f"{index.only} {index.url}" for index in self.logins if index.only))

    def login(self, url: str) -> Login | None:
        """The login for the page or file at `url`; None where its host has none."""
        found = index_for(url, self.logins)
        if found is None or not found.has_login:
            return None
        user, password = self.read(found)
        return Login(user=user, password=password, bearer=bool(found.token))

    def authorization(self, url: str) -> str | None:
        """The login as the value of an Authorization header."""
        found = self.login(url)
        return found.header if found else None

    def name(self, url: str) -> str:
        """The name of the index that `url` belongs to, "" if none is configured."""
        found = index_for(url, self.logins)
        return found.name if found else ""

    def place(self, url: str) -> str:
        """Where the secret is that is sent to `url`, as config.ini names it."""
        found = index_for(url, self.logins)
        return found.token or found.password if found else ""


NO_LOGINS = Indexes()


def login_refused(what: str, url: str, status: int, indexes: Indexes) -> AuthenticationFailed:
    """The error for a server that does not give a file or a page."""
    host, index = urlsplit(url).netloc.rpartition("@")[2], indexes.name(url)
    if index:
        place = index if index.startswith("$") else f"[index {index}]"
        message = f"{what}: {host} refuses the login of {place} ({status})"
        hint = f"renew the secret that config.ini names there, {indexes.place(url)}"
        if place == index:
            hint = "renew the login in that variable"
        return AuthenticationFailed(message, hint=hint)
    return AuthenticationFailed(
        f"{what}: {host} requires a login, and the builder has none for it ({status})",
        hint="the operator adds [index NAME] with url and password or token to config.ini: docs/secrets.md",
    )
