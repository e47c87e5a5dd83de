"""The rules of localaws' house, read off its source."""

from __future__ import annotations

from pathlib import Path

import localaws
from tests.wings import imports, upward, wings

PACKAGE = Path(__file__).resolve().parents[2] / "localaws" / "src" / "localaws"
# From the bottom to the top: a wing imports from those before it.
WINGS = (
    "environment",
    "wire",
    "git",
    "runtime",
    "iam",
    "lambda_",
    "s3",
    "interception",
    "serving",
    "testing",
    "stacks",
    "__main__",
)


def test_the_suite_tests_the_localaws_of_its_own_checkout() -> None:
    assert Path(localaws.__file__).parent == PACKAGE


def test_a_wing_imports_from_those_below_it_alone() -> None:
    assert wings(PACKAGE) == set(WINGS)
    assert upward(PACKAGE, WINGS) == []


def test_the_docstring_lists_the_wings_in_their_order() -> None:
    listed = [line.split("`")[1] for line in (localaws.__doc__ or "").splitlines() if line.startswith("- `")]
    assert [*listed, "__main__"] == list(WINGS)


def test_localaws_knows_nothing_of_the_rest_of_this_repository() -> None:
    others = {"benchmarks", "bootstrap", "builder", "examples", "scripts", "tests"}
    for path in PACKAGE.rglob("*.py"):
        assert not {module.partition(".")[0] for module in imports(path)} & others, path
