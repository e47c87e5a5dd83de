"""Memory used by the processes of an execution environment, read from /proc without privileges."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

__all__ = ["MemoryWatch", "below", "peak_bytes", "used_bytes"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Short enough to catch most functions before they exceed much; what falls between is caught by `peak_bytes`.
_POLL_S = 0.025
# Time between two polls, as a multiple of the processor time of one.
_SHARE = 19
# Processes around the runtime, which Lambda does not count either.
_NOT_COUNTED = {"bwrap", "supervise.sh", "aws-lambda-rie"}


class MemoryWatch:
    """Watch that calls back when the processes below a watched one exceed their limit. One thread polls for all."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, Callable[[int], None], Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        threading.Thread(target=self._run, name="localaws-memory", daemon=True).start()

    def add(
        self,
        root: int,
        limit_bytes: int,
        seen: Callable[[int], None],
        exceeded: Callable[[], None],
    ) -> None:
        """Watch the processes below `root`: `seen` gets every size, `exceeded` is called once. Both must be quick."""
        with self._lock:
            self._watched[root] = (limit_bytes, seen, exceeded)
        self._wake.set()

    def remove(self, root: int) -> None:
        with self._lock:
            self._watched.pop(root, None)

    def close(self) -> None:
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            with self._lock:
                # A copy: reading /proc takes long, and `add` must not wait for it.
                watched = list(self._watched.items())
                if not watched:
                    self._wake.clear()
            if not watched:
                self._wake.wait()
                continue
            begun = time.thread_time()
            for root, entry in watched:
                limit_bytes, seen, exceeded = entry
                used = used_bytes(root)
                with self._lock:
                    if self._watched.get(root) is not entry:
                        continue  # removed meanwhile: no callback may come after `remove`
                    seen(used)
                    if used > limit_bytes:
                        del self._watched[root]
                        exceeded()
            # Many environments are polled less often; `peak_bytes` catches at the end what a poll missed.
            time.sleep(max(_POLL_S, _SHARE * (time.thread_time() - begun)))


def used_bytes(root: int) -> int:
    """Return the resident bytes of all processes below `root`, without itself and our own helpers."""
    return sum(_resident(pid) for pid in _counted(root))


def peak_bytes(root: int) -> int:
    """Return the greatest resident size that any process below `root` ever had, which no poll can miss."""
    return max((_high_water(pid) for pid in _counted(root)), default=0)


def _counted(root: int) -> Iterable[int]:
    for pid in below(root):
        # proc_pid_stat(5): the second field is the name, which may hold anything.
        name, found, _ = _text(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
        if found and name not in _NOT_COUNTED:
            yield pid


def below(root: int) -> list[int]:
    """Return the processes below the process `root`, including those that are ending."""
    found: list[int] = []
    queue = [root]
    while queue:
        pid = queue.pop()
        with suppress(OSError):
            for task in os.scandir(f"/proc/{pid}/task"):
                children = [int(child) for child in _text(f"{task.path}/children").split()]
                found += children
                queue += children
    return found


def _resident(pid: int) -> int:
    fields = _text(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def _high_water(pid: int) -> int:
    for line in _text(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: str) -> str:
    try:
        with open(path) as stream:  # noqa: PTH123 - called forty times a second: pathlib costs as much as the read
            return stream.read()
    except OSError:
        return ""
