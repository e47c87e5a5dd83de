"""The imports of a module, read off its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imports(path: Path, *, typing: bool = False) -> Iterator[str]:
    """Yield the names that the module at `path` imports, dotted: modules, or names in one (`from a.b import c`: a.b.c).

    Late imports are among them, those for type checkers only with `typing`.
    """
    package = _package(path)
    tree = ast.parse(path.read_text())
    skipped = set() if typing else {child for node in ast.walk(tree) for child in _for_type_checkers(node)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def _package(path: Path) -> tuple[str, ...]:
    """Return the names of the packages around a file, the outermost first."""
    names: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return tuple(names)


def _for_type_checkers(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        yield from (child for statement in node.body for child in ast.walk(statement))
