"""Wings read off source: which folders of a package import which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.imports import imports


def shelf(package: Path) -> set[str]:
    """The folders and modules on a package's top shelf."""
    folders = {path.name for path in package.iterdir() if any(path.glob("**/*.py"))}
    return folders | {path.stem for path in package.glob("*.py") if path.stem != "__init__"}


def uphill(package: Path, wings: Sequence[str | tuple[str, ...]]) -> set[str]:
    """Imports of a wing from one that is not below it, as "wing/module.py imports package.other".

    `wings` begins at the top; those of one row do not import each other. Imports for type checkers count, too.
    """
    level = {name: number for number, row in enumerate(wings) for name in ((row,) if isinstance(row, str) else row)}
    found = set()
    for path in package.rglob("*.py"):
        place = path.relative_to(package)
        here = place.parts[0].removesuffix(".py")
        for module in imports(path, typing=True):
            root, *rest = module.split(".")
            # A name that is no wing is what `from package import …` takes from the package itself.
            if root == package.name and rest and rest[0] != here and level.get(rest[0], len(wings)) <= level[here]:
                found.add(f"{place} imports {module}")
    return found
