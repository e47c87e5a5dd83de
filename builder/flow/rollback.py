"""Rollback: return the function, or one of its aliases, to the state in which an earlier build left it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import FunctionMissing, LambdasmithError, UnknownBuild
from builder.flow import reply, way_back
from builder.flow.release import Released, leased, publisher_of, settled
from builder.flow.single import Built
from builder.publishing import deployed, deployment
from builder.publishing.functions import read_function
from builder.publishing.steps import PointAlias
from builder.publishing.versions import read_published
from builder.records.builds import RECORD_HINT, Builds
from builder.store.keeping import Damaged

if TYPE_CHECKING:
    from builder.context import Context
    from builder.event.request import Request
    from builder.plan import Artifact
    from builder.publishing.deployment import Deployment
    from builder.publishing.steps import FunctionState, Step
    from builder.records.claim import Claim
    from builder.records.record import DeploymentRecord, Record
    from builder.replies.accounts import WayBack
    from builder.replies.reply import Reply

# Records to search for the build before the present one; each takes a request.
_LOOK_BACK = 200
# Records to search for the present build, which is the newest successful one.
_PRESENT = 50


def roll_back(request: Request, context: Context, claim: Claim) -> Built:
    """Return to the build that the request names, or to the one before the present one.

    If the alias is named and the build's version still exists, only the alias moves. Otherwise the build's artifacts,
    layers and settings are deployed again.

    Raises:
        UnknownBuild: there is no such build, or none to return to.
        StoreDamaged: a record that decides which build it is cannot be read.
        FunctionMissing: the function does not exist.
        AwsRefused, FunctionBusy: as for any deploy.
    """
    name, progress = request.function or "", context.progress
    with progress.phase("look", "looking for the build to return to"):
        _target(Builds(context.store), request)  # raises its errors before anything is written
        claim.take()
        hold = leased(request, context, claim)
        # Again, under the lease: the build that held it before may have added a record.
        target, alias = _target(Builds(context.store), request)
        request = replace(request, alias=alias)
    with progress.phase("publish", f"returning to build {target.build_id}"):
        state = _present(context, name, alias)
        if state.busy:
            state = settled(name, state, context)
        summary = _summary(target, name, alias, state, context)  # from the state before any change
        wanted, version = _wanted(target, request, state, context)
        publisher = publisher_of(wanted, context, hold.confirm)

        def plan(state: FunctionState | None, made: Mapping[str, str]) -> Sequence[Step]:
            return _steps(wanted, version, state, made)

        # Before the first change: if it fails half-way, the next build must neither remove these layers nor believe the
        # record of the deploy.
        wanted.note_layers()
        deployed.forget(context.store, name)
        published = publisher.publish(plan, wanted.observed(state, context.clients))
        published.version = published.version or version
        released = Released(deployment=wanted, published=published)
    answer: Reply = {"statusCode": 200, "restored": target.build_id, "commit": target.commit, "ref": target.ref}
    answer["rollback"] = summary
    # If only the alias moves, $LATEST keeps its code, but callers get the version's.
    outcome = reply.outcome(released, request, served=wanted.code if version is not None else None)
    return Built(
        reply=answer | outcome | reply.account(progress),
        deployment=replace(_deployment(target), version=published.version, alias=alias),
        restored=target.build_id,
    )


def preview(request: Request, context: Context) -> Reply:
    """Return what `roll_back` would do: from which build to which, and in which steps. Nothing is written.

    Raises:
        UnknownBuild, FunctionMissing, AwsRefused: as `roll_back`.
    """
    name, progress = request.function or "", context.progress
    with progress.phase("look", "looking for the build to return to"):
        target, alias = _target(Builds(context.store), request)
        request = replace(request, alias=alias)
        state = _present(context, name, alias)
        wanted, version = _wanted(target, request, state, context)
        steps = _steps(wanted, version, wanted.observed(state, context.clients), {})
        summary = _summary(target, name, alias, state, context)
        summary["steps"] = [step.sentence for step in steps]
    answer: Reply = {"statusCode": 200, "commit": target.commit, "ref": target.ref, "rollback": summary}
    return answer | reply.account(progress)


def _present(context: Context, name: str, alias: str | None) -> FunctionState:
    state = read_published(context.clients, name, alias)
    if state is None:
        raise FunctionMissing(f"function {name} does not exist", hint="deploy it; there is nothing to return to")
    return state


def _summary(target: Record, name: str, alias: str | None, state: FunctionState, context: Context) -> WayBack:
    found = Builds(context.store).records(name, _PRESENT)
    records = [record for record in found if not isinstance(record, Damaged) and record.deployed]
    return way_back.summary(records, target, alias, state)


def _wanted(target: Record, request: Request, state: FunctionState, context: Context) -> tuple[Deployment, str | None]:
    """Return the wanted deployment, and the version that already has it if only the alias has to move."""
    name, kept = request.function or "", _deployment(target)
    wanted = deployment.of_record(kept, request, name, context, sizes=target.sizes)
    wanted.reach.check_tags(name, {}, state.tags)  # checked here: moving an alias has no step that checks it
    version = _version(kept, wanted, context) if request.alias else None
    if version is not None:
        return wanted, version
    _refuse_without_code(target, wanted, state, context)
    return _with_layers(wanted, target, state, context), None


def _steps(
    wanted: Deployment, version: str | None, state: FunctionState | None, made: Mapping[str, str]
) -> Sequence[Step]:
    alias = wanted.wanted.alias if wanted.wanted else None
    if alias is None or version is None:
        return wanted.steps(state, made)
    served = state.alias if state else None
    done = served is not None and served.serves(version, None)
    return () if done else (PointAlias(name=wanted.name, alias=alias, version=version),)


def _target(builds: Builds, request: Request) -> tuple[Record, str | None]:
    """Return the record of the wanted build, and the alias to move."""
    name = request.function or ""
    if request.build is not None:
        record = builds.find(name, request.build)
        if record.deployed is None:
            raise UnknownBuild(
                f"build {request.build} of {name} has deployed nothing: {record.message or record.state}",
                hint="the function's history lists its builds",
            )
        if request.key:  # one function of a project that is returned as a whole: the project's alias is meant
            return record, request.alias
        return record, request.alias or record.alias
    found = builds.records(name, _LOOK_BACK)
    records = [record for record in found if isinstance(record, Damaged) or record.deployed]
    alias = _read(records[0]).alias if request.alias is None and records else request.alias
    return _before(records, name, alias), alias


def _before(records: Sequence[Record | Damaged], name: str, alias: str | None) -> Record:
    """Return the newest build that deployed something other than the present state.

    Raises:
        StoreDamaged: a newer record cannot be read, and may be the one.
    """
    concerned = (record for each in records if (record := _read(each)) and alias in (None, record.alias))
    present = next(concerned, None)
    if present is not None:
        newer: list[Record] = []
        if present.restored is not None:  # after a rollback, the present state is that of the restored build
            for record in concerned:
                newer.append(record)
                if record.build_id == present.restored:
                    newer.clear()
                    break
        for record in itertools.chain(newer, concerned):
            if record.action == "build" and not _same(record, present):
                return record
    of = f"alias {alias} of {name}" if alias else name
    raise UnknownBuild(f"{of} has no earlier build to return to", hint="the function's history lists its builds")


def _read(record: Record | Damaged) -> Record:
    if isinstance(record, Damaged):
        raise record.error(RECORD_HINT)
    return record


def _deployment(record: Record) -> DeploymentRecord:
    """Return the deployment in a record; `_target` has checked that it has one."""
    if record.deployment is None:
        raise AssertionError(f"build {record.build_id} has deployed nothing")
    return record.deployment


def _same(one: Record, other: Record) -> bool:
    kept = (_deployment(one), _deployment(other))
    fields = [(each.code, each.settings, each.extras, each.runtime, each.architecture) for each in kept]
    layers = [[row.sha256 or row.arn for row in each.layers] for each in kept]
    return fields[0] == fields[1] and layers[0] == layers[1]


def _version(kept: DeploymentRecord, wanted: Deployment, context: Context) -> str | None:
    """Return the version that the build published, if it still exists with the build's code and layers."""
    if kept.version is None:
        return None
    frozen = read_function(context.clients, wanted.name, qualifier=kept.version)
    same = frozen is not None and wanted.code is not None and frozen.code_sha256 == wanted.code.code_sha256
    return kept.version if same and frozen and wanted.has_layers_of(frozen) else None


def _refuse_without_code(target: Record, wanted: Deployment, state: FunctionState, context: Context) -> None:
    """Raise if the code has to be deployed and is not in the store any more, before anything is changed."""
    code = wanted.code
    if code is None or state.code_sha256 == code.code_sha256 or context.store.exists(code.name, sha256=code.sha256):
        return
    raise _lost(code, f"the code of build {target.build_id}", target, context)


def _lost(artifact: Artifact | None, what: str, target: Record, context: Context) -> LambdasmithError:
    """Return the error for an artifact that cannot be deployed again: it is in the bucket and damaged, or is not."""
    again = f"build commit {str(target.commit)[:12]} again"
    if target.ref == "":
        again = f"deploy the same files again (tree {str(target.commit)[:12]})"
    if artifact is not None and context.store.exists(artifact.name):
        why = f"{what} is there, and its content is not what was written"
        return Damaged(place=context.store.place(artifact.name), why=why).error(f"{again}: that replaces it")
    return UnknownBuild(
        f"{what} is no longer in the bucket", hint=f"{again}; expire_days in config.ini says how long code is kept"
    )


def _with_layers(wanted: Deployment, target: Record, state: FunctionState, context: Context) -> Deployment:
    """Replace layer versions that no longer exist: they are published again from their artifacts."""
    choices = []
    for choice in wanted.layers:
        arn = choice.arn
        if arn is not None and arn not in state.layers and wanted.origins.is_gone(arn):
            arn = None
            if choice.artifact is None or not context.store.exists(choice.artifact.name, sha256=choice.artifact.sha256):
                raise _lost(choice.artifact, f"layer {choice.layer} of build {target.build_id}", target, context)
        choices.append(replace(choice, arn=arn))
    return replace(wanted, layers=deployment.distinct(choices, wanted.name))
