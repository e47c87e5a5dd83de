"""Fixtures that all of the suite shares: the embedded AWS, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localaws.testing import Server, running


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests run last: whoever waits sees the quick answers first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
