"""Package indexes that want a login: which, and how to get at it when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from builder.logins import IndexLogin, index_for


def _nothing(login: IndexLogin) -> tuple[str, str]:
    raise AssertionError(f"nobody reads the login of {login.name}")


@dataclass(frozen=True, kw_only=True)
class Indexes:
    """The configured indexes. `read` gives user and password of one, and is called for every use."""

    logins: tuple[IndexLogin, ...] = ()
    read: Callable[[IndexLogin], tuple[str, str]] = field(default=_nothing, repr=False)

    def login(self, url: str) -> tuple[str, str] | None:
        """User and password for the page or file at `url`; None where its host has none."""
        found = index_for(url, self.logins)
        return self.read(found) if found else None

    def name(self, url: str) -> str:
        """The name of the index that `url` belongs to, "" if none is configured."""
        found = index_for(url, self.logins)
        return found.name if found else ""


NO_LOGINS = Indexes()
