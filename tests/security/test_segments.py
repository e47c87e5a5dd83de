"""Shared memory that a build has left outlives its processes, and would be missing for the builds of others"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In a namespace of its own: the machine's are others'.
PROGRAM = f"""
import ctypes, os, sys
sys.path.insert(0, {str(ROOT)!r})
from builder.system import segments
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x08000000):
    raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWIPC)")
if os.fork() == 0:
    assert libc.shmget(0, 1 << 20, 0o1600) >= 0 and libc.msgget(1, 0o1600) >= 0 and libc.semget(2, 1, 0o1600) >= 0
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]), segments.remove_all(), segments.remove_all())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a namespace of its own: run as root")
def test_memory_that_outlives_its_processes_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "3", "0"], done.stderr
