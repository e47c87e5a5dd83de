"""Start of supervisors, all of them by one thread."""

from __future__ import annotations

import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future

from localaws.runtime.logstream import LogStream
from localaws.runtime.sandbox import Sandbox

__all__ = ["launch"]


def launch(
    command: Callable[[str, str, str, str], list[str]], spec: bytes, *, kill: bool, secrets: str = ""
) -> Sandbox:
    """Start a supervisor. `command` makes its command line of descriptors for control, status, `spec` and `secrets`."""
    control_read, control_write = os.pipe()
    status_read, status_write = os.pipe()
    log_read, log_write = os.pipe()
    secrets_read, secrets_write = os.pipe()
    with tempfile.TemporaryFile() as stream:
        stream.write(spec)
        stream.seek(0)
        descriptors = (control_read, status_write, stream.fileno(), secrets_read)
        try:
            process = _SPAWNER.spawn(command(*map(str, descriptors)), pass_fds=descriptors, output=log_write)
        except BaseException:
            for descriptor in (control_write, status_read, log_read, secrets_write):
                os.close(descriptor)
            raise
        finally:
            # Our copies of the child's ends: while they are open, the end of the child would not end the pipes.
            for descriptor in (control_read, status_write, log_write, secrets_read):
                os.close(descriptor)
    secret = (secrets_write, secrets.encode())
    return Sandbox(process, control_write, status_read, LogStream(log_read), kill=kill, secrets=secret)


class _Spawner:
    """Thread that starts all children and never ends.

    bubblewrap's --die-with-parent is PR_SET_PDEATHSIG, which fires when the starting *thread* ends: a sandbox started
    by the thread of one request would die with that request.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], tuple[int, ...], int]]
        self._jobs = queue.SimpleQueue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def spawn(self, command: list[str], *, pass_fds: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, with an empty environment."""
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="localaws-spawner", daemon=True)
                self._thread.start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((future, command, pass_fds, output))
        return future.result()

    def _run(self) -> None:
        while True:
            future, command, pass_fds, output = self._jobs.get()
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=pass_fds,
                    # Nothing of ours: the server's environment may have the operator's credentials.
                    env={},
                    start_new_session=True,
                )
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(process)


_SPAWNER = _Spawner()
