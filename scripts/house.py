"""usage: python -m scripts.house [--against REV] [--junit FILE] [--junit-before FILE]

Prints a markdown table about the packages: how long their functions are, which imports run in circles, how many files
share a folder. With --against, it measures a git revision as well.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import statistics
import tempfile
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

# Nothing in the standard library finds these (graphlib names one circle and stops); mypy, which we pin, has Tarjan's.
from mypy.graph_utils import strongly_connected_components

from scripts.imports import imports
from scripts.revisions import ROOT, write_revision

PACKAGES = ("builder", "bootstrap", "localaws")
JUNIT = ROOT / ".cache" / "junit.xml"
# Name of the list of the builder's wings, highest first: names, or tuples of names for wings at the same height.
_RULES, _WINGS = "tests/test_house.py", "WINGS"
Graph = Mapping[str, frozenset[str]]
# More than a reader keeps in mind at once; tests/test_house.py holds the packages to it.
MOST_FUNCTION_LINES, MOST_FILE_LINES = 50, 400


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    given = _parser().parse_args(arguments)
    columns = {"now": houses(ROOT)}
    suites = {"now": suite_seconds(given.junit)}
    with tempfile.TemporaryDirectory(prefix="house-") as folder:  # it is read while the table is made
        if given.against:
            columns = {given.against: houses(write_revision(given.against, Path(folder))), **columns}
            suites = {given.against: suite_seconds(given.junit_before), **suites}
        print("\n".join(table(columns, suites)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.house", description="Measure how the packages are built.")
    parser.add_argument("--against", metavar="REV", help="a git revision, measured as well")
    parser.add_argument("--junit", metavar="FILE", type=Path, default=JUNIT, help="what pytest --junitxml wrote")
    parser.add_argument("--junit-before", metavar="FILE", type=Path, help="the same of REV")
    return parser


@dataclass(frozen=True, kw_only=True)
class Module:
    """A file of a package. `name` is dotted and begins with the package's."""

    name: str
    path: Path
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def functions(self) -> list[tuple[str, int]]:
        """Name and lines of each function, from `def` to its end; this includes methods and nested functions."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in found]

    @property
    def lines(self) -> int:
        """The number of lines of the file."""
        return self.source.count("\n")

    def too_long(self) -> Iterator[str]:
        """Yield the file and each function that has more lines than our limits allow."""
        if self.lines > MOST_FILE_LINES:
            yield f"{self.name}: {self.lines} lines"
        yield from (
            f"{self.name}.{name}: {lines} lines" for name, lines in self.functions if lines > MOST_FUNCTION_LINES
        )

    @property
    def casts(self) -> int:
        """The number of calls of typing.cast."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        return sum(ast.unparse(call.func) in ("cast", "typing.cast") for call in calls)

    @cached_property
    def comments(self) -> tuple[int, int]:
        """The number of lines that are a comment, and of all that are not blank."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        own = sum(each.type == tokenize.COMMENT and each.line.lstrip().startswith("#") for each in tokens)
        return own, sum(bool(line.strip()) for line in self.source.splitlines())


@dataclass(frozen=True, kw_only=True)
class House:
    """A package: its modules by name. `order` is the list of wings in its tests, highest first, empty if there is none.

    A wing is what is directly in the package: a folder with all below it, or a file.
    """

    name: str
    modules: Mapping[str, Module]
    order: Sequence[tuple[str, ...]] = ()

    @cached_property
    def files(self) -> Graph:
        """Module → the modules of this package that it imports."""
        return {name: frozenset(self._own(module)) - {name} for name, module in self.modules.items()}

    @cached_property
    def wings(self) -> Graph:
        """Wing → the wings that it imports from."""
        graph: dict[str, frozenset[str]] = {}
        for name, imported in self.files.items():
            wing = self.wing(name)
            graph[wing] = graph.get(wing, frozenset()) | {self.wing(each) for each in imported} - {wing}
        return graph

    def wing(self, module: str) -> str:
        """Return the wing that a module belongs to."""
        return module.removeprefix(f"{self.name}.").partition(".")[0]

    def _own(self, module: Module) -> Iterator[str]:
        for name in imports(module.path):
            # A name imported from a package is one of its modules, or a name in its __init__.
            found = next((each for each in (name, name.rpartition(".")[0]) if each in self.modules), None)
            if found:
                yield found

    @property
    def upward(self) -> int | None:
        """The number of imports of modules from wings above their own, None if no order is given."""
        line = {wing: number for number, wings in enumerate(self.order) for wing in wings}
        pairs = [(self.wing(name), self.wing(each)) for name, imported in self.files.items() for each in imported]
        return sum(line[to] < line[of] for of, to in pairs if {of, to} <= line.keys()) if line else None


def circles(graph: Graph) -> list[list[str]]:
    """Find the groups of nodes in which every node leads to every other, directly or through others."""
    found = strongly_connected_components(set(graph), {node: sorted(graph[node]) for node in graph})
    return sorted(sorted(group) for group in found if len(group) > 1)


def houses(root: Path) -> dict[str, House]:
    """Read the packages, wherever below `root` they are; one that is not there is missing."""
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "__init__.py" in files:
            found.setdefault(Path(place).name, Path(place))
            folders.clear()
    order = _order(root / _RULES)
    return {name: _house(name, found[name], order if name == PACKAGES[0] else ()) for name in PACKAGES if name in found}


def _house(name: str, folder: Path, order: Sequence[tuple[str, ...]]) -> House:
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder.parent).with_suffix("").parts
        dotted = ".".join(inside[:-1] if path.name == "__init__.py" else inside)
        modules[dotted] = Module(name=dotted, path=path, source=path.read_text())
    return House(name=name, modules=modules, order=order)


def _order(rules: Path) -> list[tuple[str, ...]]:
    """Read the list of the builder's wings from the tests that hold it, without running them."""
    for node in ast.parse(rules.read_text()).body if rules.exists() else ():
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith((f"{_WINGS} =", f"{_WINGS}:")):
            lines = ast.literal_eval(node.value or ast.Tuple([]))
            return [(line,) if isinstance(line, str) else tuple(line) for line in lines]
    return []


def suite_seconds(junit: Path | None) -> float | None:
    """Read how long the tests took from pytest's report, None if there is no report."""
    if junit is None or not junit.exists():
        return None
    suites = ElementTree.parse(junit).iter("testsuite")  # noqa: S314 - pytest's own, of this machine
    return sum(float(suite.get("time", "0")) for suite in suites)


def _functions(house: House) -> list[int]:
    return [lines for module in house.modules.values() for _, lines in module.functions]


def _comment_share(house: House) -> str:
    counts = [module.comments for module in house.modules.values()]
    return f"{sum(own for own, _ in counts) / max(1, sum(lines for _, lines in counts)):.1%}".replace("%", " %")


MEASURES: Mapping[str, Callable[[House], object]] = {
    "modules": lambda house: len(house.modules),
    "median function, lines": lambda house: f"{statistics.median(_functions(house) or [0]):g}",
    "longest function, lines": lambda house: max(_functions(house), default=0),
    f"functions over {MOST_FUNCTION_LINES} lines": lambda house: sum(
        lines > MOST_FUNCTION_LINES for lines in _functions(house)
    ),
    f"files over {MOST_FILE_LINES} lines": lambda house: sum(
        each.lines > MOST_FILE_LINES for each in house.modules.values()
    ),
    "files on the fullest shelf": lambda house: max(
        Counter(each.path.parent for each in house.modules.values()).values()
    ),
    "wings (folders and files at the top)": lambda house: len(house.wings),
    "arrows (which wing imports from which)": lambda house: sum(map(len, house.wings.values())),
    "circles of wings": lambda house: len(circles(house.wings)),
    "circles of files": lambda house: len(circles(house.files)),
    "imports from a wing above": lambda house: "" if house.upward is None else house.upward,
    "casts": lambda house: sum(module.casts for module in house.modules.values()),
    "lines that are comments, of those not blank": _comment_share,
}


def table(columns: Mapping[str, Mapping[str, House]], suites: Mapping[str, float | None]) -> Iterator[str]:
    """Render a row for each measure and a column for each package and version, then the circles."""
    heads = [name if len(columns) == 1 else f"{name}, {version}" for name in PACKAGES for version in columns]
    yield f"| {' | '.join(['', *heads])} |"
    yield "|---" + "|--:" * len(heads) + "|"
    cells = [columns[version].get(name) for name in PACKAGES for version in columns]
    for title, measure in MEASURES.items():
        values = [str(measure(house)) if house else "" for house in cells]
        if any(values):
            yield f"| {' | '.join([title, *values])} |"
    if any(seconds is not None for seconds in suites.values()):
        yield ""
        yield "Seconds of the tests: " + ", ".join(
            f"{seconds:.0f} ({version})" for version, seconds in suites.items() if seconds is not None
        )
    for version, found in columns.items():
        for name in PACKAGES:
            for circle in circles(found[name].wings) if name in found else ():
                yield f"\nA circle of {name}, {version}: {', '.join(circle)}"


if __name__ == "__main__":
    main()
