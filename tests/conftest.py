"""Fixtures that all of the suite shares: the embedded AWS, started once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from builder.network import access
from localaws.testing import Server, running
from tests.bootstrapped import bootstrapped
from tests.harness import IN_FULL, LONG_S, USUAL_CELL, Recorder, Scheduling, localaws_content, measured, starts_a_server

__all__ = ["bootstrapped"]  # a fixture

# The same examples every time, and none is too slow: a red run says something of the commit, and not of luck or load.
# `pytest --hypothesis-profile=explore` looks further.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def localaws() -> Iterator[Server]:
    """The embedded AWS as most tests want it: own engine, best isolation, the host's network settings forwarded."""
    with running(forward_network=True) as server:
        yield server


@pytest.fixture(scope="session")
def enforcing_localaws() -> Iterator[Server]:
    """The embedded AWS that holds everybody but the operator to their policies."""
    with running(forward_network=True, enforce_iam=True) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble is waited for as often as ever, but not for as long."""
    monkeypatch.setattr(access, "PAUSES_S", tuple(pause / 200 for pause in access.PAUSES_S))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--everything", action="store_true", help="every cell of the matrix of localaws; tests/measured.json is written"
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[IN_FULL] = config.workerinput["in full"]
        return
    config.stash[IN_FULL] = config.option.everything or localaws_content() != measured()["localaws"]
    if config.option.everything:
        config.pluginmanager.register(Recorder(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["in full"] = node.config.stash[IN_FULL]


def pytest_report_header(config: pytest.Config) -> str:
    if config.stash[IN_FULL]:
        return "localaws: in every cell of its matrix"
    return f"localaws: as it was when its whole matrix passed, so in the cell {USUAL_CELL} alone"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a server or took long, leave cells out; slow tests last, behind the quick answers."""
    seconds = measured()["seconds"]
    for item in items:
        if isinstance(item, pytest.Function) and starts_a_server(item):
            item.add_marker("server")
        if seconds.get(item.nodeid, 0) >= LONG_S:
            item.add_marker("long")
    if not config.stash[IN_FULL]:
        left_out = [item for item in items if item.get_closest_marker("cell")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("cell")]
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
