"""Whose an attached layer version is: a builder's, which a deploy may detach, or someone else's, which stays.

Lambda knows only that a version is attached. Names and records of earlier deploys go stale: a build that waited for its
turn, a rollback, an upgrade or a lost bucket leave a layer attached of which they say nothing, and it would cover the
new one in /opt for ever. So this asks what cannot go stale:

- the version itself: builders sign what they publish, in the description, which nobody can change;
- the note that is written before a build attaches a layer that is not the function's own (`borrowed`), and stays: so a
  layer that the build file named by its ARN once is detached when the build file names it no more.

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
    """What is known of layer versions, for one deploy of `function`; asks Lambda once for each.

    Args:
        known: ARNs that the last deploy attached, as the store remembers it. If it does, a call is saved; that a build
            attached a version stays true.
        warn: told what the user has to know, in words.
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
        """What Lambda says of the version, None if it is gone.

        Raises:
            AccessDenied, AwsRefused: AWS will not tell.
        """
        if arn not in self._contents:
            self._contents[arn] = read_content(self._clients, arn)
        return self._contents[arn]

    def readable(self, arn: str) -> LayerContent | None:
        """The same, and None where the builder may not see it."""
        try:
            return self.content(arn)
        except AccessDenied:
            return None

    def is_gone(self, arn: str) -> bool:
        """Whether the version was deleted: whoever has it attached keeps it, but nobody can attach it again."""
        try:
            return self.content(arn) is None
        except AccessDenied:
            return False

    def gone(self, arns: Collection[str]) -> frozenset[str]:
        """Those of the versions that were deleted; asked for all at once."""
        with ThreadPoolExecutor(max(1, len(arns))) as pool:
            return frozenset(arn for arn, gone in zip(arns, pool.map(self.is_gone, arns), strict=True) if gone)

    def is_ours(self, arn: str) -> bool:
        """Whether a build attached the version, and not someone else."""
        if arn not in self._ours:
            self._ours[arn] = arn in self.known or self._is_signed(arn) or self.is_noted(arn)
        return self._ours[arn]

    def _is_signed(self, arn: str) -> bool:
        content = self.readable(arn)  # builders only borrow what they can read
        return content is not None and content.is_signed

    def note(self, arns: Iterable[str]) -> None:
        """Write down which versions a build is about to attach, before it does; what is known is noted already."""
        borrowed.note(self._store, self._function, {*arns} - self.known)

    def is_noted(self, arn: str) -> bool:
        """Whether the store knows that a build attached a version of that layer."""
        return arn in self.known or borrowed.is_noted(self._store, self._function, arn)
