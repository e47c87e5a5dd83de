"""Origin of an attached layer version: a builder's, which a deploy may detach, or someone else's, which stays.

Lambda knows only that a version is attached. Names and records of earlier deploys go stale: after a build that waited
for its turn, a rollback, an upgrade or a lost bucket they do not mention a layer that is attached, and it would cover
the new one in /opt for ever. So this module uses sources that cannot go stale:

- the version itself: builders sign what they publish, in the description, which cannot be changed;
- the note that is written before a build attaches a layer that is not the function's own (`borrowed`), and stays: so a
layer that the build file once named by its ARN is detached when the build file no longer names it.

Everything else was attached by someone else and stays, in front of ours, so that it cannot cover them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import AccessDenied
from builder.publishing import borrowed
from builder.publishing.layers import read_content

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.publishing.layers import LayerContent
    from builder.store.s3 import S3Store


class Origins:
    """Knowledge about layer versions for one deploy of `function`; asks Lambda once for each.

    Args:
        known: ARNs that the last deploy attached, as the store remembers it. They save calls, and cannot become false.
            warn: receives sentences for the user.
    """

    def __init__(
        self,
        clients: Clients,
        store: S3Store,
        function: str,
        *,
        known: Collection[str] = (),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clients = clients
        self._store = store
        self._function = function
        self.known = frozenset(known)
        self._contents: dict[str, LayerContent | None] = {}
        self._ours: dict[str, bool] = {}
        self.warn = warn

    def content(self, arn: str) -> LayerContent | None:
        """Return Lambda's facts of the version, None if it is gone.

        Raises:
            AccessDenied, AwsRefused: AWS refuses to read it.
        """
        if arn not in self._contents:
            self._contents[arn] = read_content(self._clients, arn)
        return self._contents[arn]

    def readable(self, arn: str) -> LayerContent | None:
        """Return the same, or None if the builder may not see it."""
        try:
            return self.content(arn)
        except AccessDenied:
            return None

    def is_gone(self, arn: str) -> bool:
        """Tell whether the version was deleted: functions keep it, but it cannot be attached again."""
        try:
            return self.content(arn) is None
        except AccessDenied:
            return False

    def gone(self, arns: Collection[str]) -> frozenset[str]:
        """Return the deleted ones among the versions; ask for all at once."""
        # A function has five layers at most, so this is the number of threads.
        with ThreadPoolExecutor(max(1, len(arns))) as pool:
            return frozenset(arn for arn, gone in zip(arns, pool.map(self.is_gone, arns), strict=True) if gone)

    def is_ours(self, arn: str) -> bool:
        """Tell whether a build attached the version, and not someone else."""
        if arn not in self._ours:
            self._ours[arn] = arn in self.known or self._is_signed(arn) or self.is_noted(arn)
        return self._ours[arn]

    def _is_signed(self, arn: str) -> bool:
        content = self.readable(arn)  # builders borrow only layers that they can read
        return content is not None and content.is_signed

    def note(self, arns: Iterable[str]) -> None:
        """Note the versions that a build is about to attach, before it does; known ones have a note already."""
        borrowed.note(self._store, self._function, {*arns} - self.known)

    def is_noted(self, arn: str) -> bool:
        """Tell whether the store has a note that a build attached a version of that layer."""
        return arn in self.known or borrowed.is_noted(self._store, self._function, arn)
