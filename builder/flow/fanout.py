"""Many functions, made by many invocations: an execution of Step Functions starts them, and one that publishes.

    build ─> items in S3 ─> execution ─┬─> package one part ─┬─> build with `made` ─> record and reply
                                       ├─> package one part ─┤
                                       └─> …                 ┘

A part is an ordinary request to package some of the project's functions: it fills the store and deploys nothing, so
it grants nothing that its sender could not ask for. The last step is the request that came first, with `made`. It finds
everything in the store; what a part left out, because its builder was killed or because it cannot be built, is made
where it is. So nothing is lost with a part, and each failure is reported by the step that reports everything.

The build id goes with the build: this invocation hands its claim to the execution, whose last step takes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import BuildStopped, InvalidEvent, LambdasmithError
from builder.event.request import Action, ArchiveSource, GitSource, ManifestSource, ObjectSource, Request, Source
from builder.flow import reply
from builder.flow.executions import Executions
from builder.records.builds import Builds
from builder.records.claim import AlreadyTaken

if TYPE_CHECKING:
    from builder.context import Context
    from builder.flow.member import Member
    from builder.flow.situation import Situation
    from builder.records.claim import Claim, State
    from builder.replies.accounts import BuildState
    from builder.replies.reply import Reply

_FOLDER = "fanout"
# Each invocation that runs at a time gets about this many parts: few enough to keep the cost of starting low, and
# enough for those with quick functions to help the others.
_ROUNDS = 4
# Functions in a part: what a killed builder loses, and what must be made within one invocation.
_LARGEST = 10


def begin(members: Sequence[Member], request: Request, whole: Situation, context: Context, claim: Claim) -> None:
    """Have the members made by other invocations, if they are many; else return.

    Raises:
        AlreadyTaken: an execution of Step Functions goes on with the build, or someone else works on its id.
        AwsRefused, AwsUnavailable: Step Functions or S3 refuses.
    """
    if _is_wanted(members, request, context):
        raise AlreadyTaken(_started(members, request, whole, context, claim))


def part_size(functions: int, concurrency: int) -> int:
    """Return how many functions one part has."""
    return min(_LARGEST, max(1, math.ceil(functions / (concurrency * _ROUNDS))))


def _is_wanted(members: Sequence[Member], request: Request, context: Context) -> bool:
    """Tell whether these functions are to be made by other invocations.

    Only for a caller that can ask for the end: others take the answer of the invocation for it.
    """
    settings = context.settings
    if not settings.fan_out or request.action != Action.BUILD or request.made or request.waits:
        return False
    return sum(_is_to_make(member) for member in members) >= settings.fan_out_from


def _is_to_make(member: Member) -> bool:
    return member.situation is None or member.situation.answered(member.request) is None


def _started(members: Sequence[Member], request: Request, whole: Situation, context: Context, claim: Claim) -> State:
    claim.take()
    chosen = [member for member in members if _is_to_make(member)]
    folder, settings = f"{_FOLDER}/{claim.build_id}", context.settings
    source = _in_store(request.source, folder, context)
    size = part_size(len(chosen), settings.fan_out_concurrency)
    parts = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    items = [_part(part, request, source, whole) for part in parts]
    context.store.write_bytes(f"{folder}/items.json", json.dumps(items).encode())
    last = replace(request, source=source, build_id=claim.build_id)
    given = {
        "bucket": settings.bucket,
        "items": context.store.key(f"{folder}/items.json"),
        "build": {**dict(event_of(last)), "made": True, "reply": []},
    }
    execution = Executions(context.clients).start(settings.fan_out, claim.build_id, given)
    return claim.hand_over(execution, f"making {len(chosen)} functions in {len(parts)} parts")


def state_of(build_id: str, builds: Builds, context: Context) -> BuildState:
    """Return the state of a build, which an execution may have; one that has ended without a reply is lost.

    Raises:
        UnknownBuild, StoreDamaged: as `Builds.state`.
    """
    state = builds.state(build_id)
    execution = state.get("execution")
    if execution is None or state["state"] != "running":
        return state
    executions = Executions(context.clients)
    ended = executions.end_of(execution)
    if ended is None:
        if progress := executions.progress(execution):
            state["message"] = f"{state.get('message', '')}: {progress}"
        return state
    again = builds.state(build_id)  # it may have written its end meanwhile
    if again["state"] != "running" or again.get("execution") != execution:
        return again
    words = f"{ended.status.lower()}{f': {ended.cause}' if ended.cause else ''}"
    return {**again, "state": "failed", "message": f"execution {execution.rpartition(':')[2]} has ended: {words}"}


def stop(request: Request, context: Context) -> Reply:
    """Stop a build before it publishes; nothing is left half done, and what was made stays in the store.

    Raises:
        UnknownBuild: there is none of that id.
        InvalidEvent: it has ended, or one invocation does all of it.
    """
    build_id, builds = request.build_id or "", Builds(context.store)
    state = builds.look(build_id)
    if state is None or not state.execution:
        raise _cannot(builds.state(build_id))
    # Before the execution is stopped: its last step, if it starts now, finds that the build is someone else's.
    claim = builds.claim(build_id, state.function or "", resumes=True)
    claim.history = state.history
    try:
        claim.take()
    except AlreadyTaken as taken:
        raise _cannot(taken.state.for_people()) from None
    try:
        Executions(context.clients).stop(state.execution, f"stopped by {request.by or 'a caller'}")
    except LambdasmithError:
        claim.hand_over(state.execution, state.message)
        raise
    by = f" by {request.by}" if request.by else ""
    error = BuildStopped(f"build {build_id} was stopped{by}; nothing was published")
    ended = replace(request, action=Action.BUILD, function=state.function, project=True)
    answer: Reply = {**reply.failure(error), "build_id": build_id}
    builds.end(claim, ended, answer, seconds=state.seconds)
    return {"statusCode": 200, "build": builds.state(build_id)}


def _cannot(state: BuildState) -> InvalidEvent:
    build_id = state["build_id"]
    if state["state"] != "running":
        return InvalidEvent(
            f"build_id: {build_id!r} has ended already, it has {state['state']}",
            hint="to return to what was before it, roll back",
        )
    return InvalidEvent(
        f"build_id: {build_id!r} cannot be stopped: it is in its last invocation, which publishes",
        hint=f"follow it: deploy.sh --status {build_id}; a rollback returns to what was before",
    )


def _in_store(source: Source | None, folder: str, context: Context) -> Source | None:
    """Return the source as a state machine can pass it on; an archive in the event is larger than its limit."""
    if not isinstance(source, ArchiveSource):
        return source
    name = f"uploads/{folder}"
    context.store.write_bytes(name, source.content)
    return ObjectSource(bucket=context.settings.bucket, key=context.store.key(name))


def _part(members: Sequence[Member], request: Request, source: Source | None, whole: Situation) -> dict[str, object]:
    """Return the event that makes some functions."""
    if isinstance(source, GitSource) and whole.resolved:
        # The same ref, not the commit: whose code it is depends on it. If it moves, the last step follows as well.
        source = replace(source, ref=whole.resolved.ref)
    rest = tuple(dict.fromkeys(word for member in members for word in member.request.components))
    wanted = Request(
        action=Action.PACKAGE,
        function=request.function,
        project=True,
        stage=request.stage,
        source=source,
        path=request.path,
        build_file=request.build_file,
        parameters=request.parameters,
        components=(*(member.key for member in members), *rest),
        force=request.force,
        upgrade=request.upgrade,
        by=request.by,
    )
    return {**dict(event_of(wanted)), "reply": []}


def event_of(request: Request) -> Iterator[tuple[str, object]]:
    """Yield the fields of the event that a request can be read from."""
    yield "action", request.action.value
    yield "project", request.function
    if request.alias:
        weighted = {"name": request.alias, "weight": request.weight}
        yield "alias", request.alias if request.weight is None else weighted
    yield from _source(request.source)
    for name in ("stage", "stack", "path", "build_file", "by", "build_id"):
        if value := getattr(request, name):
            yield name, value
    for name in ("independent", "version", "force", "upgrade"):
        if getattr(request, name):
            yield name, True
    if request.components:
        yield "components", list(request.components)
    if request.parameters:
        yield "parameters", dict(request.parameters)


def _source(source: Source | None) -> Iterator[tuple[str, object]]:
    match source:
        case GitSource():
            given = {"repo": source.repo, "repo_name": source.repo_name, "ref": source.ref}
            yield from ((name, value) for name, value in given.items() if value)
        case ObjectSource() | ManifestSource():
            yield "source", {name: value for name, value in vars(source).items() if value}
        case _:
            raise AssertionError("an archive is in the store by now, and a build has a source")
