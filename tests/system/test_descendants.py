"""Every process that a child has left behind is found and ended, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Run as a program of its own: whoever adopts its descendants ends them all, and pytest has servers.
HEAD = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from builder.system import descendants
from builder.system import process

def run(code, **more):
    return process.run(
        [sys.executable, "-c", code], cwd=Path("/"), environment=dict(os.environ), timeout_s=20, what="it", **more
    )

def there(pid):
    try:
        return Path(f"/proc/{{pid}}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False

GONE = '''
import os, sys, time
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        time.sleep(60)
    os._exit(0)
print(os.read(read, 20).decode())
'''
process.adopt()
"""


def program(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_has_left_its_session_and_its_parent_is_ended_with_the_child() -> None:
    assert "ended" in program("""
        pid = int(run(GONE).tail[-1])
        print("lives" if there(pid) else "ended")
    """)


def test_a_child_that_still_runs_keeps_what_it_has_started() -> None:
    assert program("""
        import threading
        said = []
        slow = "import subprocess, sys, time; c = subprocess.Popen(['sleep', '3']); print(c.pid, flush=True); c.wait()"
        thread = threading.Thread(target=lambda: run(slow, listen=said.append))
        thread.start()
        while not said:
            time.sleep(0.01)
        run("pass")
        print("lives" if there(int(said[0])) else "ended")
        thread.join()
    """).startswith("lives")


BOMB = """
import os, time
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
        %s
    os._exit(0)
time.sleep(0.2)
"""


@pytest.mark.parametrize("each", ["pass", "os.setsid()"], ids=["in one group", "in a session of its own each time"])
def test_what_forks_for_ever_is_ended(each: str) -> None:
    assert program(f"""
        run({BOMB % each!r})
        time.sleep(0.1)
        print(process.end_strays())
    """).split() == ["0"]


def test_nothing_is_ended_by_a_process_that_has_adopted_nobody() -> None:
    code = HEAD.replace("process.adopt()\n", "") + textwrap.dedent("""
        child = subprocess.Popen(["sleep", "5"])
        run("pass")
        print("lives" if child.poll() is None else "ended")
        child.kill()
        child.wait()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "lives", done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user of its own: run as root")
def test_what_an_earlier_process_has_left_is_ended_but_for_what_is_spared() -> None:
    code = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from builder.system import descendants
os.setgid(990); os.setuid(993)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3):
            os.close(descriptor)
        time.sleep(60)
    os._exit(0)
os.wait()
kept = subprocess.Popen(["sleep", "30"])
print(descendants.end_strangers(lambda pid: pid == kept.pid), kept.poll())
kept.kill(); kept.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    ended, kept = done.stdout.split()
    assert int(ended) >= 1, done.stderr
    assert kept == "None"
