"""Memory used by the processes of an execution environment, read from /proc without any privilege."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

__all__ = ["MemoryWatch", "below", "peak_bytes", "used_bytes"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_POLL_S = 0.025
# Time between two looks, as a multiple of the processor time that one takes.
_SHARE = 19
# Machinery around the runtime, which Lambda does not count either.
_NOT_COUNTED = {"bwrap", "supervise.sh", "aws-lambda-rie"}


class MemoryWatch:
    """Calls back when processes below a watched one use more than they may. One thread for all of them."""

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
        """Watch what is below the process `root`: `seen` gets every size, `exceeded` is called once; both are quick."""
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
                        continue  # so that after `remove` nobody is called any more
                    seen(used)
                    if used > limit_bytes:
                        del self._watched[root]
                        exceeded()
            # Many are looked at less often: `peak_bytes` sees in the end what was missed.
            time.sleep(max(_POLL_S, _SHARE * (time.thread_time() - begun)))


def used_bytes(root: int) -> int:
    """Resident bytes now of everything below the process `root`, itself and our machinery not counted."""
    return sum(_resident(pid) for pid in _counted(root))


def peak_bytes(root: int) -> int:
    """The greatest resident size that any single process below `root` ever had, which no poll can miss."""
    return max((_high_water(pid) for pid in _counted(root)), default=0)


def _counted(root: int) -> Iterable[int]:
    for pid in below(root):
        # proc_pid_stat(5): the second field is the name, which may hold anything.
        name, found, _ = _text(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
        if found and name not in _NOT_COUNTED:
            yield pid


def below(root: int) -> list[int]:
    """The processes below the process `root`, those that are ending included."""
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
