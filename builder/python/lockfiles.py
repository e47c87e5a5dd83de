"""The locks of Poetry and Pipenv as requirements, each at its one version with its hashes.

Both locks name versions and hashes but no addresses, so the index is asked for these exact files and nothing else.
(micropipenv does the same but needs pip's internals, which the builder's layer does not have.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.errors import InvalidBuildFile
from builder.python.requirements import Line, Requirement, normalised_name, parse_line
from builder.python.tables import Table

# Both lock formats have them as written in Python's own: https://packaging.python.org/en/latest/specifications/
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")
_REF = re.compile(r"[^\s#@]+")
_POETRY, _PIPENV = "make the lock again: `poetry lock`", "make the lock again: `pipenv lock`"


def poetry(text: str, file: str, extras: tuple[str, ...], group: str | None) -> Iterator[Line]:
    """The packages of a poetry.lock in `group` (default: main), with the optional ones of `extras`.

    Raises:
        InvalidBuildFile: not such a file, or something that cannot be had from an index or by https.
    """
    document = Table.of_toml(text, file, hint=_POETRY)
    wanted = _wanted_extras(document, extras)
    older = document.table("metadata").table("files")
    for package in document.tables("package"):
        name = package.text("name")
        package = package.at(f"{file}: package {name[:80]}")
        groups = package.texts("groups") or [package.text("category", "main")]
        if (group or "main") not in groups:
            continue
        if package.values.get("optional") and normalised_name(name) not in wanted:
            continue
        # Poetry before 1.5 keeps the files in one table for all.
        files = package.tables("files") or older.at(package.where).tables(name)
        hashes = [one.text("hash") for one in files]
        place = _poetry_place(package.table("source"), name)
        yield _line(package, name, package.text("version"), place, _poetry_marker(package, group), hashes)


def _poetry_marker(package: Table, group: str | None) -> str:
    is_by_group = isinstance(package.values.get("markers"), dict)
    marker = package.table("markers").text(group or "main", "") if is_by_group else package.text("markers", "")
    # `extra == "web"` was decided when the optional packages were chosen.
    return "" if "extra ==" in marker else marker


def _wanted_extras(document: Table, extras: tuple[str, ...]) -> set[str]:
    offered = document.table("extras")
    known = {normalised_name(name): name for name in offered.values}
    wanted: set[str] = set()
    for extra in extras:
        if normalised_name(extra) not in known:
            has = ", ".join(known) or "none"
            raise InvalidBuildFile(f"{document.where} has no extra {extra!r}", hint=f"its extras: {has}")
        names = offered.texts(known[normalised_name(extra)])
        wanted |= {normalised_name(re.split(r"[\s\[<>=!~;(]", name)[0]) for name in names}
    return wanted


def _poetry_place(source: Table, name: str) -> str:
    kind = source.text("type", "legacy")
    match kind:
        case "legacy":
            return ""
        case "git":
            return _git(source, source.text("url"), "resolved_reference")
        case "url":
            return source.text("url")
        case "directory" | "file":
            return _nearby(source.text("url"))
    raise source.problem("type", f"{name} comes from a source of kind {kind!r}, which cannot be fetched")


def _git(table: Table, url: str, key: str) -> str:
    """A requirement's address of a commit in a repository; `key` is where the lock has the commit."""
    ref, below = table.text(key), table.text("subdirectory", "")
    if not _REF.fullmatch(ref):
        raise table.problem(key, f"{ref[:80]!r} is not a commit")
    if re.search(r"[\s#]", url):
        raise table.problem("git" if "git" in table else "url", f"{url[:80]!r} is not the URL of a repository")
    return f"git+{url}@{ref}" + (f"#subdirectory={below}" if below else "")


def _nearby(path: str) -> str:
    return path if "://" in path or path.startswith((".", "/")) else f"./{path}"


def pipfile(text: str, file: str, extras: tuple[str, ...], group: str | None) -> Iterator[Line]:
    """The packages of a Pipfile.lock in `group` (default: default; `dev` is Pipenv's develop).

    Raises:
        InvalidBuildFile: not such a file, no such group, or something that cannot be had from an index or by https.
    """
    document = Table.of_json(text, file, hint=_PIPENV)
    wanted = {None: "default", "dev": "develop"}.get(group, group or "")
    if wanted not in document:
        raise document.problem("", f"is not a Pipfile.lock with the group {group or 'default'!r}")
    if extras:
        raise InvalidBuildFile(f"{file}: a Pipfile.lock has no extras")
    for name, package in document.table(wanted).each():
        more = package.texts("extras")
        version = package.text("version", "").removeprefix("==")
        place = ""
        if "git" in package:
            place = _git(package, package.text("git"), "ref")
        elif "path" in package or "file" in package:
            place = _nearby(package.text("path" if "path" in package else "file"))
        marker, hashes = package.text("markers", ""), package.texts("hashes")
        yield _line(package, name, version, place, marker, hashes, extras=f"[{','.join(more)}]" if more else "")


def _line(
    package: Table, name: str, version: str, place: str, marker: str, hashes: list[str], *, extras: str = ""
) -> Line:
    if not _NAME.fullmatch(name):
        raise package.problem("name", f"{name[:80]!r} is not the name of a distribution")
    if not place and not _VERSION.fullmatch(version):
        raise package.problem("version", f"{version[:80]!r} is not a version")
    if bad := next((value for value in hashes if not value or re.search(r"\s", value)), None):
        raise package.problem("hash", f"{bad[:80]!r} is not a hash")
    text = f"{name}{extras} @ {place}" if place else f"{name}{extras}=={version}"
    text += f" ; {marker}" if marker else ""
    text += "".join(f" --hash={value}" for value in hashes) if not place else ""
    line = parse_line(text, package.where)
    if not isinstance(line, Requirement):
        raise package.problem("", "cannot be read")
    return line


def pylock_paths(text: str, file: str) -> Iterator[str]:
    """The local directories and files that a pylock.toml names.

    Raises:
        InvalidBuildFile: it is not such a file.
    """
    for package in Table.of_toml(text, file).tables("packages"):
        for place in (*map(package.table, ("directory", "archive", "sdist")), *package.tables("wheels")):
            if "path" in place:
                yield place.text("path")
