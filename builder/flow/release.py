"""Publishing a built project: under the function's lease, from the state that it has then, then remembered."""

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

# How often the function is looked at again after someone else has changed it, before anything of it was touched.
_TRIES = 3
# What was read of a function no longer ago counts as what it has: who changes it now could as well come later.
_FRESH_S = 1.0


class Overtaken(Exception):
    """While this build waited for its turn, the branch has moved on: what was built is not what is wanted now."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """What publishing came to: `deployment` with the layer versions that it found, `published` as it went.

    `removed` says in words what housekeeping took away.
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
        planned: the deployment for a state of the function, and what the store remembers of its last deploy.
        claim: to the build id; taken before anything is published.
        keep: how many versions and layer versions housekeeping leaves, None for all.

    Raises:
        Overtaken: begin again, with the commit that the branch has now.
        FunctionBusy: someone else changes the function and does not end in time.
        AlreadyTaken: someone else works on the build id.
        InvokeFailed, AwsRefused: as `Publisher.publish`.
    """
    state = situation.state
    deployment = planned(state, situation.last)
    state = deployment.observed(state, context.clients)
    idle = not writes(deployment.steps(state, {}))
    # Whoever writes is told by the revision.
    changed = idle and _has_changed(situation, request, context)
    if idle and not changed:
        published = publisher_of(deployment, context).publish(deployment.steps, state)
        return Released(deployment=deployment, published=published)
    overlaps.warn(deployment, state, context)
    claim.take()
    hold = leased(request, context, claim)
    for tries_left in reversed(range(_TRIES)):
        if changed or hold.waited or tries_left < _TRIES - 1 or (state is not None and state.busy):
            deployment, state = _planned_again(planned, deployment.name, situation, request, context)
        deployment.note_layers()
        publisher = publisher_of(deployment, context, hold.confirm)
        try:
            published = publisher.publish(deployment.steps, state)
        except FunctionBusy:
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
    if again.resolved != situation.resolved:
        # Gives the lease back: the pipeline starts again, and takes it for the new commit.
        context.until_end.close()
        raise Overtaken
    state = again.state
    if state is not None and state.busy:
        state = settled(name, state, context)
    deployment = planned(state, again.last)
    return deployment, deployment.observed(state, context.clients)


def _has_changed(situation: Situation, request: Request, context: Context) -> bool:
    """Whether someone else has changed the function while this build was made, as far as that can be seen at all."""
    if time.monotonic() - situation.at < _FRESH_S:
        return False
    now, then = read_published(context.clients, request.function or "", request.alias), situation.state
    if now is None or then is None:
        return now is not then
    return (now.revision_id, now.alias) != (then.revision_id, then.alias)


def leased(request: Request, context: Context, claim: Claim) -> lease.Lease:
    """The function's lease, until the end: whoever comes next finds the record of what was done.

    Raises:
        FunctionBusy: someone else has it, and does not give it back in time.
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
    """Keep what was deployed, so that the next build of the same sees it at once. Done by the end, not at once."""
    state, wanted = released.published.state, released.deployment.wanted
    if state is None or wanted is None:
        return

    def write() -> None:
        try:
            if not released.published.steps:
                # After the store was lost: whose layers the function has is what their owners' builds ask for.
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
    """Who carries the deployment out; `confirm` as `Publisher` has it."""
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
    """The function's state once someone else's update of it has ended."""
    context.progress.say(f"waiting for another update of {name}")
    wait_s = min(60, context.deadline.check(f"waiting for {name}"))
    return replace(wait_until_settled(context.clients, name, timeout_s=wait_s), alias=state.alias)


def _completed(published: Published, request: Request, context: Context, name: str) -> Published:
    """With the state as it is in the end: versions and aliases have changed since it was read last."""
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
