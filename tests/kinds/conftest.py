"""The compilers and package managers that these tests run: the ones that the builder fetches, or the machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from builder.errors import LambdasmithError
from builder.python.indexes import NO_LOGINS
from builder.store import DirectoryStore
from builder.toolchains.toolbox import Toolbox
from builder.workspace import Deadline, Workspace


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    folder = tmp_path_factory.mktemp("toolchains")
    workspace = Workspace(folder / "workspace")
    environment = workspace.child_environment(os.environ, "")
    return Toolbox(
        workspace=workspace,
        store=DirectoryStore(folder / "store"),
        environment=environment,
        indexes=NO_LOGINS,
        deadline=Deadline.after(900),
    )


@pytest.fixture(scope="session")
def go(toolbox: Toolbox) -> Path:
    """The `go` command of the builder."""
    try:
        return toolbox.get("go").bins[0] / "go"
    except LambdasmithError as error:
        pytest.skip(f"go cannot be fetched ({error}); connect to the package index")


@pytest.fixture(scope="session")
def npm() -> Path:
    """The machine's `npm`: the builder's does not run on as many machines as these tests."""
    found = shutil.which("npm")
    if found is None:
        pytest.skip("npm is not here; install npm")
    return Path(found)
