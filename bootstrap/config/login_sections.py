"""Sections of config.ini that name secrets, and the projects that may use them.

[git HOST], [index NAME] and [project PATTERN]. They contain no values of secrets, only references, as
`builder.secrets.references` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from bootstrap.config.ini import Line
from builder.golang.paths import is_module_path
from builder.nearest import nearest
from builder.network.urls import is_loopback, without_secrets
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule
from builder.secrets.references import Reference, pattern_problem
from builder.trust import tips

KINDS: Mapping[str, tuple[str, ...]] = {
    "git": ("username", "token", "app_id", "installation_id", "private_key", "modules"),
    "index": ("url", "username", "password", "token", "only"),
    "project": ("allow", "refs"),
}
_CODEARTIFACT = re.compile(r"codeartifact:(?:(?P<account>\d{12})/)?(?P<domain>[a-z0-9-]{2,50})/(?P<repository>[\w.-]+)")
# A share of the 4,096 bytes that Lambda allows for all variables of a function; other variables need the rest.
_MAX_BYTES = 3_200

T = TypeVar("T")


def is_login_section(section: str) -> bool:
    """Return whether a section is one of these."""
    kind, _, subject = section.partition(" ")
    return kind in KINDS and bool(subject.strip())


@dataclass
class Section:
    """Section `[KIND SUBJECT]` with its values; `origin` names it in messages."""

    kind: str
    subject: str
    origin: str
    values: dict[str, str]


def read_logins(lines: Iterable[Line], name: str, problems: list[str]) -> Logins:
    """Read the sections; add every problem to `problems`, without values.

    Args:
        lines: those in sections for which `is_login_section` holds.
        name: of the file, for messages.
    """
    sections = read_sections(lines, name, KINDS, problems)
    found = Logins(
        git=_made(_git, "git", sections, problems),
        indexes=_made(_index, "index", sections, problems),
        projects=_made(_project, "project", sections, problems),
    )
    size = len(found.text().encode())
    if size > _MAX_BYTES:
        problems.append(
            f"{name}: [git …], [index …] and [project …] take {size:,} bytes; {_MAX_BYTES:,} fit into a function's "
            "variables: name several projects by one pattern"
        )
    return found


def read_sections(
    lines: Iterable[Line], name: str, kinds: Mapping[str, tuple[str, ...]], problems: list[str]
) -> dict[str, Section]:
    """Read sections `[KIND SUBJECT]` with their values; `kinds` has the keys of each kind."""
    sections: dict[str, Section] = {}
    for line in lines:
        kind, _, subject = line.section.partition(" ")
        shown = f"[{without_secrets(line.section)}]"
        section = sections.setdefault(
            line.section, Section(kind=kind, subject=subject.strip(), origin=f"{name}: {shown}", values={})
        )
        if line.key is None:
            problems.append(f"{name}:{line.number}: not a `key = value` line")
        elif line.key not in kinds[kind]:
            advice = nearest(line.key, kinds[kind]) or f"; known are {', '.join(kinds[kind])}"
            problems.append(f"{section.origin} {line.key}: unknown key{advice}")
        elif line.key in section.values:
            problems.append(f"{name}:{line.number}: {shown} {line.key}: is given twice")
        elif line.value:
            section.values[line.key] = line.value
    return sections


def _made(
    make: Callable[[Section], T], kind: str, sections: Mapping[str, Section], problems: list[str]
) -> tuple[T, ...]:
    made = []
    for section in sections.values():
        if section.kind == kind:
            try:
                made.append(make(section))
            except ValueError as error:
                problems.append(f"{section.origin} {error}")
    return tuple(made)


def _git(section: Section) -> GitLogin:
    values = section.values
    base = _url(section.subject if "://" in section.subject else f"https://{section.subject}")
    app = [key for key in ("app_id", "installation_id", "private_key") if key in values]
    if ("token" in values) == bool(app) or len(app) not in (0, 3):
        raise ValueError("needs token, or app_id, installation_id and private_key")
    for key in ("token", "private_key"):
        _check_reference(values, key)
    for key in ("app_id", "installation_id"):
        if key in values and not re.fullmatch(r"[A-Za-z0-9.]{1,40}", values[key]):
            raise ValueError(f"{key}: is not a GitHub id")
    if not re.fullmatch(r"[\w.@+-]*", values.get("username", "")):
        raise ValueError("username: is not a user name")
    if "modules" in values:
        values = {**values, "modules": _modules(values["modules"])}
    return GitLogin(base=base, **values)


def _modules(text: str) -> str:
    """Return prefixes of module paths, separated by single blanks."""
    paths = dict.fromkeys(re.split(r"[,\s]+", text.strip(", \t")))
    for path in paths:
        if not is_module_path(path):
            raise ValueError(f"modules: {path!r} is not a module path, for example go.example.com or github.com/team-a")
    return " ".join(paths)


def _index(section: Section) -> IndexLogin:
    values = dict(section.values)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", section.subject):
        raise ValueError("a name has 1 to 40 of A-Z a-z 0-9 _ . -")
    if "url" not in values:
        raise ValueError("needs url")
    if "only" in values:
        values["only"] = _only(values["only"])
    if values["url"].startswith("codeartifact:"):
        if not _CODEARTIFACT.fullmatch(values["url"]) or {"password", "token"} & set(values):
            raise ValueError(
                "url: write codeartifact:DOMAIN/REPOSITORY or codeartifact:ACCOUNT/DOMAIN/REPOSITORY, alone"
            )
        return IndexLogin(name=section.subject, **values)
    values["url"] = _url(values["url"])
    without = "only" in values and not {"username", "password", "token"} & set(values)
    if not without and (("password" in values) == ("token" in values) or {"username", "token"} <= set(values)):
        raise ValueError("needs password, a reference, with a username; or token, a reference, alone; or just only")
    _check_reference(values, "password")
    _check_reference(values, "token")
    if ":" in values.get("username", ""):
        _check_reference(values, "username")
    return IndexLogin(name=section.subject, **values)


def _only(text: str) -> str:
    """Return patterns of normalised distribution names, separated by single blanks."""
    patterns = dict.fromkeys(re.sub(r"[-_.]+", "-", one).lower() for one in re.split(r"[,\s]+", text.strip(", \t")))
    for pattern in patterns:
        if not re.fullmatch(r"[a-z0-9*?-]+", pattern) or not pattern.strip("*?-"):
            raise ValueError(f"only: {pattern!r} is not a pattern of distributions, for example corp-*")
    return " ".join(patterns)


def _project(section: Section) -> ProjectRule:
    if not re.fullmatch(r"[\w.*?:/\[\]-]+", section.subject):
        raise ValueError("is a pattern of functions (shop-*) or of repositories (github.com/team-a/*)")
    allow = tuple(dict.fromkeys(re.split(r"[,\s]+", section.values.get("allow", "").strip(", \t"))))
    if allow == ("",):
        raise ValueError("needs allow, the references that its build files may name")
    for pattern in allow:
        if problem := pattern_problem(pattern):
            raise ValueError(f"allow: {pattern!r} {problem}")
    refs = tuple(dict.fromkeys(filter(None, re.split(r"[,\s]+", section.values.get("refs", "")))))
    for pattern in refs:
        if problem := tips.pattern_problem(pattern):
            raise ValueError(f"refs: {pattern!r} {problem}")
    return ProjectRule(pattern=section.subject, allow=allow, refs=refs)


def _check_reference(values: Mapping[str, str], key: str) -> None:
    if key in values:
        try:
            Reference.parse(values[key])
        except ValueError as error:  # the value is not shown: it may be the secret itself
            raise ValueError(
                f"{key}: {error}; the value itself goes into a secret: setup.py secret set NAME"
            ) from error


def _url(text: str) -> str:
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain credentials")
    host = parts.hostname or ""
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise ValueError("must be a host, or an https:// URL")
    return text.rstrip("/")


def expanded(logins: Logins, *, account: str, region: str) -> Logins:
    """Return the logins with CodeArtifact's URLs and the sources of its passwords spelled out."""
    indexes = []
    for index in logins.indexes:
        if match := _CODEARTIFACT.fullmatch(index.url):
            owner, domain = match["account"] or account, match["domain"]
            host = f"{domain}-{owner}.d.codeartifact.{region}.amazonaws.com"
            url = f"https://{host}/pypi/{match['repository']}/simple"
            password = f"codeartifact:{owner}/{domain}"
            index = IndexLogin(name=index.name, url=url, username="aws", password=password, only=index.only)
        indexes.append(index)
    return Logins(git=logins.git, indexes=tuple(indexes), projects=logins.projects)
