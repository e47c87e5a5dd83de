"""setup.py as a real subprocess, pointed at the embedded AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server
from tests.e2e.conftest import newest_runtime

SETUP = Path(__file__).resolve().parent.parent.parent / "setup.py"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Runs setup.py in a scratch directory, with a scratch TMPDIR, and knows what is left in both."""

    server: Server
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDASMITH_", "AWS_"))}
        temporary = {"TMPDIR": str(self.home / "tmp"), "LAMBDASMITH_GITHUB_GIT_USERNAME": "me"}
        return kept | dict(self.server.env) | temporary | dict(self.variables)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(SETUP), *arguments, "--config", str(self.home / "config.ini")]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, without a terminal."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.home / "work",
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def facts(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """The JSON of a run that must succeed."""
        ended = self.run(*arguments, "--json", **variables)
        assert ended.returncode == 0, ended.stderr
        facts: dict[str, Any] = json.loads(ended.stdout)
        return facts

    def left_behind(self) -> list[str]:
        """Files in the working directory and the temporary directory."""
        return [path.name for part in ("work", "tmp") for path in (self.home / part).iterdir()]


MakeOperator = Callable[..., Operator]


@pytest.fixture(scope="module")
def make_operator(tmp_path_factory: pytest.TempPathFactory) -> MakeOperator:
    """An operator of a function name of his own, so that tests share a server."""

    def make(server: Server, function: str, **variables: str) -> Operator:
        home = tmp_path_factory.mktemp(function)
        (home / "work").mkdir()
        (home / "tmp").mkdir()
        # The default needs a Python that not every machine has.
        text = f"[builder]\nfunction_name = {function}\nruntime = {newest_runtime()}\nfunctions = *\n"
        (home / "config.ini").write_text(text)
        return Operator(server=server, home=home, variables=variables)

    return make
