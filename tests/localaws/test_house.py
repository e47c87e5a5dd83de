"""The rules of localaws' house, read off its source."""

from __future__ import annotations

from pathlib import Path

import localaws
from scripts.imports import imports
from tests.wings import shelf, uphill

PACKAGE = Path(__file__).resolve().parents[2] / "localaws" / "src" / "localaws"
# A wing imports only from those below it; those of one row stand side by side.
WINGS = (
    "warm",
    "__main__",
    "stacks",
    "testing",
    "serving",
    ("interception", "s3", "states"),
    "lambda_",
    "iam",
    ("runtime", "git"),
    ("wire", "environment", "whole", "starting"),
)
NAMES = [name for row in WINGS for name in ((row,) if isinstance(row, str) else row)]


def test_the_suite_tests_the_localaws_of_its_own_checkout() -> None:
    assert Path(localaws.__file__).parent == PACKAGE


def test_wings_stand_on_one_slope() -> None:
    assert shelf(PACKAGE) == set(NAMES)
    assert uphill(PACKAGE, WINGS) == set()


def test_the_docstring_lists_the_wings_in_their_order() -> None:
    listed = [line.split("`")[1] for line in (localaws.__doc__ or "").splitlines() if line.startswith("- `")]
    assert listed == [name for name in NAMES if name != "__main__"]


def test_localaws_knows_nothing_of_the_rest_of_this_repository() -> None:
    others = {"benchmarks", "bootstrap", "builder", "examples", "scripts", "tests"}
    for path in PACKAGE.rglob("*.py"):
        assert not {module.partition(".")[0] for module in imports(path)} & others, path
