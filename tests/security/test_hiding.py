"""Orphans and processes that hide are killed: those that fork and exit again and again, or that look like a zombie"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Nobody adopts the hopper, as after the builder was killed: each of it is gone before it can be signalled.
PROGRAM = f"""
import ctypes, os, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
from builder.system import descendants
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

def play_dead():
    os.setsid()
    for descriptor in range(3):
        os.close(descriptor)
    threading.Thread(target=time.sleep, args=(8,)).start()
    ctypes.CDLL(None).pthread_exit(None)

if os.fork() == 0:
    if os.fork() == 0:
        globals()[sys.argv[1]]()
    os._exit(0)
os.wait()
time.sleep(0.2)

def lives():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{{pid}}").st_uid == 994 and int(pid) != os.getpid():
                with open(f"/proc/{{pid}}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                    if fields[0] not in "ZX" or int(fields[17]) > 1:
                        return True
        except OSError:
            continue
    return False

ended = descendants.end_strangers(lambda pid: False)
print(ended, any(lives() for _ in range(50)))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user of its own: run as root")
@pytest.mark.parametrize("way", ["hop", "play_dead"])
def test_what_hides_is_ended(way: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, timeout=60, cwd="/")
    ended, is_left = done.stdout.split()
    assert int(ended) >= 1, done.stderr
    assert is_left == "False"
