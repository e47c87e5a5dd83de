"""One of a project's several functions while it is worked on, and the reply about all of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import FunctionsFailed, LambdasmithError, OutOfTime
from builder.event.request import Action, Request
from builder.flow import reply
from builder.flow.tracking import ended
from builder.plan import UNBUILT
from builder.progress import Moment, Phase, Progress
from builder.records.builds import Builds

if TYPE_CHECKING:
    from builder.context import Context
    from builder.flow.order import Order
    from builder.flow.single import Built
    from builder.flow.situation import Situation
    from builder.making.product import Product
    from builder.publishing.origins import Origins
    from builder.publishing.remembered import Row
    from builder.records.claim import Claim
    from builder.replies.projects import FunctionRow, FunctionStatus
    from builder.replies.reply import Reply

# A build id has at most 128 characters.
_LONGEST_ID = 119


@dataclass(kw_only=True)
class Member:
    """One of the project's functions, and how far it is.

    `named`: the request names it, and not only the project. `build_id` is that of its own part of the build, `restored`
    that of the build which it returns to, `of_build` that of its last deploy where only its records tell. `standing`:
    it is as the project's last deploy left it, and nothing is left to do.
    """

    key: str
    named: bool
    request: Request
    context: Context
    situation: Situation | None = None
    order: Order | None = None
    origins: Origins | None = None
    made: Product | None = None
    built: Built | None = None
    error: LambdasmithError | None = None
    build_id: str | None = None
    restored: str | None = None
    of_build: str | None = None
    standing: Row | None = None

    @property
    def name(self) -> str:
        """What Lambda calls it."""
        return self.request.function or ""


def collect(members: Sequence[Member], progress: Progress, *, at_once: Collection[str] = ()) -> None:
    """Add what all members took, and their warnings and notes, to the whole's progress.

    Args:
        at_once: phases of several members at a time, which the whole has timed.
    """
    seconds: dict[str, float] = {}
    for phase in (phase for member in members for phase in member.context.progress.phases):
        if phase.name not in at_once:
            seconds[phase.name] = round(seconds.get(phase.name, 0.0) + phase.seconds, 3)
    progress.phases += [Phase(name=name, seconds=taken) for name, taken in seconds.items()]
    for warning in _with_names({member.key: member.context.progress.warnings for member in members}):
        progress.warn(warning)
    for note in _with_names({member.key: member.context.progress.notes for member in members}):
        progress.note(note)


def _with_names(said: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what was said of functions, by their keys, each sentence once and with the functions that it is about."""
    about: dict[str, list[str]] = {}
    for key, sentences in said.items():
        for sentence in sentences:
            about.setdefault(sentence, []).append(key)
    for sentence, keys in about.items():
        yield sentence if len(keys) == len(said) > 1 else f"{', '.join(keys)}: {sentence}"


def member_of(key: str, name: str, request: Request, context: Context, *, named: bool = False) -> Member:
    """Return a function that a request about its whole project is about, with a progress of its own."""
    own = replace(request, function=name, project=False, key=key, group=request.function or "")
    # Its lease and its record end with it, not with the whole.
    apart = replace(context, progress=progress_of(key, context.progress), until_end=ExitStack())
    return Member(key=key, named=named, request=own, context=apart)


def progress_of(key: str, whole: Progress) -> Progress:
    """Return a progress for one function, which tells the whole's what is done for it."""

    def relay(moment: Moment) -> None:
        whole.relay(moment.phase, f"{key}: {moment.message}")

    return Progress(relay)


def attempt(member: Member, work: Callable[[Member], None]) -> None:
    """Do a part of the work of one function; what fails there is that function's.

    Raises:
        OutOfTime: the builder's time is over, for all functions: what was made is in the store for the next attempt.
    """
    try:
        work(member)
    except OutOfTime as error:
        error.message = f"{member.key}: {error.message}"
        raise
    except LambdasmithError as error:
        member.error = error


def under_claim(member: Member, whole: Claim, work: Callable[[Claim], Built]) -> None:
    """Do the part of the work of one function that has a claim, a lease and a record of its own.

    A plan and a package leave no record. What fails is that function's.
    """
    builds = Builds(member.context.store)
    # Another id each time: a build that begins again, or is taken over from a builder that was killed, has parts that
    # have ended already.
    member.build_id = f"{whole.build_id[:_LONGEST_ID]}.{uuid.uuid4().hex[:8]}"
    claim = builds.claim(member.build_id, member.name)
    with member.context.until_end:
        try:
            member.built = work(claim)
        except LambdasmithError as error:
            member.error = error
        if member.request.action in (Action.BUILD, Action.ROLLBACK):
            ended(builds, claim, member.request, member.context, built=member.built, error=member.error)


def answer_of(members: Sequence[Member]) -> Reply:
    """Return the reply about all of them, with an error if one has failed."""
    rows = [_row(member) for member in members]
    answer: Reply = {
        "statusCode": 200,
        "functions": rows,
        "changed": [f"{row['key']}: {sentence}" for row in rows for sentence in row["changed"]],
    }
    failed = [member for member in members if member.error is not None]
    if failed:
        error = _failure(failed, [row for row in rows if row["status"] in ("deployed", "restored")], len(members))
        answer = answer | reply.failure(error)
    return answer


def _failure(failed: Sequence[Member], deployed: Sequence[FunctionRow], count: int) -> LambdasmithError:
    problems = [f"{member.key}: {member.error.message}" for member in failed if member.error]
    first = failed[0].error
    if first is None:
        raise AssertionError("a member that failed has an error")
    if count == 1:
        return first
    done = f"{len(deployed)} {'were' if deployed[1:] else 'was'} changed" if deployed else "nothing was changed"
    summary = f"{len(failed)} of {count} functions failed, and {done}:"
    return FunctionsFailed(
        "\n".join([summary, *(f"  {problem}" for problem in problems)]),
        hint=first.hint,
        log_tail=first.log_tail,
        phase=first.phase,
        problems=problems if len(problems) > 1 else (),
    )


def _row(member: Member) -> FunctionRow:
    built, made = member.built, member.made
    changed = list(built.reply.get("changed", ())) if built else []
    row: FunctionRow = {
        "key": member.key,
        "name": member.name,
        "status": _status(member, changed),
        "changed": changed,
        "build_id": deployed_by(member),
    }
    if member.error is not None:
        row["error"] = reply.failure(member.error)["error"]
    if made is not None:
        known = [artifact for artifact in made.artifacts.values() if artifact is not UNBUILT]
        row["size"] = sum(artifact.size for artifact in known)
        row["unzipped"] = sum(artifact.unzipped for artifact in known)
    if member.standing is not None:
        row["arn"], row["version"], row["alias"] = member.standing.arn, None, None
    if built is None:
        return row
    if (now := built.reply.get("function")) and "arn" in now:
        row["arn"], row["version"], row["alias"] = now["arn"], now["version"], now["alias"]
    if "invoke" in built.reply:
        row["invoke"] = built.reply["invoke"]
    if "plan" in built.reply:
        row["plan"] = built.reply["plan"]
        row["changed"] = list(built.reply["plan"]["publish"])
    if "rollback" in built.reply:
        row["rollback"] = built.reply["rollback"]
        if member.request.preview:
            row["changed"] = list(built.reply["rollback"].get("steps", ()))
            row["status"] = "update" if row["changed"] else "unchanged"
    if "packages" in built.reply:
        row["packages"], row["artifacts"] = built.reply["packages"], built.reply["artifacts"]
        row["function"] = reply.function_wanted(made.outline) if made is not None else None
    return row


def _status(member: Member, changed: Sequence[str]) -> FunctionStatus:
    if member.error is not None:
        return "failed"
    if member.standing is not None:
        return "unchanged"
    if member.built is None:
        return "built"
    if member.request.action == Action.PACKAGE:
        return "packaged"
    if member.request.action == Action.PLAN:
        if not member.built.reply["plan"]["publish"]:
            return "unchanged"
        return "create" if member.situation and member.situation.state is None else "update"
    if not changed:
        return "unchanged"
    return "deployed" if member.restored is None else "restored"


def deployed_by(member: Member) -> str | None:
    """Return the id of the build that the function is of now, as far as that is known."""
    if member.restored is not None:
        return member.restored
    if member.standing is not None:
        return member.standing.build_id
    changed = member.built is not None and bool(member.built.reply.get("changed"))
    if changed and member.request.action == Action.BUILD:
        return member.build_id
    last = member.situation.last if member.situation else None
    return last.build_id if last else member.of_build
