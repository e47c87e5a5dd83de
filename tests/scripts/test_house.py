"""What scripts/house.py counts, on a small package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import house

FILES = {
    "__init__.py": "",
    "top.py": """\
# A comment.
from builder.low import deep
from typing import cast

X = cast(int, 1)  # no line of its own
""",
    "low/__init__.py": "LIMIT = 1\n",
    "low/deep.py": """\
def f():
    from ..middle import g

    return g
""",
    "middle.py": """\
from typing import TYPE_CHECKING
from builder import low
if TYPE_CHECKING:
    import builder.top
def g():
    def h():
        return low
    return h
""",
}
NODES = "abcdefg"
GRAPHS = st.fixed_dictionaries({node: st.frozensets(st.sampled_from(NODES)) for node in NODES})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "builder", FILES)
    return tmp_path


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def rows(root: Path) -> dict[str, str]:
    """The cells of a table of one package, by their titles."""
    lines = house.table({"now": {"builder": house.houses(root)["builder"]}}, {"now": None})
    cells = [line.split("|") for line in lines if line.startswith("| ")]
    return {row[1].strip(): row[2].strip() for row in cells}


def test_a_table_of_a_small_package(root: Path) -> None:
    assert rows(root) == {
        "": "builder",
        "modules": "5",
        "median function, lines": "4",
        "longest function, lines": "4",
        "functions over 50 lines": "0",
        "files over 400 lines": "0",
        "files on the fullest shelf": "3",
        "wings (folders and files at the top)": "4",
        "arrows (which wing imports from which)": "3",
        "circles of wings": "1",
        "circles of files": "0",
        "casts": "1",
        "lines that are comments, of those not blank": "6.2 %",
    }


def test_files_import_modules_names_and_relatives_but_nothing_for_type_checkers(root: Path) -> None:
    files = house.houses(root)["builder"].files
    assert files["builder.top"] == {"builder.low.deep"}
    assert files["builder.low.deep"] == {"builder.middle"}
    assert files["builder.middle"] == {"builder.low"}


def test_imports_from_wings_above_are_counted_where_the_tests_list_wings(root: Path) -> None:
    for order, upward in (
        ("('top', ('low', 'middle'))", "0"),
        ("('top', 'middle', 'low')", "1"),
        ("['low', 'top', 'x']", "1"),
    ):
        write(root / "tests", {"test_house.py": f"import nothing\nWINGS: object = {order}\n"})
        assert rows(root)["imports from a wing above"] == upward, order


def test_a_package_is_found_where_it_has_moved_to(tmp_path: Path) -> None:
    write(tmp_path / "localaws" / "src" / "localaws", {"__init__.py": "", "iam/__init__.py": "", "iam/rules.py": ""})
    write(tmp_path / "tests" / "builder", {"../__init__.py": "", "__init__.py": ""})
    assert {name: len(found.modules) for name, found in house.houses(tmp_path).items()} == {"localaws": 3}


def test_functions_and_files_beyond_the_limits_are_named(tmp_path: Path) -> None:
    body = "    pass\n" * (house.MOST_FUNCTION_LINES - 1)
    fits = f"def fits():\n{body}"
    fills = "x = 1\n" * (house.MOST_FILE_LINES - house.MOST_FUNCTION_LINES)
    write(tmp_path / "builder", {"__init__.py": "", "fits.py": fits + fills})
    write(tmp_path / "builder", {"more.py": f"{fits}    pass\n{fills}"})
    modules = house.houses(tmp_path)["builder"].modules
    assert [line for module in modules.values() for line in module.too_long()] == [
        "builder.more: 401 lines",
        "builder.more.fits: 51 lines",
    ]


@given(GRAPHS)
def test_circles_are_what_leads_back_and_do_not_depend_on_order(graph: dict[str, frozenset[str]]) -> None:
    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead += new
        return seen

    circles = house.circles(graph)
    mutual = {node: {other for other in reached(node) if node in reached(other)} | {node} for node in graph}
    assert {frozenset(circle) for circle in circles} == {
        frozenset(group) for group in mutual.values() if len(group) > 1
    }
    assert house.circles(dict(reversed(graph.items()))) == circles


def test_seconds_are_read_from_what_pytest_wrote(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    assert house.suite_seconds(report) is None
    report.write_text('<testsuites name="pytest tests"><testsuite name="pytest" time="61.5"/></testsuites>')
    assert house.suite_seconds(report) == 61.5
    assert "Seconds of the tests: 62 (now)" in list(house.table({"now": {}}, {"now": 61.5}))


def test_a_revision_is_measured_beside_the_present(capsys: pytest.CaptureFixture[str]) -> None:
    house.main(["--against", "HEAD"])
    lines = capsys.readouterr().out.splitlines()
    modules = next(line for line in lines if line.startswith("| modules"))
    cells = [cell.strip() for cell in modules.strip("|").split("|")[1:]]
    assert len(cells) == 6
    assert all(int(cell) > 10 for cell in cells)
