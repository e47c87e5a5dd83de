"""Actions about a deployed project that may have several functions: the way back, and whether it is what was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError, UnknownBuild
from builder.flow import reply, way_back
from builder.flow.member import Member, answer_of, attempt, collect, member_of, under_claim
from builder.flow.rollback import preview, roll_back
from builder.flow.single import Built
from builder.flow.verify import verify
from builder.publishing import remembered
from builder.records.builds import RECORD_HINT, Builds
from builder.records.record import project_history
from builder.store.keeping import Damaged
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.context import Context
    from builder.event.request import Request
    from builder.records.claim import Claim
    from builder.records.record import Record
    from builder.replies.accounts import VerifiedRow
    from builder.replies.reply import Reply

# How many records of a project are looked through for the deploy before the present one.
_LOOK_BACK = 200


def roll_project_back(request: Request, context: Context, claim: Claim) -> Built:
    """Return to an earlier deploy of a project, which may have a single function.

    Raises:
        UnknownBuild: there is no such deploy, or none to return to.
        StoreDamaged: a record that decides which one it is cannot be read.
    """
    target = _target(request, context)
    if target is None:
        context.settings.reach.check_request(replace(request, project=False))
        return roll_back(request, context, claim)
    found, alias = target
    members = _members(found, replace(request, alias=alias), context)
    _warn_of_newer(members, request, context)
    claim.history = project_history(request.function or "", request.stage)
    claim.take()
    for member in members:
        under_claim(member, claim, partial(roll_back, member.request, member.context))
    collect(members, context.progress)
    answer: Reply = {**answer_of(members), "commit": found.commit, "ref": found.ref, "restored": found.build_id}
    return Built(reply=answer | reply.account(context.progress), restored=found.build_id)


def preview_project(request: Request, context: Context) -> Reply:
    """Say what `roll_project_back` would do. Nothing is written.

    Raises:
        UnknownBuild, StoreDamaged: as `roll_project_back`.
    """
    target = _target(request, context)
    if target is None:
        context.settings.reach.check_request(replace(request, project=False))
        return preview(request, context)
    found, alias = target
    members = _members(found, replace(request, alias=alias), context)
    _warn_of_newer(members, request, context)
    for member in members:
        attempt(member, _preview)
    collect(members, context.progress)
    answer: Reply = {**answer_of(members), "commit": found.commit, "ref": found.ref}
    answer["rollback"] = {"now": None, "then": way_back.there(found), "alias": alias, "differences": []}
    return answer | reply.account(context.progress)


def verify_project(request: Request, context: Context) -> Reply:
    """Build what is deployed of all functions of a project again, and compare.

    Raises:
        LambdasmithError: as `verify`, with the function's name.
    """
    members = _deployed(request, context)
    if members is None:
        return verify(request, context)
    rows: list[VerifiedRow] = []
    commits = set[str | None]()
    for member in members:
        context.progress.say(f"building {member.key} again")
        try:
            answer = verify(member.request, member.context)
        except LambdasmithError as error:
            error.message = f"{member.key}: {error.message}"
            raise
        for warning in member.context.progress.warnings:
            context.progress.warn(f"{member.key}: {warning}")
        rows += [{**row, "name": f"{member.key}/{row['name']}"} for row in answer["verify"]["components"]]
        commits.add(answer["commit"])
    same = all(row["same"] for row in rows)
    answer = {
        "statusCode": 200,
        "commit": commits.pop() if len(commits) == 1 else None,  # each function may be of another
        "verify": {"build": request.build, "same": same, "components": rows},
    }
    return answer | reply.account(context.progress)


def _deployed(request: Request, context: Context) -> Sequence[Member] | None:
    """Return the project's functions as they were deployed last, or by the build that is named; None if it has one.

    Raises:
        UnknownBuild: the named build did not deploy all of them.
    """
    if request.build is not None:
        target = _target(request, context)
        return _members(target[0], request, context) if target else None
    known = remembered.read(context.store, request.function or "", request.stage)
    return [member_of(key, name, request, context) for key, name in known.names.items()] if known else None


def _preview(member: Member) -> None:
    member.built = Built(reply=preview(member.request, member.context))


def _members(target: Record, request: Request, context: Context) -> Sequence[Member]:
    """Return the functions that the project had then, each with the build that it was of."""
    members = []
    for row in Fields(target.reply).rows("functions"):
        build = row.text_or_none("build_id")
        if build is not None:
            one = member_of(row.text("key"), row.text("name"), replace(request, build=build), context)
            context.settings.reach.check_event({"function": one.name})
            context.settings.reach.check_request(one.request)
            one.restored = build
            members.append(one)
    return members


def _warn_of_newer(members: Sequence[Member], request: Request, context: Context) -> None:
    known = remembered.read(context.store, request.function or "", request.stage)
    then = {member.name for member in members}
    for name in known.names.values() if known else ():
        if name not in then:
            context.progress.warn(f"{name} was no part of that deploy, and stays as it is")


def _target(request: Request, context: Context) -> tuple[Record, str | None] | None:
    """Return the deploy of the project to return to, and the alias that is meant.

    It is None if the project has a single function.

    Raises:
        UnknownBuild: there is none.
    """
    project, builds = request.function or "", Builds(context.store)
    if request.build is not None:
        record = builds.find(project, request.build, history=project_history(project, request.stage))
        if "functions" not in record.reply:
            return None
        if record.stage != request.stage:
            raise UnknownBuild(
                f"build {request.build} is of {f'stage {record.stage}' if record.stage else 'no stage'}",
                hint=f"give --stage {record.stage}" if record.stage else "leave out --stage",
            )
        if record.state != "succeeded" or record.reply.get("partial"):
            raise UnknownBuild(
                f"build {request.build} of {project} did not deploy all of its functions",
                hint="the project's history lists its deploys; name one that did",
            )
        return record, request.alias or record.alias
    half_done = False
    deploys: list[Record] = []
    for each in builds.records_of_project(project, request.stage, _LOOK_BACK):
        if isinstance(each, Damaged):
            raise each.error(RECORD_HINT)
        if each.state == "succeeded" and not each.reply.get("partial"):
            deploys.append(each)
        elif each.changed and not deploys:
            half_done = True
    if not deploys:
        return None
    # Only deploys to the alias are ways back for it; without one, that of the last deploy is meant.
    alias = request.alias or deploys[0].alias
    deploys = [record for record in deploys if alias in (None, record.alias)]
    found = _before(deploys, half_done=half_done)
    if found is None:
        of = f"alias {alias} of {project}" if alias else project
        raise UnknownBuild(
            f"{of} has no earlier deploy of all functions to return to",
            hint="the project's history lists its deploys; a single function is named with -f",
        )
    return found, alias


def _before(deploys: Sequence[Record], *, half_done: bool) -> Record | None:
    """Return the deploy before the present one, of those that succeeded, the newest first.

    Args:
        half_done: a newer one has published some functions and failed: the way back from it leads to the newest.
    """
    if half_done or not deploys:
        return next(iter(deploys), None)
    present = deploys[0].restored or deploys[0].build_id
    made = [record for record in deploys if record.action == "build"]
    at = next((number for number, record in enumerate(made) if record.build_id == present), 0)
    return made[at + 1] if at + 1 < len(made) else None
