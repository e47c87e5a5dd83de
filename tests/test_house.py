"""The rules of the house, read off our own source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = [*sorted((ROOT / "builder").rglob("*.py")), *sorted((ROOT / "bootstrap").rglob("*.py"))]
DOORS = {"builder.handler", "builder.__main__"}


def imports(path: Path, *, typing: bool = False) -> Iterator[str]:
    """Every module that a file imports when it runs, and those for type checkers with `typing`."""
    tree = ast.parse(path.read_text())
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if not typing and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(name: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(module == name or module.startswith(name + ".") for module in imports(path))
    }


# A wing, or a room that stands by itself, imports only from those below it. Imports for type checkers count, too.
SLOPE = """
handler worker __main__
cloudformation invocation terminal
flow
publishing
making
trials kinds
workshop golang
context
settings
toolchains trust schemas
records
progress spec
npm
python
natives plan
workspace
event
secrets
sources
archives
system
store
aws
hashing jsontext paths runtimes network
errors characters nearest arns amounts
"""


def wing(module: str) -> str:
    return module.split(".")[1]


def test_wings_stand_on_one_slope() -> None:
    level = {name: number for number, line in enumerate(SLOPE.split("\n")) for name in line.split()}
    paths = [path for path in MODULES if path.is_relative_to(ROOT / "builder") and path != ROOT / "builder/__init__.py"]
    wings = {path.relative_to(ROOT / "builder").parts[0].removesuffix(".py") for path in paths}
    assert wings == {*level}
    uphill = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in paths
        for module in imports(path, typing=True)
        if module.startswith("builder.")
        and (here := path.relative_to(ROOT / "builder").parts[0].removesuffix(".py")) != wing(module)
        and level.get(wing(module), len(SLOPE)) <= level[here]
    }
    assert uphill == set()


def test_only_one_module_imports_boto3() -> None:
    assert importers("boto3") == {"builder/aws.py"}


def test_only_one_module_knows_what_botocore_raises() -> None:
    assert importers("botocore") == {"builder/aws.py"}


def test_only_one_module_looks_for_what_was_meant() -> None:
    assert importers("difflib") == {"builder/nearest.py"}


def test_only_one_module_imports_dulwich() -> None:
    assert importers("dulwich") == {"builder/sources/gitlib.py"}


def test_only_one_module_of_the_builder_starts_children() -> None:
    assert {path for path in importers("subprocess") if path.startswith("builder/")} == {"builder/system/process.py"}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_the_core_never_imports_a_door(door: str) -> None:
    assert importers(door) == set()


def test_the_builder_knows_nothing_of_the_operators_tools() -> None:
    for name in ("bootstrap", "localaws", "rich", "tests"):
        assert not {path for path in importers(name) if path.startswith("builder/")}, name


@pytest.mark.parametrize("module", ["plan", "publishing/steps", "publishing/publication", "publishing/configuration"])
def test_decisions_touch_nothing(module: str) -> None:
    found = set(imports(ROOT / "builder" / f"{module}.py"))
    ours = {name for name in found if name.startswith("builder.")}
    rooms = ("errors", "nearest", "arns", "amounts", "trust", "runtimes", "plan", "spec.separate")
    decisions = ("publishing.steps", "publishing.configuration")
    others = {name for name in ours if not name.startswith(tuple(f"builder.{room}" for room in (*rooms, *decisions)))}
    assert others <= {"builder.publishing", "builder.spec"}
    allowed = {"__future__", "base64", "collections", "dataclasses", "typing", "builder"}
    assert {name.split(".")[0] for name in found} <= allowed


def test_codes_of_errors_are_stable_and_belong_to_one_class_each() -> None:
    from builder import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    codes = [vars(value)["code"] for value in classes if "code" in vars(value)]
    assert len(codes) == len(set(codes))
    drawn = set(re.findall(r"[A-Z][A-Za-z]+", errors.__doc__ or ""))
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.LambdasmithError)
    }
    assert defined <= drawn, "the tree in the docstring lacks a class"
