"""How old an index's answer may be: as old as the index allows, but no reason to fail, and not when asked anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import RequirementNotFound
from builder.python.lock import resolve
from builder.python.resolver import Resolver
from builder.python.uv import Compilation
from tests.index import Index, serving
from tests.python.locking import PYTHON_313, Lab, make_lab, versions
from tests.wheelhouse import make_wheel


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "index"
    root.mkdir()
    make_wheel(root, "apple", "1.0", files={"apple.py": ""})
    with serving(root) as running:
        running.max_age = 600
        yield running


@pytest.fixture
def lab(tmp_path: Path, index: Index) -> Lab:
    lab = make_lab(tmp_path, index)
    lab.write({"requirements.txt": "apple\n"})
    assert versions(lab.lock()) == {"apple": "1.0"}
    make_wheel(index.root, "apple", "2.0", files={"apple.py": "2"})
    index.requests.clear()
    return lab


def test_an_answer_is_kept_for_as_long_as_the_index_allows(lab: Lab, index: Index) -> None:
    assert versions(lab.lock()) == {"apple": "1.0"}
    assert not index.requests


def test_a_version_younger_than_the_kept_answer_is_found(lab: Lab, index: Index) -> None:
    lab.write({"requirements.txt": "apple==2.0\n"})
    assert versions(lab.lock()) == {"apple": "2.0"}


def test_what_does_not_exist_is_asked_for_once_more_and_no_oftener(lab: Lab, index: Index) -> None:
    lab.write({"requirements.txt": "apple==3.0\n"})
    with pytest.raises(RequirementNotFound, match=r"apple==3\.0 does not exist in the package index; .*2\.0, 1\.0"):
        lab.lock()
    # Once by uv, once for the message.
    assert index.requests["/simple/apple/"] == 2


def test_locking_anew_asks_the_index(lab: Lab) -> None:
    scratch = lab.workspace.root / "scratch"
    by = Resolver(root=lab.root, scratch=scratch, environment=lab.environment, timeout_s=60, refresh=True)
    assert versions(resolve(lab.inputs(), PYTHON_313, by)) == {"apple": "2.0"}


@pytest.mark.parametrize(
    ("requirements", "variables", "is_public"),
    [
        ("apple\n", {}, True),
        ("--index-url https://example.com/simple\napple\n", {}, False),
        ("--extra-index-url https://example.com/simple\napple\n", {}, True),
        ("apple\n", {"UV_DEFAULT_INDEX": "https://example.com/simple"}, False),
        ("apple\n", {"UV_INDEX_URL": "https://example.com/simple"}, False),
    ],
)
def test_only_of_the_public_index_we_know_how_long(
    tmp_path: Path, requirements: str, variables: dict[str, str], is_public: bool
) -> None:
    lab = make_lab(tmp_path)
    lab.write({"requirements.txt": requirements})
    environment = {name: value for name, value in lab.environment.items() if "INDEX" not in name} | variables
    by = Resolver(root=lab.root, scratch=tmp_path, environment=environment, timeout_s=60)
    assert Compilation(lab.inputs(), PYTHON_313, by).asks_public_index() is is_public
