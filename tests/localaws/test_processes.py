"""What the kernel lets a function do to what it started, and what of an environment is left: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from localaws.runtime.execution import Engine
from localaws.runtime.isolators import Plain
from tests.localaws.fleets import Files, Lab, fleet_for
from tests.localaws.lab import wait_until

# A child starts a grandchild in a session of its own and ends. What is left of it comes to the function, which finds
# it in /proc, ends it, and waits for it.
REAPER: Files = {
    "app.py": """
    import ctypes, os, signal, time

    PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37

    def parents():
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as stream:
                    state, parent = stream.read().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(name)] = (int(parent), state)
        return found

    def handler(event, context):
        libc = ctypes.CDLL(None, use_errno=True)
        status = libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        is_set = ctypes.c_int()
        libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(is_set), 0, 0, 0)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            if not os.fork():
                os.setsid()
                os.write(write, b"%d\\n" % os.getpid())
                os.closerange(0, 256)
                time.sleep(1000)
            os._exit(0)
        os.waitpid(child, 0)
        orphan = int(os.read(read, 20))
        os.close(read)
        os.close(write)
        parent, state = parents()[orphan]
        os.kill(orphan, signal.SIGKILL)
        ended, status_of = os.waitpid(orphan, 0)
        return {
            "status": status, "set": is_set.value, "adopted": parent == os.getpid(), "state": state,
            "ended": (ended, status_of) == (orphan, signal.SIGKILL), "left": orphan in parents(),
        }
    """
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.mark.parametrize("engine", ["own", "rie"])
@pytest.mark.parametrize("isolation", ["bwrap", "plain"])
def test_a_function_adopts_finds_and_ends_what_its_children_leave(
    scratch: Path, engine: Engine, isolation: str
) -> None:
    fleet = fleet_for(scratch, engine, isolation)
    try:
        lab = Lab(fleet=fleet, engine=engine, scratch=scratch)
        image = lab.image(REAPER)
        for _ in range(2):  # in a warm environment, too
            found = lab.answer(image)
            assert (found["status"], found["set"], found["adopted"]) == (0, 1, True)
            assert (found["ended"], found["left"]) == (True, False)
    finally:
        fleet.close()


SHARED: Files = {
    "app.py": """
    import multiprocessing, os

    def handler(event, context):
        found = {"writable": os.access("/dev/shm", os.W_OK), "there": os.path.exists("/dev/shm")}
        try:
            multiprocessing.Lock()
            found["lock"] = None
        except OSError as error:
            found["lock"] = error.errno
        try:
            open("/dev/shm/mark", "w").close()
            found["mark"] = None
        except OSError as error:
            found["mark"] = error.errno
        return found
    """
}


def test_there_is_no_shared_memory_as_on_lambda(scratch: Path) -> None:
    fleet = fleet_for(scratch, "own", "bwrap")
    try:
        lab = Lab(fleet=fleet, engine="own", scratch=scratch)
        found = lab.answer(lab.image(SHARED))
        assert not found["writable"]
        assert found["lock"] is not None
        assert found["mark"] is not None
    finally:
        fleet.close()


TEMPORARY: Files = {
    "app.py": """
    import os, stat, tempfile

    def handler(event, context):
        folder = os.environ["TMPDIR"]
        before = sorted(os.listdir(folder))
        for name, mode in (("hidden", 0), ("blind", 0o300), ("fixed", 0o500)):
            if not os.path.isdir(f"{folder}/{name}"):
                os.makedirs(f"{folder}/{name}/inner")
                open(f"{folder}/{name}/inner/file", "w").close()
                os.chmod(f"{folder}/{name}/inner", mode)
                os.chmod(f"{folder}/{name}", mode)
        return {"folder": folder, "before": before, "mode": stat.S_IMODE(os.stat(folder).st_mode),
                "used": tempfile.gettempdir()}
    """
}


@pytest.mark.parametrize("engine", ["own", "rie"])
def test_plain_environments_have_a_private_tmpdir_that_goes_with_them(scratch: Path, engine: Engine) -> None:
    fleet = fleet_for(scratch, engine, "plain")
    try:
        lab = Lab(fleet=fleet, engine=engine, scratch=scratch)
        image = lab.image(TEMPORARY)
        first, again = lab.answer(image), lab.answer(image)
        other = lab.answer(replace(image, tenant_id="another"))
        assert (first["mode"], first["before"], first["used"]) == (0o700, [], first["folder"])
        assert again["folder"] == first["folder"]
        assert again["before"] == ["blind", "fixed", "hidden"]
        assert (other["folder"] != first["folder"], other["before"]) == (True, [])
        folders = [Path(str(each["folder"])) for each in (first, other)]
        assert all(folder.is_dir() for folder in folders)
        fleet.discard(image.arn)
        wait_until(lambda: not any(os.path.lexists(folder) for folder in folders), "the directories to go")
    finally:
        fleet.close()


ROOT = Path(__file__).resolve().parents[2]

# What a function may leave: modes that keep its own user out, a tree deeper than a path may be long, links.
LEAVE = """
import os, sys
sys.path.insert(0, sys.argv[2])
import supervise
if os.geteuid() == 0:  # modes do not keep root out
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
base = sys.argv[1]
top = f"{base}/function"
for name, mode in (("hidden", 0), ("blind", 0o300), ("fixed", 0o500)):
    os.makedirs(f"{top}/{name}/inner/deeper")
    open(f"{top}/{name}/inner/file", "w").close()
    for path in (f"{top}/{name}/inner", f"{top}/{name}"):
        os.chmod(path, mode)
os.symlink(f"{base}/kept", f"{top}/link")
os.symlink("/nowhere", f"{top}/dangling")
os.mkdir(f"{top}/deep")
os.chdir(f"{top}/deep")
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chdir("/")
os.chmod(top, 0)
supervise.remove(top)
print(os.path.lexists(top))
os.symlink(f"{base}/kept", top)
supervise.remove(top)
print(os.path.lexists(top))
"""


def test_what_hostile_modes_and_depths_keep_is_removed() -> None:
    supervisor = str(ROOT / "localaws" / "src" / "localaws" / "runtime" / "guest")
    # Not below pytest's own directory, which another user cannot enter.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o777)
        kept = Path(base, "kept", "file")
        kept.parent.mkdir()
        kept.write_text("kept")
        command = [sys.executable, "-I", "-S", "-c", LEAVE, base, supervisor]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.stdout.split(), done.stderr) == (["False", "False"], "")
        assert kept.read_text() == "kept"


def test_what_a_killed_server_left_goes_at_the_next_start(tmp_path: Path) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    stale, live = (tmp_path / "tmp" / f"function-{pid}-abc" for pid in (ended.pid, os.getpid()))
    for folder in (stale, live):
        folder.mkdir(parents=True)
    Plain(tmp_path)
    assert (stale.exists(), live.exists()) == (False, True)
