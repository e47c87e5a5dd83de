"""The publication of a built project: under the function's lease, from the function's state then, and recorded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import FunctionBusy, LambdasmithError
from builder.flow.situation import Situation, look
from builder.publishing import deployed, overlaps
from builder.publishing.functions import wait_until_settled
from builder.publishing.housekeeping import tidy
from builder.publishing.publish import Published, Publisher
from builder.publishing.steps import writes
from builder.publishing.versions import read_published
from builder.records import lease
from builder.records.builds import Builds

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.context import Context
    from builder.event.request import Request
    from builder.publishing.deployed import Deployed
    from builder.publishing.deployment import Deployment
    from builder.publishing.steps import FunctionState
    from builder.records.claim import Claim

log = logging.getLogger(__name__)

# Attempts at publishing, each from the function's new state after someone else has changed it; none overwrites theirs.
_TRIES = 3
# A state read less than this many seconds ago counts as present: a change since then might also have come just after
# the build.
_FRESH_S = 1.0


class Overtaken(Exception):
    """The branch moved on while this build waited for its turn, so its result is out of date."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """Result of publishing: the `deployment` with the layer versions that it found, and what was `published`.

    `removed` has a sentence for each version that housekeeping removed.
    """

    deployment: Deployment
    published: Published
    removed: tuple[str, ...] = ()


def release(
    planned: Callable[[FunctionState | None, Deployed | None], Deployment],
    situation: Situation,
    request: Request,
    context: Context,
    claim: Claim,
    *,
    keep: int | None,
) -> Released:
    """Publish what differs. A build that finds nothing to change neither claims nor leases anything.

    Args:
        planned: returns the deployment for a state of the function and the store's record of its last deploy.
        claim: taken before anything is published. keep: versions that housekeeping leaves, None for all.

    Raises:
        Overtaken: the branch has another commit now; begin again with that.
        FunctionBusy: someone else is changing the function and does not finish in time.
        AlreadyTaken: someone else works on the build id.
        InvokeFailed, AwsRefused: as `Publisher.publish`.
    """
    state = situation.state
    deployment = planned(state, situation.last)
    state = deployment.observed(state, context.clients)
    idle = not writes(deployment.steps(state, {}))
    # Only asked if nothing is to be written: Lambda itself compares the revision before it changes anything.
    changed = idle and _has_changed(situation, request, context)
    if idle and not changed:
        published = publisher_of(deployment, context).publish(deployment.steps, state)
        return Released(deployment=deployment, published=published)
    overlaps.warn(deployment, state, context)
    claim.take()  # only now, before the first change: a build that changes nothing takes neither the id nor the lease
    hold = leased(request, context, claim)
    for tries_left in reversed(range(_TRIES)):
        if changed or hold.waited or tries_left < _TRIES - 1 or (state is not None and state.busy):
            deployment, state = _planned_again(planned, deployment.name, situation, request, context)
        # Before they are attached: housekeeping removes versions that are neither attached nor noted.
        deployment.note_layers()
        publisher = publisher_of(deployment, context, hold.confirm)
        try:
            published = publisher.publish(deployment.steps, state)
        except FunctionBusy:
            # A half-finished deploy is reported: a new decision would begin from a state that no one has wanted.
            if publisher.touched or not tries_left:
                raise
            continue
        published = _completed(published, request, context, deployment.name)
        removed = _tidied(deployment, published, request, context, keep)
        return Released(deployment=deployment, published=published, removed=removed)
    raise AssertionError("the loop returns or raises")


def _planned_again(
    planned: Callable[[FunctionState | None, Deployed | None], Deployment],
    name: str,
    situation: Situation,
    request: Request,
    context: Context,
) -> tuple[Deployment, FunctionState | None]:
    """Return the deployment for the function's present state, and that state.

    Raises:
        Overtaken: the branch has another commit now.
    """
    again = look(request, context)
    # Compared under the lease: an older commit must not replace a newer one that was deployed meanwhile.
    if again.resolved != situation.resolved:
        # Returns the lease: the next attempt builds first, and others need not wait for that.
        context.until_end.close()
        raise Overtaken
    state = again.state
    if state is not None and state.busy:
        state = settled(name, state, context)
    deployment = planned(state, again.last)
    return deployment, deployment.observed(state, context.clients)


def _has_changed(situation: Situation, request: Request, context: Context) -> bool:
    """Tell whether someone else has changed the function while this build was made, as far as Lambda shows it."""
    if time.monotonic() - situation.at < _FRESH_S:
        return False
    now, then = read_published(context.clients, request.function or "", request.alias), situation.state
    if now is None or then is None:
        return now is not then
    return (now.revision_id, now.alias) != (then.revision_id, then.alias)


def leased(request: Request, context: Context, claim: Claim) -> lease.Lease:
    """Take the function's lease until the end of the invocation: the next build must find this one's record.

    Raises:
        FunctionBusy: another build has it and does not return it in time.
    """
    return context.until_end.enter_context(
        lease.held(
            context.store,
            request.function or "",
            owner=claim.build_id,
            by=request.by or "",
            deadline=context.deadline,
            progress=context.progress,
            ttl_s=context.settings.lease_s,
        )
    )


def remember(
    released: Released,
    situation: Situation,
    context: Context,
    claim: Claim,
    *,
    commit: str,
    tree: str,
    keys: Mapping[str, str],
    answer: Mapping[str, object],
) -> None:
    """Record the deploy in a thread that ends with the invocation, so that the next build sees what has not changed."""
    state, wanted = released.published.state, released.deployment.wanted
    if state is None or wanted is None:
        return

    def write() -> None:
        try:
            if not released.published.steps:
                # The notes may have been lost with the store, and the layers' owners remove versions without a note.
                released.deployment.note_layers()
            deployed.keep(
                context.store,
                released.deployment.name,
                state,
                key=situation.key,
                build_id=claim.build_id,
                commit=commit,
                tree=tree,
                settings=wanted.settings,
                extras=wanted.extras,
                keys=keys,
                reply=answer,
            )
        except LambdasmithError as error:
            log.warning("the deploy was not recorded", extra={"fields": {"error": error.message}})

    thread = threading.Thread(target=write, name="remember", daemon=True)
    thread.start()
    context.until_end.callback(thread.join)


def publisher_of(
    deployment: Deployment, context: Context, confirm: Callable[[str], None] = lambda _: None
) -> Publisher:
    """Return the publisher of the deployment; `confirm` is that of `Publisher`."""
    return Publisher(
        deployment.name,
        context.clients,
        context.store,
        deployment.target,
        context.deadline,
        context.progress,
        confirm=confirm,
    )


def settled(name: str, state: FunctionState, context: Context) -> FunctionState:
    """Wait for the end of someone else's update, and return the function's state then."""
    context.progress.say(f"waiting for another update of {name}")
    wait_s = min(60, context.deadline.check(f"waiting for {name}"))
    return replace(wait_until_settled(context.clients, name, timeout_s=wait_s), alias=state.alias)


def _completed(published: Published, request: Request, context: Context, name: str) -> Published:
    """Read the final state: the versions and aliases have changed since the last look."""
    if published.version is not None:
        published.state = read_published(context.clients, name, request.alias, [published.version])
    return published


def _tidied(
    deployment: Deployment, published: Published, request: Request, context: Context, keep: int | None
) -> tuple[str, ...]:
    if published.version is None and not published.layers:
        return ()
    removed = tidy(
        context.clients,
        context.store,
        deployment.name,
        keep=keep,
        deployment=deployment.record(published, request, lock=None, origin=None),
        records=lambda count: Builds(context.store).records(deployment.name, count),
        deadline=context.deadline,
        progress=context.progress,
    )
    return tuple(removed)
