"""What a build does to the builder's own limits, as any process of the same user can, holds for no other build"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = f"""
import os, resource, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from builder.system import process
os.setgid(990); os.setuid(994)
process.adopt()
before = resource.getrlimit(resource.RLIMIT_NOFILE), os.sched_getaffinity(0)
attack = sys.argv[1].replace("PID", str(os.getpid())).split()
process.run(attack, cwd=Path("/"), environment={{"PATH": os.defpath}}, timeout_s=20, what="it")
print(before == (resource.getrlimit(resource.RLIMIT_NOFILE), os.sched_getaffinity(0)))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user of its own: run as root")
@pytest.mark.parametrize(
    ("attack", "ended"),
    [
        ("prlimit --pid PID --nofile=64:", (0, "True")),
        ("taskset -a -p 1 PID", (0, "True")),
        ("prlimit --pid PID --nofile=64:64", (70, "")),
        ("prlimit --pid PID --fsize=1:1", (70, "")),
        ("renice -n 19 -p PID", (70, "")),
    ],
)
def test_limits_are_restored_or_the_environment_is_given_up(attack: str, ended: tuple[int, str]) -> None:
    if shutil.which(attack.split()[0]) is None:
        pytest.skip(f"needs {attack.split()[0]}; install util-linux")
    done = subprocess.run([sys.executable, "-c", PROGRAM, attack], capture_output=True, text=True, timeout=60, cwd="/")
    assert (done.returncode, done.stdout.strip()) == ended, done.stderr
