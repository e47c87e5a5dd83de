"""Rules for files of `node_modules` that a Lambda function never needs, as `builder.python.prune` has for wheels.

Paths are relative to `node_modules`. Tests stay: packages have modules of their own in directories of that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from builder.python.prune import Files, Rule

_DECLARATIONS = re.compile(r".*\.d\.(?:[^/.]+\.)?[cm]?ts")
# Compilers that read declarations at run time; they need those of all packages.
_READS_DECLARATIONS = ("typescript/", "@typescript/")
# Only maps of code and styles: `.map` alone may be a game's level.
_MAPS = re.compile(r".*\.(?:[cm]?jsx?|[cm]?tsx?|css)\.map")
_BUILD_INPUTS = re.compile(r".*\.(?:c|cc|cpp|cxx|h|hh|hpp|gyp|gypi|a)")
_README = re.compile(
    r"(?:.*/)?(?:@[^/]+/)?[^/@]+/(?:readme|changes|changelog|history|contributing|authors|security|code_of_conduct|upgrading)"
    r"(?:(?:[._-][a-z]{2}(?:-[a-z]+)?)?\.(?:md|markdown|txt|rst))?",
    re.IGNORECASE,
)


def _declarations(files: Files) -> Collection[str]:
    if any(path.startswith(_READS_DECLARATIONS) for path in files.left):
        return ()
    return [path for path in files.left if _DECLARATIONS.fullmatch(path)]


def _maps(files: Files) -> Collection[str]:
    return [path for path in files.left if _MAPS.fullmatch(path)]


def _build_inputs(files: Files) -> Collection[str]:
    return [path for path in files.left if _BUILD_INPUTS.fullmatch(path)]


def _readmes(files: Files) -> Collection[str]:
    """Return those beside a package.json; elsewhere a file of that name may be anything."""
    return [
        path
        for path in files.left
        if _README.fullmatch(path) and f"{path.rpartition('/')[0]}/package.json" in files.left
    ]


RULES: Sequence[Rule] = (
    Rule(id="type-declarations", reason="TypeScript's declarations, which only compilers read", choose=_declarations),
    Rule(id="source-maps", reason="source maps of packages, which only debuggers read", choose=_maps),
    Rule(id="build-inputs", reason="sources of native packages; built files stay", choose=_build_inputs),
    Rule(id="readmes", reason="readmes and change logs of packages; licences stay", choose=_readmes),
)
