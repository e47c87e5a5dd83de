"""A project with several functions: each is made as if it were alone, and published when all could be made.

The source is fetched once, and what one function has built the next one finds in the store: equal inputs have equal
keys, whichever function they belong to. Each function keeps its own lease, record and history; the project's record has
a row for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.errors import FunctionsFailed, FunctionTaken, InvalidEvent, LambdasmithError
from builder.event.request import Action, Request
from builder.flow import reply
from builder.flow.release import Overtaken
from builder.flow.single import Built, order_for, origins_of, product_of, publish, unchanged
from builder.flow.situation import Situation, look
from builder.flow.tracking import ended
from builder.nearest import nearest
from builder.plan import DEPENDENCIES, FUNCTION, UNBUILT
from builder.progress import Moment, Phase, Progress
from builder.publishing import remembered
from builder.records.builds import Builds
from builder.store.keeping import Damaged

if TYPE_CHECKING:
    from builder.context import Context
    from builder.flow.order import Order
    from builder.making.product import Product, Several
    from builder.publishing.origins import Origins
    from builder.records.claim import Claim
    from builder.replies.projects import FunctionRow, FunctionStatus
    from builder.replies.reply import Reply
    from builder.spec.members import BuildFile

_PARALLEL = 8
# How many records of a function are looked through for where it was last deployed from.
_LOOK_BACK = 5


@dataclass(kw_only=True)
class _Member:
    """One of the project's functions, and how far it is."""

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

    @property
    def name(self) -> str:
        """What Lambda calls it."""
        return self.request.function or ""


@dataclass(kw_only=True)
class _Account:
    """What all members took, and what they say, as one."""

    seconds: dict[str, float] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def add(self, member: _Member) -> None:
        """Add what a member's own progress has collected."""
        for phase in member.context.progress.phases:
            self.seconds[phase.name] = round(self.seconds.get(phase.name, 0.0) + phase.seconds, 3)
        for warning in member.context.progress.warnings:
            self.warnings.setdefault(warning, []).append(member.key)

    def close(self, progress: Progress, members: int) -> None:
        """Hand it over to the whole's progress."""
        progress.phases += [Phase(name=name, seconds=seconds) for name, seconds in self.seconds.items()]
        for warning, keys in self.warnings.items():
            progress.warn(warning if len(keys) == members > 1 else f"{', '.join(keys)}: {warning}")


def build_several(several: Several, request: Request, whole: Situation, context: Context, claim: Claim) -> Built:
    """Build the functions that the request is about, and publish those that differ, once all are built.

    Returns:
        A reply with a row for each in `functions`, and an error if one has failed.

    Raises:
        InvalidEvent: the request names a function or component that the project does not have.
        Overtaken: begin again, with the commit that the branch has now.
        OwnTarget, AccessDenied: a function is not one that the builder may deploy.
    """
    members = [*_members(several.file, request, context)]
    _look(members, whole, context)
    if not context.settings.worker:
        from builder.flow.making import set_bench

        set_bench(whole.domain, context)
    for number, member in enumerate(members):
        member.build_id = f"{claim.build_id[:110]}.{number}"
        _attempt(member, _make)
    may_publish = request.independent or not any(member.error for member in members)
    if request.action in (Action.PLAN, Action.PACKAGE) or may_publish:
        for member in members:
            if member.error is None:
                _attempt(member, _publish)
    account = _Account()
    for member in members:
        account.add(member)
    account.close(context.progress, len(members))
    answer = _answer(members, several.commit, several.ref, context)
    names = {member.key: member.name for member in members}
    if request.action == Action.BUILD and "error" not in answer and not request.components:
        _warn_of_removed(request, several.file, context)
        remembered.keep(context.store, request.function or "", key=whole.key, commit=several.commit, names=names)
    return Built(reply=answer | reply.account(context.progress))


def nothing_changed(request: Request, whole: Situation, context: Context) -> Built | None:
    """Return the reply if the last deploy of the project was of this commit, and all its functions are as it left them.

    Nothing is fetched for it.
    """
    if not request.project or request.action != Action.BUILD or whole.resolved is None:
        return None
    known = remembered.read(context.store, request.function or "")
    if known is None or (known.key, known.commit) != (whole.key, whole.resolved.commit):
        return None
    members = [_member(key, name, request, context) for key, name in known.names.items()]
    _look(members, whole, context)
    for member in members:
        last = member.situation.answered(member.request) if member.situation else None
        if last is None:
            return None
        member.built = Built(reply=last.again(whole.resolved.commit, whole.resolved.ref))
    answer = _answer(members, whole.resolved.commit, whole.resolved.ref, context)
    return Built(reply=answer | reply.account(context.progress))


def _member(key: str, name: str, request: Request, context: Context, *, named: bool = False) -> _Member:
    whole = context.progress

    def relay(moment: Moment) -> None:
        whole.relay(moment.phase, f"{key}: {moment.message}")

    own = replace(request, function=name, project=False, key=key)
    # Its lease and its record end with it, not with the whole.
    apart = replace(context, progress=Progress(relay), until_end=ExitStack())
    return _Member(key=key, named=named, request=own, context=apart)


def _members(file: BuildFile, request: Request, context: Context) -> Iterable[_Member]:
    """Yield the functions that the request is about."""
    keys = {**{name: key for key, name in file.names.items()}, **{key: key for key in file.functions}}
    words = [word for word in request.components if word in keys]
    if not request.project:
        if (asked := request.function or "") not in keys:
            raise InvalidEvent(
                f"function: {asked!r} is none of the functions in {file.file}{nearest(asked, keys)}",
                hint=f"it has {', '.join(file.functions)}; without a function's name, all are meant",
            )
        words = [asked]
    rest = tuple(word for word in request.components if word not in keys)
    _check_words(rest, file, keys)
    chosen = [key for key in file.functions if not words or key in {keys[word] for word in words}]
    chosen = [key for key in chosen if not rest or set(rest) & {*_components(file, key)}]
    if request.payload is not None and len(chosen) != 1:
        raise InvalidEvent(
            f"invoke: {len(chosen)} functions are deployed, and the payload is for one",
            hint="name the function that it is for",
        )
    for key in chosen:
        parts = tuple(word for word in rest if word in _components(file, key))
        asked_for = replace(request, components=parts)
        member = _member(key, file.names[key], asked_for, context, named=bool(words))
        # The build file names them, not the caller: what is refused to callers is refused to it.
        context.settings.reach.check_event({"function": member.name})
        context.settings.reach.check_request(member.request)
        yield member


def _components(file: BuildFile, key: str) -> Collection[str]:
    spec = file.functions[key]
    # Dependencies may also lie beside the handler, unsaid.
    return [FUNCTION, DEPENDENCIES, *(entry for entry in spec.layer_order if isinstance(entry, str))]


def _check_words(words: Sequence[str], file: BuildFile, keys: Iterable[str]) -> None:
    known = dict.fromkeys(name for key in file.functions for name in _components(file, key))
    for word in words:
        if word not in known:
            raise InvalidEvent(
                f"components: {word!r} is neither a function nor a component of {file.file}"
                f"{nearest(word, [*keys, *known])}",
                hint=f"its functions are {', '.join(file.functions)}, its components {', '.join(known)}",
            )


def _look(members: Sequence[_Member], whole: Situation, context: Context) -> None:
    """Ask what each function is now, all at once."""
    with (
        context.progress.phase("look", f"looking at {len(members)} functions"),
        ThreadPoolExecutor(_PARALLEL) as pool,
    ):
        asked = [pool.submit(look, member.request, member.context, within=whole) for member in members]
        for member, answer in zip(members, asked, strict=True):
            member.situation = answer.result()


def _attempt(member: _Member, work: Callable[[_Member], None]) -> None:
    """Do a part of the work of one function; what fails there is that function's."""
    try:
        work(member)
    except Overtaken:
        raise
    except LambdasmithError as error:
        member.error = error


def _make(member: _Member) -> None:
    from builder.making.product import Product, Unchanged

    request, situation, context = member.request, member.situation, member.context
    if situation is None:
        raise AssertionError("a function is made after it was looked at")
    if situation.resolved and (last := situation.answered(request)):
        member.built = Built(reply=last.again(situation.resolved.commit, situation.resolved.ref))
        return
    _refuse_taken(member, situation)
    member.origins = origins_of(situation, request, context)
    member.order = order_for(request, situation, context, member.origins)
    made = product_of(member.order, context)
    match made:
        case Unchanged():
            member.built = unchanged(made, situation, context)
        case Product():
            member.made = made
        case _:
            raise AssertionError("an order with a key is about one function")


def _refuse_taken(member: _Member, situation: Situation) -> None:
    """Raise if a function of that name is someone else's: the build file says what it is called, not the caller.

    Raises:
        FunctionTaken: another repository, or nothing that this builder knows of, has deployed it.
    """
    if situation.state is None or member.named or member.request.action == Action.PACKAGE:
        return
    records = Builds(member.context.store).records(member.name, _LOOK_BACK)
    deployed = [record.deployed for record in records if not isinstance(record, Damaged) and record.deployed]
    origin = deployed[0].origin if deployed else None
    here = situation.resolved.url if situation.resolved else None
    if deployed and (origin is None or here is None or origin.url == here):
        return
    whose = f"was last deployed from {origin.url}" if origin else "was never deployed by this builder"
    raise FunctionTaken(
        f"functions.{member.key}: a function {member.name} exists, and {whose}",
        hint=f"to take it over, name it: deploy.sh {member.key}; or give yours another `name` in the build file",
    )


def _publish(member: _Member) -> None:
    situation, made, order, origins = member.situation, member.made, member.order, member.origins
    if made is None or situation is None or order is None or origins is None:
        return  # nothing is left to do
    builds = Builds(member.context.store)
    claim = builds.claim(member.build_id or "", member.name)
    with member.context.until_end:
        try:
            member.built = publish(made, order, member.request, situation, member.context, claim, origins)
        except LambdasmithError as error:
            member.error = error
        if member.request.action == Action.BUILD:
            ended(builds, claim, member.request, member.context, built=member.built, error=member.error)


def _answer(members: Sequence[_Member], commit: str, ref: str, context: Context) -> Reply:
    rows = [_row(member) for member in members]
    answer: Reply = {
        "statusCode": 200,
        "commit": commit,
        "ref": ref,
        "functions": rows,
        "changed": [f"{row['key']}: {sentence}" for row in rows for sentence in row["changed"]],
    }
    failed = [member for member in members if member.error is not None]
    if failed:
        error = _failure(failed, [row for row in rows if row["status"] == "deployed"], len(members))
        answer = answer | reply.failure(error)
    return answer


def _failure(failed: Sequence[_Member], deployed: Sequence[FunctionRow], count: int) -> LambdasmithError:
    problems = [f"{member.key}: {member.error.message}" for member in failed if member.error]
    first = failed[0].error
    if first is None:
        raise AssertionError("a member that failed has an error")
    if count == 1:
        return first
    done = f"{len(deployed)} were deployed" if deployed else "nothing was deployed"
    summary = f"{len(failed)} of {count} functions failed, and {done}:"
    return FunctionsFailed(
        "\n".join([summary, *(f"  {problem}" for problem in problems)]),
        hint=first.hint,
        log_tail=first.log_tail,
        phase=first.phase,
        problems=problems if len(problems) > 1 else (),
    )


def _row(member: _Member) -> FunctionRow:
    built, made = member.built, member.made
    changed = list(built.reply.get("changed", ())) if built else []
    row: FunctionRow = {
        "key": member.key,
        "name": member.name,
        "status": _status(member, changed),
        "changed": changed,
        "build_id": _deployed_by(member, changed),
    }
    if member.error is not None:
        row["error"] = reply.failure(member.error)["error"]
    if made is not None:
        known = [artifact for artifact in made.artifacts.values() if artifact is not UNBUILT]
        row["size"] = sum(artifact.size for artifact in known)
        row["unzipped"] = sum(artifact.unzipped for artifact in known)
    if built is None:
        return row
    if (now := built.reply.get("function")) and "arn" in now:
        row["arn"], row["version"], row["alias"] = now["arn"], now["version"], now["alias"]
    if "plan" in built.reply:
        row["plan"] = built.reply["plan"]
        row["changed"] = list(built.reply["plan"]["publish"])
    if "packages" in built.reply:
        row["packages"], row["artifacts"] = built.reply["packages"], built.reply["artifacts"]
    return row


def _status(member: _Member, changed: Sequence[str]) -> FunctionStatus:
    if member.error is not None:
        return "failed"
    if member.built is None:
        return "built"
    if member.request.action == Action.PACKAGE:
        return "packaged"
    if member.request.action == Action.PLAN:
        if not member.built.reply["plan"]["publish"]:
            return "unchanged"
        return "create" if member.situation and member.situation.state is None else "update"
    return "deployed" if changed else "unchanged"


def _deployed_by(member: _Member, changed: Sequence[str]) -> str | None:
    """Return the id of the build that the function is of now, as far as that is known."""
    if changed and member.request.action == Action.BUILD:
        return member.build_id
    return member.situation.last.build_id if member.situation and member.situation.last else None


def _warn_of_removed(request: Request, file: BuildFile, context: Context) -> None:
    known = remembered.read(context.store, request.function or "")
    gone: Mapping[str, str] = {} if known is None else known.names
    for key, name in gone.items():
        if key not in file.functions:
            context.progress.warn(f"{key} is no longer in {file.file}; function {name} is still there, as it was")
