"""A builder that setup.py has set up once in a run of the suite, and accounts that begin with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from localaws.serving.state import copy_state
from localaws.testing import Server, running
from tests.e2e.conftest import Forge, make_builder, skip_if_plain

Bootstrapped = Callable[..., AbstractContextManager[Server]]


def _base(factory: pytest.TempPathFactory, isolation: str) -> Path:
    """The state directory of an account with a builder, made by whichever process of a run of pytest is the first.

    With `split`, what the shared one lacks is added to a copy.
    """
    shared_base = None if isolation == "shared" else _base(factory, "shared")
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    base = shared / f"bootstrapped-{isolation}"
    with (shared / f"{base.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.exists():
            work = factory.mktemp("bootstrapped")
            if shared_base:
                copy_state(shared_base, work / "state")
            with running(forward_network=True, enforce_iam=True, state=work / "state") as server:
                skip_if_plain(server)
                # The forge is another one in every copy; nothing is asked of this.
                forge = Forge(url="http://127.0.0.1:9", root=work, work=work)
                make_builder(server, forge, work, f"isolation = {isolation}\n")
            (work / "state").rename(base)
    return base


@pytest.fixture(scope="session")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Bootstrapped:
    """An embedded AWS that begins with a builder: what setup.py makes of it then takes a tenth of the time."""

    @contextmanager
    def start(*, enforce_iam: bool = False, isolation: str = "shared") -> Iterator[Server]:
        base = _base(tmp_path_factory, isolation)
        with running(forward_network=True, enforce_iam=enforce_iam, copy_of=base) as server:
            yield server

    return start
