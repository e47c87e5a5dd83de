"""The requirements of a pyproject.toml: the project's own, with extras, or those of a dependency group.

Formats: https://packaging.python.org/en/latest/specifications/pyproject-toml/ and .../dependency-groups/; also
`tool.uv.sources`, which says where some of them come from, as uv documents it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from builder.errors import InvalidBuildFile
from builder.paths import shown
from builder.python.requirements import Line, Requirement, normalised_name, parse_line
from builder.python.tables import Table


def requirements(text: str, file: str, *, extras: tuple[str, ...], group: str | None) -> Iterator[Line]:
    """What `file` asks for: [project].dependencies and `extras`, or `group` alone.

    Raises:
        InvalidBuildFile: not TOML, no such extra or group, or dependencies that only a build could tell.
    """
    document = Table.of_toml(text, file)
    sources = _sources(document)
    lines = _group(document, group, file) if group else _project(document, extras, file)
    for line in lines:
        yield _placed(line, sources)


def _parsed(texts: list[str], where: str) -> Iterator[Line]:
    for text in texts:
        line = parse_line(text, where)
        if not isinstance(line, Requirement):
            raise InvalidBuildFile(f"{where}: {text[:80]!r} is not a requirement")
        yield line


def _project(document: Table, extras: tuple[str, ...], file: str) -> Iterator[Line]:
    project = document.table("project")
    if not project.values and "dependencies" in document.table("tool").table("poetry"):
        raise InvalidBuildFile(
            f"{file} has its dependencies under [tool.poetry]", hint="name poetry.lock in layers.dependencies instead"
        )
    if "dependencies" in project.texts("dynamic"):
        raise InvalidBuildFile(
            f"{file}: project.dependencies is dynamic: only a build could determine them",
            hint="name the file that has them, or a requirements.txt with the line `-e .`",
        )
    yield from _parsed(project.texts("dependencies"), file)
    own_name = normalised_name(project.text("name", ""))
    optional = project.table("optional-dependencies")
    known = {normalised_name(name): name for name in optional.values}
    pending, done = [normalised_name(extra) for extra in extras], set[str]()
    while pending:
        extra = pending.pop(0)
        if extra in done:
            continue
        done.add(extra)
        if extra not in known:
            has = ", ".join(sorted(optional.values)) or "none"
            raise InvalidBuildFile(f"{file} has no extra {extra!r}", hint=f"its extras: {has}")
        where = f"{file}: project.optional-dependencies.{extra}"
        for line in _parsed(optional.texts(known[extra]), where):
            own = isinstance(line, Requirement) and line.name == own_name
            if own and isinstance(line, Requirement):  # `app[web]` in an extra of app itself
                pending += [normalised_name(name.strip()) for name in line.extras.strip("[]").split(",")]
            else:
                yield line


def _group(document: Table, group: str, file: str) -> Iterator[Line]:
    from packaging.dependency_groups import DependencyGroupResolver  # only who names a group pays for the import

    groups = document.table("dependency-groups").values
    where = f"{file}: dependency-groups.{group}"
    if normalised_name(group) not in map(normalised_name, groups):
        raise InvalidBuildFile(f"{file} has no dependency group {group!r}", hint=f"its groups: {', '.join(groups)}")
    try:
        # What it cannot read is among the errors that it collects.
        found = DependencyGroupResolver(cast("Mapping[str, list[str]]", groups)).resolve(group)
    except ExceptionGroup as collected:
        # A requirement that cannot be parsed: what was expected, the text, and a pointer into it.
        problems = [": ".join(map(str.strip, str(error).splitlines()[:2])) for error in collected.exceptions]
        raise InvalidBuildFile(f"{where}: {shown('; '.join(problems))}") from collected
    except RecursionError as error:
        raise InvalidBuildFile(f"{where} includes groups nested too deeply") from error
    yield from _parsed([str(requirement) for requirement in found], where)


def _sources(document: Table) -> Mapping[str, object]:
    sources = document.table("tool").table("uv").table("sources")
    return {normalised_name(name): value for name, value in sources.values.items()}


def _placed(line: Line, sources: Mapping[str, object]) -> Line:
    """The requirement with the place that tool.uv.sources gives it."""
    if not isinstance(line, Requirement) or line.name not in sources:
        return line
    value = sources[line.name]
    kinds = {"git", "path", "url"} & set(value) if isinstance(value, dict) else set[str]()
    if not isinstance(value, dict) or len(kinds) != 1 or "marker" in value:
        raise InvalidBuildFile(
            f"{line.origin}: tool.uv.sources of {line.name} is of a kind that only uv resolves",
            hint="run `uv lock`, commit uv.lock and name it in layers.dependencies",
        )
    source = Table(values=value, where=f"{line.origin}: tool.uv.sources.{line.name}")
    kind = kinds.pop()
    place = source.text(kind)
    if kind == "git":
        ref = next((source.text(key) for key in ("rev", "tag", "branch") if key in source), "")
        place = f"git+{re.sub(r'^git[+]', '', place)}" + (f"@{ref}" if ref else "")
    if "subdirectory" in source:
        place += f"#subdirectory={source.text('subdirectory')}"
    marker = f" ; {line.marker}" if line.marker else ""
    target = f"./{place}" if kind == "path" and not place.startswith((".", "/")) else place
    parsed = parse_line(f"{line.name}{line.extras} @ {target}{marker}", line.origin)
    return replace(parsed, name=line.name) if isinstance(parsed, Requirement) else line
