"""`make demo` for somebody who has just cloned this: an ordinary user, and nothing in the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_NOBODY = 65534


@pytest.mark.slow
def test_the_demo_runs_for_an_ordinary_user_with_an_empty_environment() -> None:
    """Where an organisation's authority is in the system's store alone, only this shows that it is enough."""
    if not Path("/usr/bin/git").exists():
        pytest.skip("git is not in /usr/bin; install git")
    # Nobody else comes below pytest's own directory.
    with tempfile.TemporaryDirectory() as home:
        lower = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
        python = ["env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", sys.executable]
        if os.geteuid() == 0 and shutil.which("setpriv") and _runs([*lower, *python, "-c", "import boto3, examples"]):
            os.chown(home, _NOBODY, _NOBODY)
            python = [*lower, *python]
        done = subprocess.run(
            [*python, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Bonjour, Ada!!!" in done.stdout


def _runs(command: list[str]) -> bool:
    """Whether it does: others may not come to where root has its own Python, or this checkout."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
