"""The imports of a module, read off its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# Where a statement holds others.
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


def imports(path: Path, *, typing: bool = False) -> Iterator[str]:
    """Yield the names that the module at `path` imports, dotted: modules, or names in one (`from a.b import c`: a.b.c).

    Late imports are among them, those for type checkers only with `typing`.
    """
    package = _package(path)
    for node in _statements(ast.parse(path.read_text()), typing=typing):
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


def _statements(node: ast.AST, *, typing: bool) -> Iterator[ast.AST]:
    """Yield a node and the statements within it; expressions, by far the most nodes, hold no imports."""
    yield node
    for block in _BLOCKS:
        if block == "body" and not typing and _is_for_type_checkers(node):
            continue
        inner = getattr(node, block, ())
        for child in inner if isinstance(inner, list) else ():  # a lambda's body is no list
            yield from _statements(child, typing=typing)


def _is_for_type_checkers(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.If(test=ast.Attribute(value=ast.Name(id="typing"), attr="TYPE_CHECKING")):
            return True
        case _:
            return False
