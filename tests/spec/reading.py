"""Reads build files with a single function, or layers alone, as most tests have them."""

from __future__ import annotations

from builder.spec.build_file import BuildSpec
from builder.spec.members import read_functions


def read_build_file(text: str, *, file: str) -> BuildSpec:
    return read_functions(text, file=file).one("")
