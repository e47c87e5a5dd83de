"""Limits, processors and priority of this process, which other processes of its user can change.

No privilege is needed for that, and concealment does not help: `prlimit` only asks for the same user. A lowered limit
would hold for the builds of others, as long as this process lives.
https://man7.org/linux/man-pages/man2/prlimit.2.html
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass

_KINDS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of this process at one moment; priorities and processors are those of every thread."""

    resources: Mapping[int, tuple[int, int]]
    scheduling: frozenset[tuple[int, int, frozenset[int]]]

    @classmethod
    def present(cls) -> Limits:
        """Read the present limits."""
        return cls(
            resources={kind: resource.getrlimit(kind) for kind in _KINDS},
            scheduling=frozenset(found for thread in _threads() if (found := _scheduling(thread)) is not None),
        )

    def restore(self) -> bool:
        """Undo changes; return whether all is as it was, which only root can always achieve."""
        for kind, pair in self.resources.items():
            if resource.getrlimit(kind) != pair:
                with contextlib.suppress(ValueError, OSError):
                    resource.setrlimit(kind, pair)
        for thread in _threads():
            self._reschedule(thread)
        now = Limits.present()
        # A thread may have ended meanwhile, so the present scheduling may be a part of the earlier one.
        return now.resources == self.resources and now.scheduling <= self.scheduling

    def _reschedule(self, thread: int) -> None:
        found = _scheduling(thread)
        if found is None or found in self.scheduling:
            return
        # Every thread of ours starts like the first one.
        policy, nice, processors = min(self.scheduling)
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, processors)
            if found[0] != policy:
                os.sched_setscheduler(thread, policy, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _threads() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208  # called after every child


def _scheduling(thread: int) -> tuple[int, int, frozenset[int]] | None:
    """Return how a thread gets processors; None if it has ended."""
    with contextlib.suppress(OSError):
        return (
            os.sched_getscheduler(thread),
            os.getpriority(os.PRIO_PROCESS, thread),
            frozenset(os.sched_getaffinity(thread)),
        )
    return None
