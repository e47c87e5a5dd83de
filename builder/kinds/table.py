"""The kinds of build: a module each, all with one protocol, listed in one dict.

`of` returns the kind of a recipe, `detected` what a project without a build file clearly is, `unsaid` the recipe of a
function whose build file names none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.kinds.command import COMMAND
from builder.kinds.go import GO
from builder.kinds.node import NODE, NPM
from builder.npm.lockfile import NAMES
from builder.spec.builds import GoBuild, NodeBuild, Recipe
from builder.spec.values import FunctionSpec
from builder.workshop.kind import Kind

KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in (GO, NODE, NPM, COMMAND)}


def of(recipe: Recipe) -> Kind[Any]:
    """Return the kind that builds by this recipe."""
    return KINDS[recipe.kind]


def detected(root: Path, name: str) -> tuple[str, Mapping[str, object]] | None:
    """Return (kind, `function` of a build file) for a project that is clearly of one kind; None if it is not."""
    for kind in KINDS.values():
        if (function := kind.detect(root, name)) is not None:
            return kind.name, function
    return None


def unsaid(function: FunctionSpec, has_dependencies: bool, root: Path) -> Recipe | None:
    """Return the recipe of a function without `build`, by the files in its directory; None: it is shipped as is."""
    base, runtime = root / function.source_dir, function.runtimes[0]
    # Files that are listed, or a finished bootstrap, mean that the project builds it itself.
    if runtime.startswith("provided") and not function.files and not (base / "bootstrap").exists():
        return GoBuild() if (base / "go.mod").is_file() else None
    if runtime.startswith("nodejs") and not has_dependencies and not (base / "node_modules").exists():
        return NodeBuild() if any((base / name).is_file() for name in NAMES) else None
    return None
