"""The locks of Poetry and Pipenv as requirements, each at its one version with its hashes.

Both locks name versions and hashes but no addresses, so the index is asked for these exact files and nothing else.
(micropipenv does the same but needs pip's internals, which the builder's layer does not have.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

from builder.errors import InvalidBuildFile
from builder.python.pyproject import Table, load
from builder.python.requirements import Line, normalised_name, parse_line


def poetry(text: str, file: str, extras: tuple[str, ...], group: str | None) -> Iterator[Line]:
    """The packages of a poetry.lock in `group` (default: main), with the optional ones of `extras`.

    Raises:
        InvalidBuildFile: not such a file, or something that cannot be had from an index or by https.
    """
    document = load(text, file)
    wanted = _wanted_extras(document, extras, file)
    for package in cast("list[Table]", document.get("package", [])):
        name = str(package["name"])
        groups = package.get("groups") or [package.get("category", "main")]
        if (group or "main") not in cast("list[str]", groups):
            continue
        if package.get("optional") and normalised_name(name) not in wanted:
            continue
        hashes = [str(entry["hash"]) for entry in _poetry_files(document, package)]
        source = cast("Table", package.get("source", {}))
        place = _poetry_place(source, file, name)
        yield _line(name, str(package["version"]), place, _poetry_marker(package, group), hashes, file)


def _poetry_files(document: Table, package: Table) -> list[Table]:
    """Files of a package; Poetry before 1.5 keeps them in one table for all."""
    older = cast("Mapping[str, Mapping[str, list[Table]]]", document.get("metadata", {})).get("files", {})
    return cast("list[Table]", package.get("files")) or older.get(str(package["name"]), [])


def _poetry_marker(package: Table, group: str | None) -> str:
    marker = package.get("markers", "")
    if isinstance(marker, dict):
        marker = marker.get(group or "main", "")
    # `extra == "web"` was decided when the optional packages were chosen.
    return "" if "extra ==" in str(marker) else str(marker)


def _wanted_extras(document: Table, extras: tuple[str, ...], file: str) -> set[str]:
    known = {normalised_name(name): value for name, value in cast("Table", document.get("extras", {})).items()}
    wanted: set[str] = set()
    for extra in extras:
        if normalised_name(extra) not in known:
            has = ", ".join(known) or "none"
            raise InvalidBuildFile(f"{file} has no extra {extra!r}", hint=f"its extras: {has}")
        names = cast("list[str]", known[normalised_name(extra)])
        wanted |= {normalised_name(re.split(r"[\s\[<>=!~;(]", name)[0]) for name in names}
    return wanted


def _poetry_place(source: Table, file: str, name: str) -> str:
    url, kind = str(source.get("url", "")), source.get("type")
    match kind:
        case None | "legacy":
            return ""
        case "git":
            below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
            return f"git+{url}@{source['resolved_reference']}{below}"
        case "url":
            return url
        case "directory" | "file":
            return f"./{url}" if not url.startswith((".", "/")) else url
    raise InvalidBuildFile(f"{file}: {name} comes from a source of kind {kind!r}, which cannot be fetched")


def pipfile(text: str, file: str, extras: tuple[str, ...], group: str | None) -> Iterator[Line]:
    """The packages of a Pipfile.lock in `group` (default: default; `dev` is Pipenv's develop).

    Raises:
        InvalidBuildFile: not such a file, no such group, or something that cannot be had from an index or by https.
    """
    try:
        document = json.loads(text)
        wanted = {None: "default", "dev": "develop"}.get(group, group)
        packages = document[wanted]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidBuildFile(f"{file} is not a Pipfile.lock with the group {group or 'default'!r}") from error
    if extras:
        raise InvalidBuildFile(f"{file}: a Pipfile.lock has no extras")
    for name, package in packages.items():
        wanted_extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
        version = str(package.get("version", "")).removeprefix("==")
        place = ""
        if "git" in package:
            below = f"#subdirectory={package['subdirectory']}" if package.get("subdirectory") else ""
            place = f"git+{package['git']}@{package['ref']}{below}"
        elif "path" in package or "file" in package:
            place = str(package.get("path") or package["file"])
            place = place if "://" in place or place.startswith(".") else f"./{place}"
        yield _line(
            name + wanted_extras, version, place, str(package.get("markers", "")), package.get("hashes", []), file
        )


def _line(name: str, version: str, place: str, marker: str, hashes: list[str], file: str) -> Line:
    text = f"{name} @ {place}" if place else f"{name}=={version}"
    text += f" ; {marker}" if marker else ""
    text += "".join(f" --hash={value}" for value in hashes) if not place else ""
    line = parse_line(text, file)
    if line is None:
        raise InvalidBuildFile(f"{file}: {name} cannot be read")
    return line


def pylock_paths(text: str, file: str) -> Iterator[str]:
    """The local directories and files that a pylock.toml names.

    Raises:
        InvalidBuildFile: it is not TOML.
    """
    for package in cast("list[Table]", load(text, file).get("packages", [])):
        tables = [package.get(key) for key in ("directory", "archive", "sdist")]
        for table in [*tables, *cast("list[Table]", package.get("wheels", []))]:
            if isinstance(table, dict) and isinstance(path := table.get("path"), str):
                yield path
