"""The rules of the house, read off our own source."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from scripts.house import PACKAGES, House, circles, houses
from scripts.imports import imports
from tests.wings import shelf, uphill

ROOT = Path(__file__).resolve().parents[1]
MODULES = [*sorted((ROOT / "builder").rglob("*.py")), *sorted((ROOT / "bootstrap").rglob("*.py"))]
DOORS = {"builder.handler", "builder.__main__"}


@cache
def imported(path: Path) -> frozenset[str]:
    return frozenset(imports(path))


@cache
def all_houses() -> Mapping[str, House]:
    return houses(ROOT)


def importers(name: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(module == name or module.startswith(name + ".") for module in imported(path))
    }


# A wing, or a room that stands by itself, imports only from those below it. Imports for type checkers count, too.
WINGS = (
    ("handler", "worker", "__main__"),
    ("cloudformation", "invocation", "terminal"),
    "flow",
    "publishing",
    "making",
    ("trials", "kinds"),
    ("workshop", "golang"),
    "context",
    "settings",
    ("toolchains", "trust", "schemas"),
    "records",
    ("progress", "spec"),
    "npm",
    "python",
    ("natives", "plan"),
    "workspace",
    "event",
    "secrets",
    "sources",
    "archives",
    "system",
    "store",
    "aws",
    ("hashing", "jsontext", "paths", "runtimes", "network", "awserrors"),
    ("errors", "characters", "nearest", "arns", "amounts", "replies"),
)


def test_wings_stand_on_one_slope() -> None:
    assert shelf(ROOT / "builder") == {name for row in WINGS for name in ((row,) if isinstance(row, str) else row)}
    assert uphill(ROOT / "builder", WINGS) == set()


def test_an_import_from_above_or_beside_is_found_however_it_is_written(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for place, text in {
        "__init__.py": "",
        "top/__init__.py": "",
        "top/room.py": "import house.low.room\nfrom house import __version__, beside, low\n",
        "beside.py": "def late():\n    from house import top\n",
        "low/__init__.py": "",
        "low/room.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.top.room import X\n",
    }.items():
        (house / place).parent.mkdir(parents=True, exist_ok=True)
        (house / place).write_text(text)
    found = uphill(house, (("top", "beside"), "low"))
    assert {line.partition(" ")[0] for line in found} == {"top/room.py", "beside.py", "low/room.py"}
    assert not [line for line in found if line.startswith("top/") and "beside" not in line]


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_and_files_are_short(package: str) -> None:
    assert [line for module in all_houses()[package].modules.values() for line in module.too_long()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    assert circles(all_houses()[package].files) == []


def test_only_one_module_imports_boto3() -> None:
    assert importers("boto3") == {"builder/aws.py"}


def test_only_one_module_knows_what_botocore_raises() -> None:
    assert importers("botocore") == {"builder/aws.py"}


def test_only_one_module_looks_for_what_was_meant() -> None:
    assert importers("difflib") == {"builder/nearest.py"}


def test_only_one_folder_imports_dulwich() -> None:
    assert importers("dulwich") == {"builder/sources/gitlib/files.py", "builder/sources/gitlib/wire.py"}


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
    rooms = ("errors", "nearest", "arns", "amounts", "trust", "runtimes", "plan", "spec.separate", "spec.build_file")
    decisions = ("publishing.steps", "publishing.configuration")
    assert not {name for name in ours if not name.startswith(tuple(f"builder.{room}" for room in (*rooms, *decisions)))}
    allowed = {"__future__", "base64", "collections", "dataclasses", "typing", "builder"}
    assert {name.split(".")[0] for name in found} <= allowed


def test_a_deploy_that_finds_nothing_to_do_loads_no_pydantic() -> None:
    """It would be half of what a cold builder imports for its answer."""
    names = ("handler", "event.read", "context", "flow.pipeline", "flow.rollback", "flow.tracking", "store.s3")
    code = f"import sys, {', '.join(f'builder.{name}' for name in names)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "builder.flow.situation" in loaded
    assert not {"pydantic", "typing_extensions", "builder.making"} & {*loaded}


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
