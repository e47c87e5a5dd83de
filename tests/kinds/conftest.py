"""The compilers and package managers that these tests run: the ones that the builder fetches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.errors import LambdasmithError
from builder.secrets.indexes import NO_LOGINS
from builder.store.directory import DirectoryStore
from builder.toolchains.toolbox import Toolbox
from builder.workspace.directory import Deadline, Workspace


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    folder = tmp_path_factory.mktemp("toolchains")
    workspace = Workspace(folder / "workspace")
    environment = workspace.child_environment(os.environ, "", folder / "home")
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
def npm(toolbox: Toolbox) -> Path:
    """The `npm` command of the builder."""
    try:
        return toolbox.get("node").bins[0] / "npm"
    except LambdasmithError as error:
        pytest.skip(f"node cannot be fetched ({error}); connect to the package index")
