"""One build per function at a time: a lease in the store, taken, renewed and returned by conditional writes.

    with held(store, "thumbs", owner=build_id, by="zoe", deadline=deadline, progress=progress) as lease:
        lease.confirm("updating the code of thumbs")
        …

No clock is compared with another: S3 says how old a lease is, a waiting build sees how long it stood unchanged, and
the holder counts from the moment when it asked for the last renewal. So a lease that cannot be read expires like any
other: by S3's date. Its holder, if there is one, finds out when it renews it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from builder.amounts import seconds
from builder.errors import FunctionBusy, LambdasmithError
from builder.records.ownership import Ownership
from builder.store.values import Fields, UnfitError

if TYPE_CHECKING:
    from builder.progress import Progress
    from builder.store.s3 import S3Store, Version
    from builder.workspace.directory import Deadline

log = logging.getLogger(__name__)

# Long enough to survive a renewal that is retried, short enough to wait for after a builder was killed.
TTL_S = 15.0
# Between two looks at someone else's lease: soon at first, since most builds are short, then at most once a second.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _GROWTH = 0.05, 1.0, 1.5
# Kept back from the deadline, so that there is time left to say who was waited for.
_RESERVE_S = 1.0


@contextlib.contextmanager
def held(
    store: S3Store,
    function: str,
    *,
    owner: str,
    by: str,
    deadline: Deadline,
    progress: Progress,
    ttl_s: float = TTL_S,
    wait_s: float | None = None,
) -> Iterator[Lease]:
    """Hold the function's lease in the block; it is given back however the block ends.

    Args:
        owner: id of the build that wants it.
        by: who asked for the build, shown to others who wait; may be empty.
        ttl_s: how long the lease of a killed builder blocks others.
        wait_s: how long to wait for another build; by default until the deadline.

    Raises:
        FunctionBusy: another build has it, and did not give it back in time.
    """
    lease = Lease(store, function, owner=owner, by=by, ttl_s=ttl_s)
    wait_s = deadline.remaining() - _RESERVE_S if wait_s is None else min(wait_s, deadline.remaining() - _RESERVE_S)
    ended = threading.Event()
    renewer = threading.Thread(target=lease.keep, args=(ended,), name=f"lease of {function}", daemon=True)
    try:
        lease.take(wait_s, progress)
        renewer.start()
        yield lease
    # The renewing thread ends first: it must not write the lease again after it was removed.
    finally:
        ended.set()
        if renewer.ident is not None:
            renewer.join()
        lease.give_back()


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Content of a lease: for which build, of whom, for how many seconds (when written), doing what.

    `ttl_s` is how long it lasts without a renewal.
    """

    function: str
    owner: str
    by: str
    held_s: float
    ttl_s: float
    doing: str

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store."""
        return asdict(self)

    @classmethod
    def parse(cls, kept: Fields) -> Hold:
        """Parse the output of `as_json`."""
        return cls(
            function=kept.text("function"),
            owner=kept.text("owner"),
            by=kept.text("by"),
            held_s=kept.number("held_s"),
            ttl_s=kept.number("ttl_s"),
            doing=kept.text("doing"),
        )

    @classmethod
    def of(cls, version: Version | None) -> Hold | None:
        """Parse a version that was read; None if it cannot be understood."""
        try:
            return cls.parse(Fields(version.value)) if version else None
        except UnfitError:
            return None


class Lease:
    """One build's hold on a function. `waited`: another build had it before, so what was read may be stale."""

    def __init__(self, store: S3Store, function: str, *, owner: str, by: str, ttl_s: float) -> None:
        self.waited = False
        self._function = function
        self._own = Ownership(store, f"leases/{function}.json")
        self._ttl_s = ttl_s
        self._hold = Hold(function=function, owner=owner, by=by, held_s=0.0, ttl_s=ttl_s, doing="starting")
        self._seized_at = 0.0
        self._lock = threading.Lock()

    def confirm(self, doing: str) -> None:
        """Make sure that the function is still ours, before something in it changes.

        A renewal less than a third of `ttl_s` ago is proof enough; otherwise this is a write.

        Args:
            doing: the change, shown to others who wait.

        Raises:
            FunctionBusy: another build took the lease over.
        """
        # Together with the renewing thread: two writes at once would each find the other's in the way.
        with self._lock:
            # Written with the next renewal, so that waiting builds can name what is going on.
            self._hold = replace(self._hold, doing=doing)
            if self._own.is_ours and (not self._is_old() or self._renew()):
                return
            raise self._taken_over(doing)

    def take(self, wait_s: float, progress: Progress) -> None:
        """Get the lease, waiting at most `wait_s` for another build.

        Raises:
            FunctionBusy: the other build keeps it.
        """
        give_up_at = time.monotonic() + wait_s
        pause_s, seen = _FIRST_PAUSE_S, _Seen(self._ttl_s)
        # Without reading first: nearly always it is free, and this is one request instead of two.
        if self._seize(None):
            return
        self.waited = True
        while True:
            present = self._own.read()
            if present is None or seen.is_over(present):
                if self._seize(present):
                    return
            else:
                # Each time, since the seconds in it change.
                progress.say(f"waiting for {_holder(present, seen.age_s(present))}", urgent=True)
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise self._busy(present)
            # Jitter, so that many who wait do not ask in step.
            time.sleep(min(left_s, pause_s * random.uniform(0.5, 1.5)))  # noqa: S311
            pause_s = min(_LONGEST_PAUSE_S, pause_s * _GROWTH)

    def keep(self, ended: threading.Event) -> None:
        """Renew the lease until `ended` or lost; a single call to AWS may take longer than the lease lasts."""
        while not ended.wait(max(self._ttl_s / 3 - self._own.age_s(), self._ttl_s / 12)):
            with self._lock:
                if ended.is_set():
                    return
                try:
                    if self._is_old() and not self._renew():
                        return
                # A failed renewal is tried again soon: until the lease expires it is still ours.
                except LambdasmithError as error:
                    log.warning("lease not renewed", extra={"fields": {"error": error.message}})

    def give_back(self) -> None:
        """Remove the lease if it is ours. If that fails, it expires by itself."""
        try:
            self._own.remove()
        except LambdasmithError as error:
            log.warning("lease not released", extra={"fields": {"error": error.message}})

    def _seize(self, over: Version | None) -> bool:
        # Before the request: the lease is at most as old as this says, however long the answer takes.
        self._seized_at = time.monotonic()
        return self._own.seize(self._hold.as_json(), over)

    def _renew(self) -> bool:
        self._hold = replace(self._hold, held_s=round(time.monotonic() - self._seized_at, 1))
        return self._own.rewrite(self._hold.as_json())

    def _is_old(self) -> bool:
        return self._own.age_s() >= self._ttl_s / 3

    def _taken_over(self, doing: str) -> FunctionBusy:
        return FunctionBusy(
            f"{doing}: {self._function} was taken over by {_holder(self._own.read())}, because "
            f"this builder had not renewed its lease for {self._ttl_s:g} s",
            hint="run the same command again: it continues from the deployed state",
        )

    def _busy(self, present: Version | None) -> FunctionBusy:
        hold = Hold.of(present)
        which = f"build {hold.owner}" if hold else "it"
        return FunctionBusy(
            f"{self._function} is being changed by {_holder(present)}",
            hint=f"run the same command again when {which} has ended; its status says how far it is",
        )


class _Seen:
    """Another build's lease as a waiting build has seen it, by its own clock.

    A lease that cannot be read lasts `ttl_s`.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._etag = ""
        self._first_at = 0.0

    def is_over(self, present: Version) -> bool:
        """Tell whether its time is over."""
        hold = Hold.of(present)
        return self.age_s(present) > (hold.ttl_s if hold else self._ttl_s)

    def age_s(self, present: Version) -> float:
        """Return its minimum age: by S3's clock, or because it stood unchanged for so long."""
        now = time.monotonic()
        if present.etag != self._etag:
            self._etag, self._first_at = present.etag, now
        return max(present.age_s, now - self._first_at)


def _holder(present: Version | None, age_s: float = 0.0) -> str:
    """Name the holder, and for how long: by its own clock until it wrote that, and `age_s` since then."""
    hold = Hold.of(present)
    if present is None or hold is None:
        return "another build" if present is None else "a build whose lease is damaged"
    by = f" of {hold.by}" if hold.by else ""
    held_s = hold.held_s + max(age_s, present.age_s)
    return f"build {hold.owner}{by}, which has had {hold.function} for {seconds(held_s)}: {hold.doing}"
