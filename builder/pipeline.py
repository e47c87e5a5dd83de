"""The flow of one build: look → fetch → read → lock → plan → build → check → publish → reply."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder import credentials, fetching, reply
from builder.assembly import assemble
from builder.checks import check
from builder.context import Context
from builder.equipping import equip
from builder.errors import FunctionBusy, PathNotFound
from builder.plan import choose_components
from builder.project import Project, read_project
from builder.publishing import deployment
from builder.publishing.release import Overtaken, release, remember
from builder.publishing.steps import FunctionState
from builder.request import Action, Request
from builder.runtimes import architecture_of
from builder.situation import Situation, look

if TYPE_CHECKING:
    from builder.records.claim import Claim
    from builder.sources import git

# How often a build begins again because the branch has moved while it waited for its turn.
_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build's reply, and what it takes to deploy the same again, where something was deployed.

    `restored` is the id of the build that a rollback has returned to.
    """

    reply: reply.Reply
    deployment: dict[str, object] | None = field(default=None, repr=False)
    restored: str | None = None


def build(request: Request, context: Context, claim: Claim) -> Built:
    """Build what the request asks for and publish what differs; with action `plan`, only say what would happen.

    Args:
        claim: to the build id; taken before anything is published, and never for a plan.

    Raises:
        LambdasmithError: with the phase in which it arose. What was deployed before is as it was, or complete.
        AlreadyTaken: somebody else works on the build id.
    """
    for _ in range(_TRIES):
        with context.progress.phase("look", "looking at the repository and the function"):
            situation = look(request, context)
        try:
            return _build(request, situation, context, claim)
        except Overtaken:
            context.progress.say("the branch has moved on; beginning again")
    raise FunctionBusy(
        f"{request.function}: the branch moved {_TRIES} times while this build waited for its turn",
        hint="others are deploying newer commits; run the same command again if they do not",
    )


def _build(request: Request, situation: Situation, context: Context, claim: Claim) -> Built:
    progress, resolved, is_plan = context.progress, situation.resolved, request.action == Action.PLAN
    if resolved and (last := situation.answered(request)):
        return Built(reply=last.again(resolved.commit, resolved.ref) | reply.account(progress))
    domain = fetching.domain(request, resolved, context)
    context.workspace.enter(domain)
    with context.workspace.scratch() as scratch:
        known = situation.known_trees(request)
        with progress.phase("fetch", "fetching the source"):
            snapshot = fetching.fetch(request, resolved, context, scratch, known=known)
        if situation.last and not {snapshot.tree, snapshot.subtree}.isdisjoint(known):
            return Built(reply=situation.last.again(snapshot.commit, snapshot.ref) | reply.account(progress))
        with progress.phase("read", f"reading {request.path or 'the project'} at {snapshot.commit[:12]}"):
            project = _project(request, snapshot, situation, context)
            exists = situation.state is not None or request.action == Action.PACKAGE  # that makes no function
            chosen = choose_components(project.names, request.components, function_exists=exists)
        shop = equip(resolved, domain, context, scratch)
        before = situation.last.keys if situation.last else {}
        made = assemble(project, chosen, shop, force=request.force, upgrade=request.upgrade, dry=is_plan, before=before)
        with progress.phase("check", "checking the artifacts"):
            layers = situation.last.layers if situation.last else {}
            foreign = deployment.foreign_layers(request.function or "", situation.state, layers)
            if request.action == Action.PACKAGE:
                # What the function of that name has now says nothing of what somebody else deploys.
                foreign = list(request.attached)
            checked = check(made, shop, function=request.function or "", foreign=foreign, dry=is_plan)
        with progress.phase("publish", "comparing with what is deployed"):
            answer = reply.assembled(made, checked) | {"commit": snapshot.commit, "ref": snapshot.ref}

            def planned(state: FunctionState | None) -> deployment.Deployment:
                return deployment.of_project(request, made.project, made.artifacts, context, state, before=layers)

            if request.action == Action.PACKAGE:
                return Built(reply=answer | reply.packaged(made, context.store) | reply.account(progress))
            if is_plan:
                wanted = planned(situation.state)
                state = wanted.observed(situation.state, context.clients)
                return Built(
                    reply=answer | reply.planned(made, wanted, state, situation.last) | reply.account(progress)
                )
            released = release(planned, situation, request, context, claim, keep=project.spec.keep)
            answer |= reply.outcome(released, request)
            if not released.published.steps:
                return Built(reply=answer | reply.account(progress))
            keys = {**before} | {plan.component.name: plan.component.key for plan in made.plans}
            remember(
                released,
                situation,
                context,
                claim,
                commit=snapshot.commit,
                tree=snapshot.tree if made.project.reads_outside else snapshot.subtree,
                keys=keys,
                answer=answer,
            )
        return Built(
            reply=answer | reply.account(progress),
            deployment=released.deployment.as_json(released.published, request, lock=made.lock_id),
        )


def _project(request: Request, snapshot: git.Snapshot, situation: Situation, context: Context) -> Project:
    """The project at the snapshot; what there is to say of it is said.

    What names no architecture stays as the function is, or becomes as the builder is.
    """
    root = snapshot.root / request.path if request.path else snapshot.root
    if not root.is_dir():
        raise PathNotFound(f"{request.path} is not a directory of the repository at {snapshot.commit[:12]}")
    state, resolved, progress = situation.state, situation.resolved, context.progress
    project = read_project(
        root,
        request.build_file,
        commit_time=snapshot.commit_time,
        architecture=request.architecture,
        otherwise=architecture_of(state.architecture if state else platform.machine()),
        repository=snapshot.root,
        function=request.function or "",
    )
    credentials.check_allowed(project.spec, request.function or "", resolved.url if resolved else "", context)
    progress.warn(project.runtime_warning)
    for note in project.notes:
        progress.say(note)
    given = {"version": request.version, "alias": request.alias, "invoke": request.payload is not None}
    if project.spec.function is None and (idle := [field for field, is_given in given.items() if is_given]):
        progress.warn(
            f"the project has no function: {', '.join(idle)} of the event {'do' if idle[1:] else 'does'} nothing"
        )
    return project
