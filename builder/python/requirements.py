"""The lines of a requirements file, as values; pure text in, nothing is looked up.

Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from builder.errors import InvalidBuildFile
from builder.network.urls import is_http, url_problem, without_secrets

Kind = Literal["index", "url", "git", "path"]

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"(?P<name>--[a-z-]+|-[a-zA-Z])(?:\s*=\s*|\s+|(?<=^-.)(?=\S)|$)(?P<value>.*)", re.DOTALL)
_HASH = re.compile(r"\s--hash(?:\s*=\s*|\s+)(\S+)")
_ITEM_OPTION = re.compile(r"\s(--[a-z-]+)")
_NAMED_URL = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<place>.+)", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?P<extras>\[[^\]]*\])?(?P<rest>.*)", re.DOTALL)
_EGG = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?P<extras>\[[^\]]*\])?")
_MARKED = re.compile(r"(?P<place>.*?)(?:\s+;\s*|;\s+)(?P<marker>.+)", re.DOTALL)
_CREDENTIALS = re.compile(r"://[^/\s]*@|://[^\s#]*\?")
_VARIABLE = re.compile(r"\$\{\w+\}")
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
# Ends a line, or a path, for some of those who read the line after us, or cannot be written to a file.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")

_SPECIFIER = re.compile(r"(?:(?:===|[<>=!~]=|[<>])\s*[^\s,;@<>=!~]+\s*(?:,\s*|$))+")

_SHORT = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-i": "--index-url", "-f": "--find-links"}
# What means nothing here: the first is always so, the others tell pip how to behave.
_IGNORED = {"--prefer-binary", "--use-feature", "--disable-pip-version-check", "--no-cache-dir"}
_FLAGS = {"--pre", "--require-hashes", "--no-index"}


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One line that asks for a distribution.

    Args:
        origin: `file:line`, for messages.
        name: normalised; "" where only the source itself knows it.
        extras: `[web,cli]` as typed, or "".
        specifier: of the version, for kind index.
        marker: environment marker, or "".
        place: for kind url the URL, for git the repository's https URL, for path a path relative to the file, as typed.
        ref, subdirectory: for kind git; subdirectory also for url and path.
        hashes: `sha256:…`, any of which the file may have.
    """

    origin: str
    kind: Kind
    name: str = ""
    extras: str = ""
    specifier: str = ""
    marker: str = ""
    place: str = ""
    ref: str = ""
    subdirectory: str = ""
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Include:
    """Another file to read: `path` relative to the file that names it."""

    origin: str
    path: str
    constraint: bool


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option for the whole resolution, long name, `value` empty for flags."""

    origin: str
    name: str
    value: str = ""


Line = Requirement | Include | Option


def normalised_name(name: str) -> str:
    """The name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str, file: str) -> Iterator[Line]:
    """The lines of a requirements file called `file`.

    Raises:
        InvalidBuildFile: a line that cannot be read or used, as `file:line: what is wrong`. No credentials in it.
    """
    for number, line in _logical_lines(text):
        parsed = parse_line(line, f"{file}:{number}")
        if parsed is not None:
            yield parsed


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first physical line, text) of every line that is not empty; continued ones joined."""
    held: list[str] = []
    first = 0
    for number, physical in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        first = first if held else number
        if physical.endswith("\\") and not physical.lstrip().startswith("#"):
            held.append(physical[:-1])
            continue
        line = _COMMENT.sub("", "".join([*held, physical])).strip()
        held = []
        if line:
            yield first, line
    if line := _COMMENT.sub("", "".join(held)).strip():
        yield first, line


def parse_line(line: str, origin: str) -> Line | None:
    """One logical line without its comment; None where it means nothing here."""
    if (odd := _UNPRINTABLE.search(line)) is not None:
        raise _problem(origin, f"{line[:80]!r} contains the character {odd[0]!r}", "write it again, in plain text")
    # `git@` of the ssh spelling is no secret, and is told what to write instead.
    if _CREDENTIALS.search(line.replace("ssh://git@", "ssh://")):
        raise _problem(
            origin,
            "a URL has credentials or a query in it",
            "write the URL without them: the operator names the login of a git server ([git HOST]) or of a package "
            "index ([index NAME]) in config.ini, see docs/secrets.md",
        )
    if variable := _VARIABLE.search(line):
        raise _problem(
            origin, f"{variable[0]} is not replaced: builds see no variables of yours", "write the value itself"
        )
    if not line.startswith("-"):
        return _requirement(line, origin)
    match = _OPTION.match(line)
    if match is None:
        raise _problem(origin, f"{line.split()[0]!r} is not an option of a requirements file")
    name, value = _SHORT.get(match["name"], match["name"]), match["value"].strip()
    if name in _IGNORED:
        return None
    if name in _FLAGS:
        return Option(origin=origin, name=name)
    if not value:
        raise _problem(origin, f"{name} needs a value")
    match name:
        case "--requirement" | "--constraint":
            return Include(origin=origin, path=_unquoted(value), constraint=name == "--constraint")
        case "--editable":
            return _requirement(value, origin, editable=True)
        case "--index-url" | "--extra-index-url":
            return Option(origin=origin, name=name, value=_index(value, origin))
        case "--no-binary" | "--only-binary":
            return Option(origin=origin, name=name, value=value)
        case "--trusted-host":
            raise _problem(origin, "--trusted-host turns off certificate checks", "give the index a certificate")
        case "--find-links":
            return Option(origin=origin, name=name, value=_links(value, origin))
        case _:
            raise _problem(origin, f"{name} is not supported")


def _problem(origin: str, what: str, hint: str = "") -> InvalidBuildFile:
    raise InvalidBuildFile(
        f"{origin}: {what}", hint=hint or "build.yaml.example says what a requirements file may contain"
    )


def _unquoted(value: str) -> str:
    try:
        parts = shlex.split(value)
    except ValueError:
        return value
    return parts[0] if len(parts) == 1 else value


def _index(value: str, origin: str) -> str:
    url = _unquoted(value)
    if not is_http(url):
        raise _problem(origin, f"{without_secrets(url)!r} is not the URL of a package index")
    return url


def _links(value: str, origin: str) -> str:
    place = _unquoted(value)
    return _index(place, origin) if "://" in place and not place.startswith("file:") else _local(place, origin)


def _requirement(line: str, origin: str, *, editable: bool = False) -> Requirement:
    hashes = tuple(_HASH.findall(line))
    bare = _HASH.sub("", line).strip()
    if other := _ITEM_OPTION.search(bare):
        raise _problem(origin, f"{other[1]} is not supported for a single requirement")
    strong = tuple(value for value in hashes if _SHA256.fullmatch(value))
    if hashes and not strong:
        raise _problem(origin, "none of the hashes is a sha256", "lock with sha256 hashes, as pip, uv and poetry do")
    named = None if bare.startswith("git@") else _NAMED_URL.fullmatch(bare)
    place = named["place"].strip() if named else bare
    if named is None and not editable and not _is_place(bare):
        return _from_index(bare, origin, strong)
    marked = _MARKED.fullmatch(place)
    marker = marked["marker"] if marked else ""
    place = _unquoted(marked["place"] if marked else place)
    name, extras = (named["name"], named["extras"] or "") if named else ("", "")
    return _at_place(place, origin, name=name, extras=extras, marker=marker, hashes=strong)


def _is_place(text: str) -> bool:
    """Whether a line without a name is a path or URL rather than a requirement by name."""
    place = text.split(";")[0].strip()
    return (
        "://" in place
        or place.startswith((".", "/", "file:", "git+", "git@"))
        or place.partition("[")[0].endswith(_ARCHIVES)
        or ("/" in place and "@" not in place)
    )


def _from_index(text: str, origin: str, hashes: tuple[str, ...]) -> Requirement:
    match = _NAMED.fullmatch(text)
    if match is None:
        raise _problem(origin, f"{text[:80]!r} is not a requirement", "write NAME, NAME==VERSION or NAME @ URL")
    specifier, _, marker = match["rest"].partition(";")
    specifier = specifier.strip().removeprefix("(").removesuffix(")").strip()
    if specifier and not _SPECIFIER.fullmatch(specifier):
        raise _problem(origin, f"{text[:80]!r} is not a requirement", "write NAME, NAME==VERSION or NAME @ URL")
    return Requirement(
        origin=origin,
        kind="index",
        name=normalised_name(match["name"]),
        extras=match["extras"] or "",
        specifier=specifier,
        marker=marker.strip(),
        hashes=hashes,
    )


@dataclass(kw_only=True)
class _Fragment:
    """What follows `#` in a URL: egg=NAME[EXTRAS]&subdirectory=DIR, or a hash."""

    name: str = ""
    extras: str = ""
    subdirectory: str = ""
    hashes: list[str] = field(default_factory=list)


def _fragment(text: str) -> _Fragment:
    found = _Fragment()
    for part in text.split("&"):
        key, _, value = part.partition("=")
        value = unquote(value)
        if key == "egg" and (egg := _EGG.match(value)):
            found.name, found.extras = egg["name"], egg["extras"] or ""
        elif key == "subdirectory":
            found.subdirectory = value.strip("/")
        elif key == "sha256":
            found.hashes.append(f"sha256:{value}")
    return found


def _at_place(place: str, origin: str, *, name: str, extras: str, marker: str, hashes: tuple[str, ...]) -> Requirement:
    url, _, fragment_text = place.partition("#")
    fragment = _fragment(fragment_text)
    bracket = re.fullmatch(r"(?P<path>[^\[]+)(?P<extras>\[[^\]]*\])", url) if "://" not in url else None
    if bracket:
        url, extras = bracket["path"], extras or bracket["extras"]
    if ".." in fragment.subdirectory.split("/"):
        raise _problem(origin, f"subdirectory {fragment.subdirectory!r} leaves the repository")
    name = normalised_name(name or fragment.name)
    extras = extras or fragment.extras
    hashes = (*hashes, *fragment.hashes)
    ref, kind = "", "path"
    if url.startswith(("git+", "git@", "git://", "ssh://")):
        kind = "git"
        url, ref = _git(url, origin)
    elif url.startswith(("https://", "http://")):
        kind = "url"
        if not is_http(url):
            raise _problem(origin, f"{without_secrets(url)!r} is not a URL")
    elif "://" in url and not url.startswith("file:"):
        raise _problem(origin, f"{url.partition('://')[0]}:// cannot be fetched", "use https:// or git+https://")
    else:
        url = _local(url, origin)
    return Requirement(
        origin=origin,
        kind=kind,  # type: ignore[arg-type]  # one of three literals, by the branches above
        name=name,
        extras=extras,
        marker=marker,
        place=url,
        ref=ref,
        subdirectory=fragment.subdirectory,
        hashes=hashes,
    )


def _git(url: str, origin: str) -> tuple[str, str]:
    """The https URL and the ref of `git+https://host/path@ref`."""
    bare = url.removeprefix("git+")
    head, slash, last = bare.rpartition("/")
    last, _, ref = last.partition("@")
    if "@" in head.partition("://")[2].partition("/")[2]:  # a ref with a slash: everything behind the path's first @
        start = bare.index("@", bare.index("/", bare.index("://") + 3))
        address, ref = bare[:start], bare[start + 1 :]
    else:
        address = head + slash + last
    if problem := url_problem(address):
        raise _problem(
            origin, f"git+{problem}" if problem.startswith("http") else problem, "write git+https://HOST/PATH@REF"
        )
    return address, ref


def _local(path: str, origin: str) -> str:
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file:").removeprefix("//").removeprefix("localhost"))
    if path.startswith("/"):
        raise _problem(origin, f"{path!r} is absolute", "write a path relative to this file, inside the project")
    return path or "."
