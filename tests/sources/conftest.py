"""Two real git servers of the same repositories: `git http-backend` behind `localaws git`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from localaws.testing import git_server
from tests.sources.forge import TOKEN, Host, Work, make_project


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if not shutil.which("git"):
        pytest.skip("needs git: install git")
    scratch = tmp_path_factory.mktemp("git")
    root = scratch / "served"
    root.mkdir()
    commits = make_project(scratch, root)
    Work(scratch / "empty", root / "empty.git")
    with git_server(root) as public, git_server(root, token=TOKEN) as private:
        yield Host(root=root, public=public.url, private=private.url, commits=commits)


@pytest.fixture
def project(host: Host) -> str:
    return f"{host.public}/project.git"
