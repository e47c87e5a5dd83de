"""Schemas and reference are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.schemas import schema
from scripts import docs
from scripts.terraform_docs import MODULES, with_tables


@pytest.mark.parametrize("path", docs.written(), ids=lambda path: path.name)
def test_what_is_made_of_the_code_is_current(path: Path) -> None:
    assert path.read_text() == docs.written()[path], "run `make docs`"


def test_every_table_has_its_place_in_the_page() -> None:
    page = docs.marked(docs.REFERENCE.read_text())
    for begin in (
        "| `action` | all |",
        "| `function.memory` | `MemorySize` |",
        "| `statusCode` |",
        "| `function_busy` |",
    ):
        assert begin in page


def test_every_key_of_the_build_file_is_explained() -> None:
    whole = schema("build")
    assert isinstance(whole["definitions"], dict)
    for part in whole["definitions"].values():
        for key, described in part["properties"].items():
            assert described["description"].endswith("."), key


def test_the_readmes_of_terraforms_modules_have_their_variables_and_outputs() -> None:
    for readme in MODULES.glob("*/README.md"):
        assert readme.read_text() == with_tables(readme.parent), "run: python scripts/terraform_docs.py"
    assert len(list(MODULES.glob("*/README.md"))) == len(list(MODULES.iterdir()))
