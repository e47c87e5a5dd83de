"""Sections [toolchain NAME] of config.ini: archives with compilers that build files may name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bootstrap.config.ini import Line
from bootstrap.config.login_sections import read_sections
from builder.errors import InvalidConfiguration
from builder.toolchains.catalogue import ArchiveTool

KIND: Mapping[str, tuple[str, ...]] = {"toolchain": ("url", "sha256", "strip", "path")}


def is_toolchain_section(section: str) -> bool:
    """Return whether a section is one of these."""
    kind, _, subject = section.partition(" ")
    return kind in KIND and bool(subject.strip())


def read_toolchains(lines: Iterable[Line], name: str, problems: list[str]) -> tuple[ArchiveTool, ...]:
    """Read the sections in their order; add every problem to `problems`.

    Args:
        lines: those in sections for which `is_toolchain_section` holds.
        name: of the file, for messages.
    """
    tools = []
    for section in read_sections(lines, name, KIND, problems).values():
        try:
            tools.append(ArchiveTool.checked(section.subject, section.values))
        except InvalidConfiguration as error:
            problems += [f"{section.origin} {problem}" for problem in error.problems]
    return tuple(tools)
