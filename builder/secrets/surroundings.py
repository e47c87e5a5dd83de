"""Reads proxies and indexes from the environment around the builder, and takes the logins out.

A URL with a login in a variable (HTTPS_PROXY, PIP_INDEX_URL, GOPROXY, npm_config_registry, …) is a secret like any
other: children get the URL without it, and something that adds it: a relay before the proxy, a gateway before the
index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from builder.errors import InvalidConfiguration

if TYPE_CHECKING:
    from builder.secrets.logins import IndexLogin

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
# Variables with addresses of package indexes that children inherit.
# The default index of Python packages, and additional ones: the first variable that is set counts, by uv's own name.
_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_EXTRA = ("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
INDEXES = (*_DEFAULT, *_EXTRA, "GOPROXY", "npm_config_registry")
# Several URLs may be in one variable, separated as its tool wants it.
_SEPARATORS = r"[\s,|]+"
# Patterns are compiled on first use: this module is imported by every cold start.
_LOGIN = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<login>[^/?#\s,|]*)@(?P<rest>[^\s,|]*)"
_BARE = r"[^/?#\s]*@[^\s]*"
# A user name as long as this may be a token.
_TOKEN = 20


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The environment without logins; `indexes` are those that it names with a login, called `$VARIABLE`."""

    environment: Mapping[str, str]
    indexes: Mapping[IndexLogin, tuple[str, str]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Surroundings:
        """Read the environment. Afterwards a relay runs for each proxy with a login.

        Raises:
            InvalidConfiguration: a variable has an address that cannot be read.
        """
        from builder.secrets.logins import IndexLogin

        for name in (*PROXIES, *INDEXES):
            _check(name, environment.get(name, ""))
        cleaned, indexes = dict(environment), {}
        for name, value in environment.items():
            found = list(_logins(name, value))
            if not found:
                continue
            if name in PROXIES:
                cleaned[name] = _relayed(name, value)
                continue
            cleaned[name] = re.sub(_LOGIN, r"\g<scheme>\g<rest>", value)
            for match in found:
                index = IndexLogin(name=f"${name}", url=(match["scheme"] + match["rest"]).rstrip("/"))
                indexes[index] = _user_and_password(match["login"])
        # uv does not read pip's variables. Where only those are set, names must not be looked up in public: set uv's.
        for first, *others in (_DEFAULT, _EXTRA):
            if said := next(filter(None, (cleaned.get(name, "").strip() for name in (first, *others))), ""):
                cleaned[first] = said
        return cls(environment=cleaned, indexes=indexes)


def secrets_of(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the secret parts of logins in URLs of an environment, whatever the variables are called."""
    for name, value in environment.items():
        for match in _logins(name, value):
            user, password = _user_and_password(match["login"])
            if password:
                yield password
                yield match["login"].partition(":")[2]
            if not password or len(user) >= _TOKEN:
                yield user


def _check(name: str, value: str) -> None:
    """Return if the addresses in a variable can be parsed: later errors would not know the variable."""
    from builder.network.urls import is_url, without_secrets

    for url in re.split(_SEPARATORS, value):
        if "/" in url and not is_url(url):
            raise InvalidConfiguration(
                f"{name}: {without_secrets(url)!r} is not a URL", hint=f"correct the variable {name}, or unset it"
            )


def _logins(name: str, value: str) -> Iterator[re.Match[str]]:
    if "@" in value:
        url = _proxy(value) if name in PROXIES else value
        yield from (match for match in re.finditer(_LOGIN, url) if match["login"])


def _proxy(value: str) -> str:
    """Return a proxy as a URL: tools also accept `user:password@host:port`."""
    return f"http://{value}" if re.fullmatch(_BARE, value) else value


def _user_and_password(login: str) -> tuple[str, str]:
    user, _, password = login.partition(":")
    return unquote(user), unquote(password)


def _relayed(name: str, value: str) -> str:
    from builder.network.relay import relay

    proxy = _proxy(value)
    # Protocols other than HTTP, such as SOCKS, have no relay here.
    if proxy.startswith(("http://", "https://")):
        return relay(proxy)
    return re.sub(_LOGIN, r"\g<scheme>\g<rest>", proxy)
