"""Serves npm registries with a login to npm, which must not know it: packages run foreign scripts when they install.

It is a server on loopback for the time of one command. It passes on what the configured registries have, with the
login added on the way to their host, and replaces their URLs by its own: in packages' descriptions, and in a lock that
is put through `lock`. `real` reverses that.

https://docs.npmjs.com/cli/using-npm/registry
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from builder.errors import LambdasmithError
from builder.jsontext import read_json
from builder.network.loopback import Answer, Call, Loopback, Upstream, reaching_loopback, whole_body
from builder.secrets.indexes import Indexes, login_refused

DEFAULT = "https://registry.npmjs.org"
# Hosts in locks that mean no particular registry; npm itself asks the configured one instead.
_ANYWHERE = ("https://registry.npmjs.org/", "https://registry.yarnpkg.com/")
# Descriptions of packages with thousands of versions have tens of megabytes.
_MAX_PAGE = 256 << 20
_FILE = re.compile(r"f/(?P<number>\d+)/[^/]+")
_ASKED = re.compile(
    r"npm/(?P<name>(?:(?P<scope>@[A-Za-z0-9._~-]+)(?:/|%2[fF]))?[A-Za-z0-9._~-]+)(?P<version>/[A-Za-z0-9.+_~-]+)?"
)
_NPMRC = re.compile(
    r"^[ \t]*(?:(?P<scope>@[^\s:=]+):)?registry[ \t]*=[ \t]*[\"']?(?P<url>https?://[^\s\"']+)", re.MULTILINE
)
_TARBALL = re.compile(r"https?://[^\s\"'<>]+")


@dataclass(frozen=True, kw_only=True)
class Registries:
    """Sources of packages: those of a scope (`@corp`) from its registry, all others from the default."""

    default: str = DEFAULT
    scopes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Registries:
        """Parse the builder's npm_registry: a URL, and `@SCOPE=URL`, separated by commas; "" is npm's default."""
        parts = [part for part in re.split(r"[,\s]+", text) if part]
        default = next((part for part in parts if not part.startswith("@")), DEFAULT)
        scopes = dict(part.split("=", 1) for part in parts if part.startswith("@"))
        return cls(default=default.rstrip("/"), scopes={scope: url.rstrip("/") for scope, url in scopes.items()})

    def with_npmrc(self, text: str) -> Registries:
        """Return the registries with those of a project's own .npmrc instead."""
        found = {match["scope"] or "": match["url"].rstrip("/") for match in _NPMRC.finditer(text)}
        default = found.pop("", self.default)
        return Registries(default=default, scopes={**self.scopes, **found})

    def of(self, scope: str) -> str:
        """Return the registry of a scope, "" for packages without one."""
        return self.scopes.get(scope, self.default)


class NpmRegistry:
    """The running registry, if one of the configured ones wants a login; else it only names these."""

    def __init__(self, registries: Registries, indexes: Indexes) -> None:
        self._registries, self._indexes = registries, indexes
        self._upstream = Upstream(authorization=indexes.authorization)
        self._loopback = Loopback(self._answer)
        self._files: list[str] = []
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        # Without a login there is nothing to hide, and npm asks the registries itself.
        if any(map(indexes.covers, (registries.default, *registries.scopes.values()))):
            self._loopback.start()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of npm, with the default registry, which wins over any .npmrc."""
        around = reaching_loopback(environment) if self._loopback.started else {}
        default = {"npm_config_registry": self._address(self._registries.default)}
        # `lock` has done it, for the URLs that it is right for.
        return {**environment, **around, **default, "npm_config_replace_registry_host": "never"}

    def npmrc(self, text: str) -> str:
        """Return a project's .npmrc with the registries of scopes as npm is to ask them.

        Not on the command line, which everyone can read; not in variables, where `_` in a scope would become `-`.
        """
        kept = [line for line in text.splitlines() if not _NPMRC.match(line)]
        named = [f"{scope}:registry={self._address(url)}" for scope, url in self._registries.scopes.items()]
        return "".join(f"{line}\n" for line in (*kept, *named))

    def lock(self, text: str) -> str:
        """Return a lock (package-lock.json, yarn.lock) with our URLs for files of registries that want a login.

        Packages locked at npm's own registry come from the configured one instead, as in npm.
        """

        def here(match: re.Match[str]) -> str:
            url, fragment = urldefrag(match[0])
            for anywhere in _ANYWHERE:
                if url.startswith(anywhere) and f"{self._registry_of(url)}/" not in _ANYWHERE:
                    url = f"{self._registry_of(url)}/{url.removeprefix(anywhere)}"
            return self._here(url) + (f"#{fragment}" if fragment else "")

        return _TARBALL.sub(here, text)

    def real(self, text: str) -> str:
        """Return `text` with the registries' own URLs instead of ours."""
        if not self._loopback.started:
            return text
        root = re.escape(self._loopback.root)
        text = re.sub(rf"{root}/f/(\d+)/[^/\s\"'`)#,]+", lambda match: self._files[int(match[1])], text)

        def registry(match: re.Match[str]) -> str:
            return f"{self._registries.of(unquote(match[1] or '').partition('/')[0])}/{match[1] or ''}"

        return re.sub(rf"{root}/npm/(@[^\s\"'`)]+)?", registry, text)

    @property
    def refusals(self) -> list[LambdasmithError]:
        """Logins that were refused, or certificates that are not trusted."""
        if self._upstream.untrusted:
            return list(self._upstream.untrusted)
        refused = {(each.url, each.status) for each in self._upstream.refused}
        return [login_refused(_package(url), url, status, self._indexes) for url, status in sorted(refused)]

    def close(self) -> None:
        self._loopback.close()

    def _address(self, registry: str) -> str:
        return f"{self._loopback.root}/npm/" if self._loopback.started else f"{registry}/"

    def _registry_of(self, url: str) -> str:
        scope = unquote(urlsplit(url).path).strip("/").partition("/")[0]
        return self._registries.of(scope if scope.startswith("@") else "")

    def _here(self, url: str) -> str:
        """Return our URL for a file of a registry that wants a login."""
        if not self._loopback.started or not self._indexes.covers(url):
            return url
        with self._lock:
            number = self._numbers.setdefault(url, len(self._files))
            if number == len(self._files):
                self._files.append(url)
        return f"{self._loopback.root}/f/{number}/{quote(unquote(urlsplit(url).path.rpartition('/')[2]))}"

    def _answer(self, call: Call) -> None:
        if (match := _FILE.fullmatch(call.rest)) and int(match["number"]) < len(self._files):
            with self._upstream.ask(
                self._files[int(match["number"])], {"Accept-Encoding": "identity"}, call.method
            ) as answer:
                call.pass_on(answer)
            return
        match = _ASKED.fullmatch(call.rest)
        if match is None:
            call.send(404)
            return
        url = f"{self._registries.of(match['scope'] or '')}/{match['name']}{match['version'] or ''}"
        if not self._indexes.covers(url):
            call.redirect(url)
            return
        headers = {"Accept": call.headers.get("Accept", "application/json"), "Accept-Encoding": "identity"}
        with self._upstream.ask(url, headers) as answer:
            # Only descriptions have URLs in them to replace; errors are passed on for npm to report.
            if answer.status == 200:
                call.send(200, self._description(answer), {"Content-Type": answer.headers.get("Content-Type", "")})
            else:
                call.pass_on(answer)

    def _description(self, answer: Answer) -> bytes:
        """Return a package's description, or that of one version, with our URLs for its files."""
        return with_files(whole_body(answer, _MAX_PAGE), answer.url, self._here)


def with_files(body: bytes, base: str, here: Callable[[str], str]) -> bytes:
    """Return a package's description from the URL `base` with the addresses of its files replaced by `here`.

    Raises:
        ValueError: it is not such a description.
    """
    page = read_json(body)
    if not isinstance(page, dict):
        raise ValueError("it is no object")  # noqa: TRY004  # of the text, not of our call
    versions = page.get("versions")
    for version in versions.values() if isinstance(versions, dict) else [page]:
        dist = version.get("dist") if isinstance(version, dict) else None
        if isinstance(dist, dict) and isinstance(tarball := dist.get("tarball"), str):
            dist["tarball"] = here(urljoin(base, tarball))
    return json.dumps(page).encode()


def _package(url: str) -> str:
    """Return the name of the package that a URL is about, or the file's."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


@contextlib.contextmanager
def opened(registries: Registries, indexes: Indexes) -> Iterator[NpmRegistry]:
    """Run a registry for the time of the block."""
    registry = NpmRegistry(registries, indexes)
    try:
        yield registry
    finally:
        registry.close()
