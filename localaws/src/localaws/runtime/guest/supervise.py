"""Starts and stops a runtime without a sandbox around it, and ends with everything below it when the server does.

    supervise.py CONTROL STATUS SPEC

CONTROL, a descriptor, brings lines "start N" and "stop"; STATUS gets "exit N CODE" (a shell's code, 128 + signal) and
"stopped". SPEC is a descriptor with JSON {"argv": […], "env": {…}, "cwd": "…", "tmp": "…"}; it is read once, so that no
credential is ever an argument. Standard library only, and little of it: this is part of every cold start.
"""
# ruff: noqa: PTH114, PTH123, PTH208, S606

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys

TYPE_CHECKING = False  # importing typing would cost more than all the rest
if TYPE_CHECKING:
    from typing import TypedDict

    class Spec(TypedDict):
        argv: list[str]
        env: dict[str, str]
        cwd: str
        tmp: str


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; nothing happens where there is no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def limit() -> None:
    """Lambda's limit on open files, where the host allows as many; no core dumps."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024 if hard == resource.RLIM_INFINITY else min(1024, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start(spec: Spec) -> int:
    """The process id of a new runtime, in a session of its own, with its log on descriptor 3 too."""
    child = os.fork()
    if child:
        return child
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a new program would inherit that
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(1, 3)
        os.closerange(4, 1024)
        os.chdir(spec["cwd"])
        limit()
        os.execve(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        os.write(2, f"{spec['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def children() -> list[int]:
    """Process ids of all children, adopted ones included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as stream:
                found += [int(pid) for pid in stream.read().split()]
    return found


def kill_all(child: int | None) -> None:
    """End every process below us, and wait until none is left."""
    if child is not None:
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
    while True:
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def remove(folder: str) -> None:
    """Remove a directory, whatever modes the function gave to what is in it, and however deep that is."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not os.path.lexists(folder):
        return
    commands = [["/bin/rm", "-rf", "--", folder]]
    if not os.path.islink(folder):  # chmod would follow it
        commands.insert(0, ["/bin/chmod", "-Rf", "u+rwx", "--", folder])
    for command in commands:
        os.spawnv(os.P_WAIT, command[0], command)


def reap(child: int | None) -> int | None:
    """The shell's exit code of `child` if it has ended; adopted processes are reaped on the way."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return code


def serve(control: int, status: int, spec: Spec) -> None:
    """Carry out what comes over `control` until it ends."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    child: int | None = None
    number, pending = "0", b""
    try:
        while True:
            readable = select.select([control, wake_read], [], [])[0]
            if wake_read in readable:
                os.read(wake_read, 4096)
                code = reap(child)
                if code is not None:
                    child = None
                    os.write(status, f"exit {number} {code}\n".encode())
            if control not in readable:
                continue
            data = os.read(control, 4096)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                verb, _, rest = line.decode().partition(" ")
                if verb == "start":
                    child, number = start(spec), rest
                elif verb == "stop":
                    kill_all(child)
                    child = None
                    os.write(status, b"stopped\n")
    finally:
        kill_all(child)
        remove(spec["tmp"])


def main(control: int, status: int, spec_descriptor: int) -> None:
    """Read what to run, then serve."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # children that detach themselves become ours, so that they can be ended
    with os.fdopen(spec_descriptor, "rb") as stream:
        spec: Spec = json.load(stream)
    with contextlib.suppress(BrokenPipeError):
        serve(control, status, spec)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
