"""Paths and versions of Go modules: syntax, order, and which repository a path means. Pure.

https://go.dev/ref/mod
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from builder.network.access import GitCredentials, credentials_for
from builder.network.urls import origin

_HOST = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)+")
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._~-]+(?<!\.)")
_MAJOR = re.compile(r"(?P<prefix>.+?)(?P<major>/v([2-9]|[1-9][0-9]+))?")
_VERSION = re.compile(
    r"(?=.{1,256}$)v(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*)"
    r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?P<incompatible>\+incompatible)?",
    re.ASCII,
)
_PSEUDO = re.compile(r"(?:(?:.*\.)?0\.)?(?P<time>\d{14})-(?P<commit>[0-9a-f]{12})", re.ASCII)
# Forges with repositories of many strangers: a login there says nothing about who owns a module.
PUBLIC_FORGES = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
# Forges where a repository is two names, and no more.
_TWO_NAMES = ("github.com", "bitbucket.org", "codeberg.org")


def is_module_path(text: str) -> bool:
    """Tell whether a module's path may be, or begin with, `text`: a host, and names below it."""
    host, *names = text.split("/")
    return bool(_HOST.fullmatch(host)) and all(_NAME.fullmatch(name) for name in names)


def unescaped(text: str) -> str:
    """Decode `text` of a proxy's URL: `!x` is X, so that file systems without case can hold it.

    Raises:
        ValueError: it is not in that form.
    """
    if re.search(r"[A-Z]|!(?![a-z])", text):
        raise ValueError(f"{text!r} is not escaped")
    return re.sub(r"!([a-z])", lambda match: match[1].upper(), text)


def split_major(path: str) -> tuple[str, str]:
    """Split the major version off a module's path: `/v2`, or "" for 0 and 1."""
    match = _MAJOR.fullmatch(path)
    return (match["prefix"], match["major"] or "") if match else (path, "")


def major_of(go_mod: bytes) -> str:
    """Return the major version of a go.mod's path, as `split_major` has it; "none" if it has no path."""
    match = re.search(rb'^[ \t]*module[ \t]+(?:\(\s*)?["`]?([^\s"`]+)', go_mod, re.MULTILINE)
    return split_major(match[1].decode("utf-8", "replace"))[1] if match else "none"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A canonical version. `text` is all of it, `tag` without `+incompatible`.

    `commit` (its first 12 digits) and `time` (`yyyymmddhhmmss`) are set in a pseudo-version, for a commit without a
    tag.
    """

    text: str
    tag: str
    numbers: tuple[int, int, int]
    pre: str
    incompatible: bool
    time: str = ""
    commit: str = ""

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Parse a version; None if it is not a canonical one."""
        match = _VERSION.fullmatch(text)
        if not match:
            return None
        pre = match["pre"] or ""
        if any(part.isdigit() and part != "0" and part.startswith("0") for part in pre.split(".")):
            return None
        pseudo = _PSEUDO.fullmatch(pre)
        return cls(
            text=text,
            tag=text.removesuffix("+incompatible"),
            numbers=(int(match["major"]), int(match["minor"]), int(match["patch"])),
            pre=pre,
            incompatible=bool(match["incompatible"]),
            time=pseudo["time"] if pseudo else "",
            commit=pseudo["commit"] if pseudo else "",
        )

    @property
    def order(self) -> tuple[object, ...]:
        """Key that sorts versions by semantic versioning; a release comes after its pre-releases."""
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre.split("."))
        return (*self.numbers, not self.pre, parts)

    def fits(self, major: str) -> bool:
        """Tell whether a module whose path ends with `major` may have it."""
        if major:
            return f"/v{self.numbers[0]}" == major and not self.incompatible
        return (self.numbers[0] > 1) == self.incompatible


def newest(versions: Sequence[Version]) -> Version | None:
    """Return the highest release, else the highest version; None without any."""
    releases = [version for version in versions if not version.pre and not version.incompatible]
    return max(releases or versions, key=lambda version: version.order, default=None)


def pseudo_version(base: Version | None, major: str, time: str, commit: str) -> str:
    """Return the version of a commit without a tag whose nearest tag is `base`.

    https://go.dev/ref/mod#pseudo-versions
    """
    end = f"{time}-{commit[:12]}"
    if base is None:
        return f"{major.removeprefix('/') or 'v0'}.0.0-{end}"
    one, two, three = base.numbers
    suffix = "+incompatible" if base.incompatible else ""
    if base.pre:
        return f"v{one}.{two}.{three}-{base.pre}.0.{end}{suffix}"
    return f"v{one}.{two}.{three + 1}-0.{end}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Home:
    """Modules whose paths begin with `prefix` are in repositories below the URL `base`, and nowhere else.

    `inner`: base and prefix name the same place; otherwise the rest of the path comes after `base`.
    """

    prefix: str
    base: str
    inner: bool = True

    def covers(self, path: str) -> bool:
        """Tell whether a module, or package, of that path is one of them."""
        return f"{path}/".startswith(f"{self.prefix}/")


def homes(credentials: Sequence[GitCredentials], repository: str) -> tuple[Home, ...]:
    """Return the places of private modules: below the login of each forge, and beside the project's `repository`.

    A login for all of a public forge only covers its `modules`.
    """
    found: dict[str, Home] = {}
    for each in credentials:
        if each.base is None:
            continue
        own = _place(each.base)
        # A whole public forge is never private, or each public module there would be asked for with a login.
        if own not in PUBLIC_FORGES:
            found.setdefault(own, Home(prefix=own, base=each.base))
        for prefix in each.modules:
            inner = f"{prefix}/".startswith(f"{own.partition('/')[0]}/")
            found[prefix] = Home(prefix=prefix, base=each.base, inner=inner)
    if repository and (theirs := credentials_for(repository, credentials)) and theirs.base:
        beside = _place(repository).rpartition("/")[0]
        if beside and beside not in PUBLIC_FORGES:
            found.setdefault(beside, Home(prefix=beside, base=theirs.base))
    return tuple(sorted(found.values(), key=lambda home: -len(home.prefix)))


def _place(url: str) -> str:
    """Return host and path of a URL in the form of a module's path: without scheme, port and final slashes."""
    parts = urlsplit(url)
    return "/".join(filter(None, [(parts.hostname or "").lower(), parts.path.strip("/").removesuffix(".git")]))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A repository that a module may be in: its URL, the part of the path that names it, and the directory below."""

    url: str
    root: str
    directory: str


def candidates(path: str, home: Home | None, credentials: Sequence[GitCredentials] = ()) -> Iterator[Candidate]:
    """Yield repositories that the module `path` may be in, likely ones first.

    Without a home only those that the path itself names: on a known forge, on a host with a login, or behind `.git`.
    """
    prefix, _ = split_major(path)
    names = prefix.split("/")
    if home is None:
        base = next(
            (each.base for each in credentials if each.base and _place(each.base).split("/")[0] == names[0]), ""
        )
        explicit = any(name.endswith(".git") for name in names[1:])
        if not base and names[0] not in PUBLIC_FORGES and not explicit:
            return
        home = Home(prefix=names[0], base=_root(base) if base else f"https://{names[0]}")
    above = "" if home.inner else urlsplit(home.base).path.strip("/")
    skipped = 1 if home.inner else len(home.prefix.split("/"))
    below = [*filter(None, above.split("/")), *names[skipped:]]
    outside = len(below) - len(names[skipped:])
    least = 0 if home.inner else outside
    for length in _lengths(below, urlsplit(home.base).hostname or "", least):
        cut = skipped + length - outside
        root = "/".join(below[:length]).removesuffix(".git")
        yield Candidate(
            url=f"{_root(home.base)}/{root}.git", root="/".join(names[:cut]), directory="/".join(names[cut:])
        )


def _lengths(names: Sequence[str], host: str, least: int) -> Iterator[int]:
    """Yield how many of the names may be the repository's."""
    explicit = [position for position, name in enumerate(names, 1) if name.endswith(".git")]
    if explicit:
        yield explicit[0]
        return
    if host in _TWO_NAMES:
        yield from (2,) if len(names) >= 2 else ()
        return
    # Owner and name nearly everywhere, nested groups on some, a name alone on servers without owners.
    for length in (*range(2, len(names) + 1), 1):
        if max(1, least) <= length <= len(names):
            yield length


def _root(url: str) -> str:
    scheme, host, port = origin(url)
    default = {"http": 80, "https": 443}.get(scheme)
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == default else f":{port}")
