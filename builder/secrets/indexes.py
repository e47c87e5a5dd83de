"""Package indexes that want a login: which ones, and how to get the login when it is needed."""

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
    """User and password, or, with `bearer`, a token without a user."""

    user: str
    password: str = field(repr=False)
    bearer: bool = False

    @property
    def header(self) -> str:
        """Value of the Authorization header."""
        if self.bearer:
            return f"Bearer {self.password}"
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the login to a request of `requests`, which calls this as its `auth`."""
        request.headers["Authorization"] = self.header
        return request


def _nothing(login: IndexLogin) -> tuple[str, str]:
    raise AssertionError(f"no one reads the login of {login.name}")


@dataclass(frozen=True, kw_only=True)
class Indexes:
    """The configured indexes. `read` returns user and password, or "" and token, of one; it is called for every use."""

    logins: tuple[IndexLogin, ...] = ()
    read: Callable[[IndexLogin], tuple[str, str]] = field(default=_nothing, repr=False)

    def covers(self, url: str) -> bool:
        """Tell whether there is a login for the page or file at `url`."""
        found = index_for(url, self.logins)
        return found is not None and found.has_login

    def knows(self, url: str) -> bool:
        """Tell whether the configuration names the index at `url`."""
        return any(index.url.rstrip("/") == url.rstrip("/") for index in self.logins)

    def pin(self, name: str) -> tuple[IndexLogin, str] | None:
        """Return the only index for distributions of a (normalised) name, with the pattern that says so."""
        for index in self.logins:
            for pattern in index.only.split():
                if fnmatchcase(name, pattern):
                    return index, pattern
        return None

    @property
    def pins(self) -> str:
        """Text that is equal for equal rules about which index has which name."""
        return "\n".join(sorted(f"{index.only} {index.url}" for index in self.logins if index.only))

    def login(self, url: str) -> Login | None:
        """Return the login for the page or file at `url`; None if its host has none."""
        found = index_for(url, self.logins)
        if found is None or not found.has_login:
            return None
        user, password = self.read(found)
        return Login(user=user, password=password, bearer=bool(found.token))

    def authorization(self, url: str) -> str | None:
        """Return the login as the value of an Authorization header."""
        found = self.login(url)
        return found.header if found else None

    def name(self, url: str) -> str:
        """Return the name of the index that `url` belongs to, "" if none is configured."""
        found = index_for(url, self.logins)
        return found.name if found else ""

    def place(self, url: str) -> str:
        """Return the place of the secret that is sent to `url`, as config.ini names it."""
        found = index_for(url, self.logins)
        return found.token or found.password if found else ""


NO_LOGINS = Indexes()


def login_refused(what: str, url: str, status: int, indexes: Indexes) -> AuthenticationFailed:
    """Return the error for a server that refuses a file or a page."""
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
