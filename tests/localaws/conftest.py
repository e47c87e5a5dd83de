"""Fixtures for the embedded AWS's own tests: servers by engine and isolation, started once each and only if used."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from localaws.testing import Server, running
from tests.harness import CELLS
from tests.localaws.lab import Lab, make_lab


@pytest.fixture(scope="session")
def lab(localaws: Server) -> Lab:
    return make_lab(localaws)


@pytest.fixture(scope="session")
def slow_lab() -> Iterator[Lab]:
    """Functions here stay Pending and InProgress long enough to be met in that state."""
    with running(pending_s=0.7) as server:
        yield make_lab(server)


@pytest.fixture(scope="session")
def labs() -> Iterator[Callable[[str, str], Lab]]:
    """A lab by engine and isolation, its server started at the first use and ended with the session."""
    started: dict[tuple[str, str], Lab] = {}
    with ExitStack() as stack:

        def lab_for(engine: Any, isolation: Any) -> Lab:
            if isolation == "bwrap" and not shutil.which("bwrap"):
                pytest.skip("no bubblewrap: install bubblewrap")
            if (engine, isolation) not in started:
                server = stack.enter_context(running(engine=engine, isolation=isolation))
                started[engine, isolation] = make_lab(server)
            return started[engine, isolation]

        yield lab_for


@pytest.fixture(params=CELLS)
def any_lab(request: pytest.FixtureRequest, labs: Callable[[str, str], Lab]) -> Lab:
    """A lab of every engine and isolation in turn."""
    return labs(*request.param.split("-"))
