"""The situation when a build begins: the commit, the function's state, and the record of its last deploy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.errors import AccessDenied, LambdasmithError
from builder.event.request import Action, Request
from builder.flow import allowance, fetching
from builder.publishing import configuration, deployed
from builder.publishing.deployed import Deployed
from builder.publishing.extras import read_extras
from builder.publishing.steps import FunctionState
from builder.publishing.versions import equal_version, read_published
from builder.sources import git
from builder.workspace.domains import Domain, domain_of

if TYPE_CHECKING:
    from builder.context import Context


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that is known before a file is fetched.

    `key` identifies the request, apart from its source, and the trust `domain`: results of another domain's code do not
    count for this one. `resolved` is None for an archive. `stands`: the last deploy had the same key, and its result is
    still in place. `denied`: the error of reading a function with the project's name, which does not matter if the
    project has several functions. `at` is the time of the look, by the monotonic clock.
    """

    key: str
    domain: Domain
    resolved: git.Resolved | None
    state: FunctionState | None
    last: Deployed | None
    stands: bool
    denied: LambdasmithError | None = None
    at: float = field(default_factory=time.monotonic)

    @property
    def variables(self) -> Mapping[str, str]:
        """Variables of the present function for the trial of its handler; none if the commit is not vouched for."""
        # The code of a proposal would read them, and they may be secrets.
        return self.state.variables if self.state and self.domain.vouched else {}

    def answered(self, request: Request) -> Deployed | None:
        """Return the last deploy if a request for this commit has nothing left to do."""
        last, commit = self.last, self.resolved.commit if self.resolved else ""
        return last if last is not None and last.commit == commit and self._may_stand(request) else None

    def known_trees(self, request: Request) -> tuple[str, ...]:
        """Return ids of trees with which a request has nothing left to do."""
        return (self.last.tree,) if self.last and self._may_stand(request) else ()

    def _may_stand(self, request: Request) -> bool:
        asks_for_more = request.force or request.upgrade or request.payload is not None
        return self.stands and request.action == Action.BUILD and not asks_for_more


def look(request: Request, context: Context, *, within: Situation | None = None) -> Situation:
    """Ask the git server, Lambda and the store at the same time.

    Args:
        within: the situation of the project that the function is one of: its commit, and whose code it is.

    Raises:
        SourceError, AwsRefused: one of them refuses; the git server's error comes first.
    """
    name = request.function or ""
    # Most builds end after this look, so its requests decide how long they take.
    with ThreadPoolExecutor(3) as pool:
        resolving = pool.submit(fetching.resolve, request, context) if within is None else None
        # Packaging doesn't touch Lambda, so don't require permission to read a function that someone else deploys.
        asks = request.action != Action.PACKAGE
        reading = pool.submit(_read, request, context) if asks else None
        remembering = pool.submit(deployed.read, context.store, name)
        resolved = resolving.result() if resolving else within.resolved if within else None
        (state, denied), last = reading.result() if reading else (None, None), remembering.result()
    if request.version and state and last and last.version and state.version is None:
        state = replace(state, version=equal_version(context.clients, name, state, [last.version]))
    domain = within.domain if within else domain_for(request, resolved, context)
    key = deployed.request_key(request, context.settings, domain.id)
    stands = last is not None and last.stands(key, state)
    if request.version and last is not None and state is not None and state.version != last.version:
        stands = False  # someone has removed the published version
    # Last, and only if everything else stands: each extra takes a request.
    if last is not None and stands and last.extras:
        found = read_extras(context.clients, name, last.extras, alias=request.alias)
        stands = not configuration.changes(last.extras, found)
    return Situation(key=key, domain=domain, resolved=resolved, state=state, last=last, stands=stands, denied=denied)


def _read(request: Request, context: Context) -> tuple[FunctionState | None, LambdasmithError | None]:
    """Return the function's state; or why the builder may not read it, if only the project is called so."""
    try:
        if request.project:
            context.settings.reach.check_request(replace(request, project=False))
        return read_published(context.clients, request.function or "", request.alias), None
    except AccessDenied as error:
        if not request.project:
            raise
        return None, error


def domain_for(request: Request, resolved: git.Resolved | None, context: Context) -> Domain:
    """Return the trust domain of the code that a build of the request runs.

    Raises:
        SourceError: the git server does not say which refs the commit is the tip of.
    """
    trusted = resolved is not None and allowance.trusted_commit(resolved, context)
    return domain_of(request, resolved, trusted=trusted, keeping=context.settings.archive_caches)
