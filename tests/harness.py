"""How the suite is handed out to processes: by what was measured, long parts first; and which tests need a server.

A file is run by one process, so that what its fixtures start is started once. A file that says `pytest.mark.apart` is
not held together: each of its long tests goes to whichever process is free.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypedDict

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
MEASURED = Path(__file__).with_name("measured.json")
LOCALAWS_TESTS = ROOT / "tests" / "localaws"
# An engine of localaws and an isolation, each the usual one, or as near to it as this machine has.
USUAL_CELL = f"own-{'bwrap' if shutil.which('bwrap') else 'plain'}"
CELL_NAMES = ("own-bwrap", "own-plain", "rie-bwrap", "rie-plain")
CELLS = [pytest.param(name, marks=() if name == USUAL_CELL else pytest.mark.cell) for name in CELL_NAMES]
IN_FULL = pytest.StashKey[bool]()
"""Whether every cell is tried."""
LONG_S = 1.5  # too long for `make check`
_APART_S = 5
_LEAST_S = 0.5  # what is shorter is not worth a line of the record
_STARTERS = frozenset({"running", "git_server", "fleet_for"})


class Measured(TypedDict):
    """What runs with `--everything` have recorded."""

    localaws: str
    """The content of localaws/ that passed in every cell of its matrix."""
    seconds: dict[str, float]
    """How long tests took, by node id; those that took next to nothing are left out."""


def measured() -> Measured:
    try:
        found: Measured = json.loads(MEASURED.read_text())
    except FileNotFoundError:
        return {"localaws": "", "seconds": {}}
    return found


@cache
def _is_apart(file: str) -> bool:
    return "pytest.mark.apart" in (ROOT / file).read_text()


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process the longest part that is left."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._seconds = measured()["seconds"]

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if self._seconds.get(nodeid, 0) >= _APART_S and _is_apart(file) else file

    def _assign_work_unit(self, node: Any) -> None:
        longest = max(self.workqueue, key=lambda part: self._part_seconds(self.workqueue[part]))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)

    def _part_seconds(self, part: Mapping[str, bool]) -> float:
        return sum(self._seconds.get(nodeid, 0.02) for nodeid in part)


def localaws_content() -> str:
    """A digest of localaws/ and its own tests."""
    digest = hashlib.sha256()
    for folder in (ROOT / "localaws", LOCALAWS_TESTS):
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


class Recorder:
    """Adds up what tests take, and records it at the end of a run in which everything passed.

    Only files that were run as a whole are recorded, and localaws/ as tried when all cells of all its tests were.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._seconds: dict[str, float] = {}
        self._passed: set[str] = set()
        self._whole = not (config.option.keyword or config.option.markexpr or any("::" in one for one in config.args))
        given = [(config.invocation_params.dir / one).resolve() for one in config.args]
        self._localaws = localaws_content() if any(LOCALAWS_TESTS.is_relative_to(one) for one in given) else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0) + report.duration
        if report.when == "call" and report.passed and report.nodeid.startswith("tests/localaws/"):
            self._passed.update(name for name in CELL_NAMES if name in report.nodeid)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.OK or not self._whole:
            return
        found = measured()
        ran = {nodeid.partition("::")[0] for nodeid in self._seconds}
        kept = {name: took for name, took in found["seconds"].items() if name.partition("::")[0] not in ran}
        long = {name: round(took, 1) for name, took in self._seconds.items() if took >= _LEAST_S}
        found["seconds"] = dict(sorted((kept | long).items()))
        if self._localaws and self._passed == set(CELL_NAMES):  # a machine without bubblewrap skips half of them
            found["localaws"] = self._localaws
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")


def starts_a_server(item: pytest.Function) -> bool:
    """Whether a test, its module or one of its fixtures starts an embedded AWS, its functions or a git server."""
    if _STARTERS & vars(item.module).keys():
        return True
    definitions = item._fixtureinfo.name2fixturedefs
    return any(_mentions(used[-1].func) for name, used in definitions.items() if name != "request" and used)


@cache
def _mentions(function: Callable[..., object]) -> bool:
    return isinstance(function, FunctionType) and _code_mentions(function.__code__)


def _code_mentions(code: CodeType) -> bool:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return bool(_STARTERS.intersection(code.co_names)) or any(map(_code_mentions, inner))
