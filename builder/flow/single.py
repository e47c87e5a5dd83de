"""One function, or layers alone: what is ordered for it, what becomes of the order, and how that is published."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.context import Context
from builder.errors import InvalidEvent
from builder.event.request import Action, Request
from builder.flow import allowance, fetching, reply
from builder.flow.order import Order
from builder.flow.release import Released, release, remember
from builder.flow.situation import Situation
from builder.publishing import deployment, overlaps
from builder.publishing.origins import Origins
from builder.publishing.steps import FunctionState
from builder.records.builds import Builds
from builder.runtimes import architecture_of
from builder.store.keeping import Damaged
from builder.trust.roles import Roles

if TYPE_CHECKING:
    from builder.making.product import Product, Several, Unchanged
    from builder.making.project import Outline
    from builder.publishing.deployed import Deployed
    from builder.publishing.remembered import Remembered
    from builder.records.claim import Claim
    from builder.records.record import DeploymentRecord
    from builder.replies.reply import Reply

# Recorded builds to search for the components of the attached layers; each takes a request.
_REMEMBERED = 5


class SeveralFound(Exception):
    """The project has several functions."""

    def __init__(self, several: Several) -> None:
        super().__init__()
        self.several = several


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build's reply, and the record that deploys the same again, if anything was deployed.

    `restored` is the id of the build to which a rollback has returned. `revision_id` is Lambda's id of the function's
    state now, if that tells all: settings that have calls of their own, versions and aliases do not change it.
    """

    reply: Reply
    deployment: DeploymentRecord | None = field(default=None, repr=False)
    restored: str | None = None
    revision_id: str = ""


def build_one(
    request: Request, situation: Situation, context: Context, claim: Claim, *, known: Remembered | None = None
) -> Built:
    """Build and publish one function.

    Args:
        known: what is known of the project's functions, if it should have several.

    Raises:
        SeveralFound: the project has several, and nothing was made yet.
        Overtaken, LambdasmithError, AlreadyTaken: as `pipeline.build`.
    """
    resolved = situation.resolved
    if resolved and (last := situation.answered(request)):
        return again(last, resolved.commit, resolved.ref, context)
    from builder.making.product import Several, Unchanged  # only here: it imports pydantic, half of a cold start

    origins = origins_of(situation, request, context)
    order = order_for(request, situation, context, origins)
    if known:
        order = replace(order, standing={key: row.reads for key, row in known.rows.items()})
    made = product_of(order, context)
    if isinstance(made, Several):
        raise SeveralFound(made)
    if situation.denied is not None:
        raise situation.denied
    if isinstance(made, Unchanged):
        return unchanged(made, situation, context)
    return publish(made, order, request, situation, context, claim, origins)


def unchanged(made: Unchanged, situation: Situation, context: Context) -> Built:
    """Return the reply where nothing is left to do."""
    if situation.last is None:
        raise AssertionError("what has not changed is compared with what was deployed")
    return again(situation.last, made.commit, made.ref, context)


def again(last: Deployed, commit: str, ref: str, context: Context) -> Built:
    """Return the reply of a deploy that holds for this commit as well."""
    tells_all = not (last.extras or last.alias or last.version)
    revision = last.revision_id if tells_all else ""
    return Built(reply=last.again(commit, ref) | reply.account(context.progress), revision_id=revision)


def publish(
    made: Product,
    order: Order,
    request: Request,
    situation: Situation,
    context: Context,
    claim: Claim,
    origins: Origins,
) -> Built:
    """Publish what was made of an order, or say what that would be.

    Raises:
        OwnTarget: the build file names a part of the builder.
        Overtaken, LambdasmithError, AlreadyTaken: as `release`.
    """
    if request.stack:
        raise InvalidEvent(
            f"stack: {made.outline.spec.file} is a build file, and no template of a stack",
            hint="leave out --stack to deploy",
        )
    # Checked again here: the worker's account of the build file cannot be trusted.
    context.settings.reach.check_project(made.outline.spec, order.function)
    _warn_of_idle_fields(request, made.outline, context)
    with context.progress.phase("publish", "comparing with what is deployed"):
        built = _published(request, made, situation, context, claim, origins)
    return replace(built, reply=built.reply | reply.account(context.progress))  # with this last phase


def origins_of(situation: Situation, request: Request, context: Context) -> Origins:
    """Return what is known of who attached the layers that the function has."""
    known = [arn for _, arn in situation.last.attached] if situation.last else []
    return Origins(context.clients, context.store, request.function or "", known=known, warn=context.progress.warn)


def order_for(request: Request, situation: Situation, context: Context, origins: Origins) -> Order:
    """Return the order to make what the request asks for."""
    state, last = situation.state, situation.last
    packages = request.action == Action.PACKAGE
    # Packages are for someone else's function: one here that has the same name has nothing to do with it.
    present = state.layers if state else ()
    foreign = request.attached if packages else [arn for arn in present if not origins.is_ours(arn)]
    return Order(
        source=fetching.source_of(request, situation.resolved, context),
        domain=situation.domain,
        function=request.function or "",
        key=request.key,
        stage=request.stage,
        parameters=request.parameters,
        shared=request.project or bool(request.key),
        path=request.path,
        build_file=request.build_file,
        components=request.components,
        architecture=request.architecture,
        force=request.force and not request.made,
        upgrade=request.upgrade and not request.made,
        dry=request.action == Action.PLAN,
        exists=state is not None or packages,  # packaging creates no function, so it needs no complete build
        otherwise=architecture_of(state.architecture if state else platform.machine()),
        foreign=tuple(foreign),
        known=situation.known_trees(request),
        keys=last.keys if last else {},
        variables=situation.variables,
        roles=None if packages else _roles(state, context),
    )


def _roles(state: FunctionState | None, context: Context) -> Roles:
    present = None if state is None else str(state.settings.get("Role", ""))
    reach = context.settings.reach
    return Roles(default=context.settings.role, present=present, allowed=reach.roles, own=reach.own_roles)


def product_of(order: Order, context: Context) -> Product | Unchanged | Several:
    """Build the order, in the worker if there is one, else here.

    Raises:
        LambdasmithError: as `making.make`.
    """
    if context.settings.worker:
        from builder.flow.workers import made_by_worker

        return made_by_worker(order, context)
    from builder.flow.making import make

    def allow(outline: Outline) -> None:
        context.settings.reach.check_project(outline.spec, order.function)
        allowance.check(outline.spec, order.function, order.resolved, context)

    return make(order, context, allow=allow)


def _published(
    request: Request, made: Product, situation: Situation, context: Context, claim: Claim, origins: Origins
) -> Built:
    last = situation.last
    answer: Reply = {**reply.assembled(made), "commit": made.commit, "ref": made.ref}

    def planned(state: FunctionState | None, last: Deployed | None) -> deployment.Deployment:
        layers = {entry for entry in made.outline.spec.layer_order if isinstance(entry, str)}
        before = {} if layers <= {*made.artifacts} else _layers_there(request, context, state, last, origins)
        return deployment.of_project(request, made.outline, made.artifacts, context, state, origins, before=before)

    if request.action == Action.PACKAGE:
        return Built(reply=answer | reply.packaged(made, context.store))
    if request.action == Action.PLAN:
        wanted = planned(situation.state, last)
        overlaps.warn(wanted, situation.state, context)
        state = wanted.observed(situation.state, context.clients)
        return Built(reply=answer | reply.planned(made, wanted, state, last))
    released = release(planned, situation, request, context, claim, keep=made.outline.spec.keep)
    answer |= reply.outcome(released, request)
    revision = _telling_revision(released, request)
    if not released.published.steps and last is not None:
        return Built(reply=answer, revision_id=revision)
    keys = {**(last.keys if last else {})} | {plan.component.name: plan.component.key for plan in made.plans}
    remember(released, situation, context, claim, commit=made.commit, tree=made.tree, keys=keys, answer=answer)
    # Recorded even if nothing had to be changed, when the store has no record of a deploy: a rollback and `verify`
    # need one.
    return Built(
        reply=answer,
        deployment=released.deployment.record(
            released.published,
            request,
            lock=made.lock_id,
            origin=allowance.origin(situation.resolved, context),
        ),
        revision_id=revision,
    )


def _telling_revision(released: Released, request: Request) -> str:
    """Return the revision of the function's state, if nothing else has to be looked at to see a change; else ""."""
    state, wanted = released.published.state, released.deployment.wanted
    if state is None or wanted is None or wanted.extras or request.alias or request.version:
        return ""
    return state.revision_id


def _layers_there(
    request: Request, context: Context, state: FunctionState | None, last: Deployed | None, origins: Origins
) -> Mapping[str, str]:
    """Return ARNs of the function's present layers by component, for components that are left out of a build."""

    def memories() -> Iterator[list[tuple[str, str]]]:
        if last is not None:
            yield last.attached
        for record in Builds(context.store).records(request.function or "", _REMEMBERED):
            if not isinstance(record, Damaged) and record.deployed:
                yield [(row.component, row.arn) for row in record.deployed.layers if row.arn]

    return deployment.known_layers(state, memories(), origins)


def _warn_of_idle_fields(request: Request, outline: Outline, context: Context) -> None:
    given = {"version": request.version, "alias": request.alias, "invoke": request.payload is not None}
    if outline.spec.function is None and (idle := [field for field, is_given in given.items() if is_given]):
        context.progress.warn(
            f"the project has no function: {', '.join(idle)} of the event {'have' if idle[1:] else 'has'} no effect"
        )
