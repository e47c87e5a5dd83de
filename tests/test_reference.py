"""The reference tells the truth of the code."""

from __future__ import annotations

from pathlib import Path

from builder import errors
from builder.event import AVAILABLE
from scripts.terraform_docs import MODULES, with_tables

REFERENCE = (Path(__file__).resolve().parents[1] / "docs" / "reference.md").read_text()


def test_every_error_has_its_row() -> None:
    rows = {line for line in REFERENCE.splitlines() if line.startswith("| `")}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.LambdasmithError) and "code" in vars(value):
            if value is errors.LambdasmithError:
                continue
            told = (value.__doc__ or "").splitlines()[0]
            retry = "yes" if value.retryable else "no"
            assert f"| `{value.code}` | {value.status} | {value.exit_code} | {retry} | {told} |" in rows


def test_every_field_of_the_event_is_explained() -> None:
    for fields in AVAILABLE.values():
        for name in fields:
            assert f"`{name}`" in REFERENCE, name


def test_the_readmes_of_terraforms_modules_have_their_variables_and_outputs() -> None:
    for readme in MODULES.glob("*/README.md"):
        assert readme.read_text() == with_tables(readme.parent), "run: python scripts/terraform_docs.py"
    assert len(list(MODULES.glob("*/README.md"))) == len(list(MODULES.iterdir()))
