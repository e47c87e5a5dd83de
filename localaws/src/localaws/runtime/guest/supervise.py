"""Supervisor of a runtime without a sandbox: starts and stops it, and ends with all its children when the server does.

    supervise.py CONTROL STATUS SPEC

CONTROL, a descriptor, brings lines "start N" and "stop"; STATUS gets "exit N CODE" (a shell's code, 128 + signal) and
"stopped". SPEC is a descriptor with JSON {"argv": […], "env": {…}, "cwd": "…", "tmp": "…"}; it is read once, so that no
credential is ever an argument. It uses only the standard library, and little of it, as it is part of every cold start.
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

TYPE_CHECKING = False  # importing typing would take longer than everything else here
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
    """Set an attribute of this process; no effect on systems without the call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def limit() -> None:
    """Set Lambda's limit on open files, as far as the host allows, and turn off core dumps."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024 if hard == resource.RLIM_INFINITY else min(1024, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start(spec: Spec) -> int:
    """Start a runtime in a session of its own, with its log also on descriptor 3; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores SIGPIPE, and a new program would inherit that
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
    """Return the process ids of all children, including adopted ones."""
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
            # The whole group at once, before its members can react to the end of one another.
            os.killpg(child, signal.SIGKILL)
    while True:
        # In rounds until no child is left: a process may fork before it is killed, and its orphans become our children.
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def remove(folder: str) -> None:
    """Remove a directory of any depth, also if the function took permissions away from its contents."""
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
    """Return the shell's exit code of `child` if it has ended; adopted processes are reaped on the way."""
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
    """Carry out the commands from `control` until it ends."""
    wake_read, wake_write = os.pipe()
    # The signal handler writes to this pipe: a full one must not block it.
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # A byte per SIGCHLD wakes select(); without the pipe, a child that ends just before select() would go unnoticed.
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
            # Exits are reported first, so that a stop that follows never hides the exit code of a runtime that ended by
            # itself.
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
        # After the processes: one that still ran could write into it again.
        remove(spec["tmp"])


def main(control: int, status: int, spec_descriptor: int) -> None:
    """Read the specification, then serve."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned descendants become our children, so that they can be killed
    with os.fdopen(spec_descriptor, "rb") as stream:
        spec: Spec = json.load(stream)
    with contextlib.suppress(BrokenPipeError):
        serve(control, status, spec)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
