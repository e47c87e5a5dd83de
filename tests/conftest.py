"""Fixtures that all of the suite shares: the embedded AWS, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from builder.sources import access
from localaws.testing import Server, running
from tests.bootstrapped import bootstrapped

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


# Files that take long as a whole, mostly by waiting. Several are run at a time, each file by one process: what takes
# longest has to begin first, or everybody waits for it in the end.
LONG = (
    "e2e/test_faults.py",
    "terraform/test_examples.py",
    "e2e/test_errors.py",
    "e2e/test_kinds.py",
    "security/test_canary.py",
    "integrations/test_sam_and_make.py",
    "differential/test_against_uv.py",
    "cloudformation/test_stacks.py",
    "builder/test_go.py",
    "bootstrap/test_interruptions.py",
    "deploy/test_package.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, slow tests of the others last: whoever waits sees the quick answers in between."""

    def place(item: pytest.Item) -> tuple[int, int]:
        path = item.path.as_posix()
        at = next((number for number, name in enumerate(LONG) if path.endswith(name)), len(LONG))
        return at, item.get_closest_marker("slow") is not None

    items.sort(key=place)
