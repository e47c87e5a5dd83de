"""Wings read off source: which folders of a package import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports when it runs (imports for type checkers left out)."""
    tree = ast.parse(path.read_text())
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wings(package: Path) -> set[str]:
    """The folders and modules on a package's top shelf."""
    folders = {path.name for path in package.iterdir() if any(path.glob("*.py"))}
    return folders | {path.stem for path in package.glob("*.py") if path.stem != "__init__"}


def upward(package: Path, order: Sequence[str]) -> list[str]:
    """Imports of a wing from one that is not below it, as "wing/module.py: package.other"; `order` begins at the
    bottom."""
    found = set()
    for path in package.rglob("*.py"):
        place = path.relative_to(package)
        wing = place.parts[0].removesuffix(".py")
        below = {wing, *order[: order.index(wing)]} if wing in order else set()
        for module in imports(path):
            root, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if root == package.name and other and other not in below:
                found.add(f"{place}: {package.name}.{other}")
    return sorted(found)
