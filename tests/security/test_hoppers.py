"""What is another process whenever one looks, since it forks and ends again and again, is ended nevertheless"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Nobody adopts the hopper, as after the builder was killed: each of it is gone before it can be signalled.
PROGRAM = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from builder import descendants
os.setgid(990); os.setuid(994)

def hop():
    os.setsid()
    for descriptor in range(3):
        os.close(descriptor)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
    os._exit(0)

if os.fork() == 0:
    if os.fork() == 0:
        hop()
    os._exit(0)
os.wait()
time.sleep(0.2)

def lives():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{{pid}}").st_uid == 994 and int(pid) != os.getpid():
                with open(f"/proc/{{pid}}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] not in "ZX":
                        return True
        except OSError:
            continue
    return False

ended = descendants.end_strangers(lambda pid: False)
print(ended, any(lives() for _ in range(50)))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user of its own: run as root")
def test_a_hopper_that_nobody_has_adopted_is_ended() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, cwd="/")
    ended, is_left = done.stdout.split()
    assert int(ended) >= 1, done.stderr
    assert is_left == "False"
