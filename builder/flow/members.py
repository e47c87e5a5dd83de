"""A project with several functions: each is made as if it were alone, and published when all could be made.

The source is fetched once, and what one function has built the next one finds in the store: equal inputs have equal
keys, whichever function they belong to. Each function keeps its own lease, record and history; the project's record has
a row for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import FunctionTaken, InvalidEvent
from builder.event.request import Action, Request
from builder.flow import fanout, reply
from builder.flow.member import Member, answer_of, attempt, collect, deployed_by, member_of, under_claim
from builder.flow.single import Built, again, build_one, order_for, origins_of, product_of, publish, unchanged
from builder.flow.situation import Situation, look
from builder.nearest import nearest
from builder.plan import DEPENDENCIES, FUNCTION
from builder.publishing import remembered
from builder.records.builds import Builds
from builder.store.keeping import Damaged
from builder.workspace.domains import one_spelling

if TYPE_CHECKING:
    from builder.context import Context
    from builder.making.product import Several
    from builder.publishing.remembered import Remembered, Row
    from builder.records.claim import Claim
    from builder.records.record import Record
    from builder.replies.reply import Reply
    from builder.spec.members import BuildFile

_PARALLEL = 8
_PUBLISH = "publish"
# Records to search for a function's last deploy; those of deploys that failed are among them.
_FEW, _MANY = 5, 200


def build_several(
    several: Several,
    request: Request,
    whole: Situation,
    context: Context,
    claim: Claim,
    *,
    known: Remembered | None = None,
) -> Built:
    """Build the functions that the request is about, and publish those that differ, once all are built.

    Args:
        known: what is known of the project's last deploy, with the functions that stand.

    Returns:
        A reply with a row for each in `functions`, and an error if one has failed. Of a function that the request
        itself names, the reply that it has where it is the only one.

    Raises:
        InvalidEvent: the request names a function or component that the project does not have.
        Overtaken: begin again, with the commit that the branch has now.
        OwnTarget, AccessDenied: a function is not one that the builder may deploy.
        AlreadyTaken: an execution of Step Functions goes on with the build, see `fanout`.
    """
    members = [*members_in(several.file, request, context)]
    if template := several.file.template:
        _refuse_deploy(several.file.file, template.kind, request)
        for note in template.notes:
            context.progress.note(note)
    if not request.project:
        # As if it were the only one: its build has the caller's id.
        alone = members[0].request
        return build_one(alone, look(alone, context, within=whole), context, claim)
    differing = _differing(members, several, known)
    look_at(differing, whole, context)
    fanout.begin(differing, request, whole, context, claim)
    make_all(differing, whole, context)
    may_publish = request.independent or not any(member.error for member in members)
    if differing and (request.action in (Action.PLAN, Action.PACKAGE) or may_publish):
        with context.progress.phase(_PUBLISH, f"publishing {len(differing)} functions"):
            _publish_all(differing, claim)
    for member in differing:
        _find_build(member)
    collect(differing, context.progress, at_once=[_PUBLISH])
    answer = _answer(members, several, request, whole, context)
    return Built(reply=answer | reply.account(context.progress))


def _answer(members: Sequence[Member], several: Several, request: Request, whole: Situation, context: Context) -> Reply:
    """Return the reply about all functions, after what remains to be done once all are published."""
    answer: Reply = {**answer_of(members), "commit": several.commit, "ref": several.ref}
    if request.components:
        answer["partial"] = True
    if "error" in answer:
        return answer
    template = several.file.template
    if template and template.kind == "cloudformation" and request.action == Action.PACKAGE:
        from builder.flow.packaged_template import written

        answer["template"] = written(members, several, template, context.store)
    if request.action == Action.BUILD and not request.components:
        _remember(members, several, request, whole, context)
    return answer


def _refuse_deploy(file: str, kind: str, request: Request) -> None:
    """Raise if functions of a template are to be deployed: they belong to a stack.

    Raises:
        InvalidEvent: with what to do instead.
    """
    if request.action == Action.PACKAGE:
        return
    if kind == "serverless":
        raise InvalidEvent(
            f"{file} is the Serverless Framework's: its functions are deployed by `serverless deploy`",
            hint="deploy.sh --package DIR, with package: {artifact: DIR/NAME/function.zip} for each function; or write "
            "a build.yaml to deploy without it",
        )
    raise InvalidEvent(
        f"{file} is a CloudFormation template: its functions are deployed by its stack",
        hint="deploy.sh --package-template OUT.yaml, then sam deploy -t OUT.yaml or aws cloudformation deploy; "
        "or deploy.sh --stack NAME: new code for the functions of an existing stack",
    )


def _differing(members: Sequence[Member], several: Several, known: Remembered | None) -> Sequence[Member]:
    """Return the functions that have to be looked at, after noting of the others that they stand."""
    for member in members:
        row = known.rows.get(member.key) if known and member.key in several.same else None
        # Checked again here, as the worker's account cannot be trusted: under another name it is another function.
        if known and row and known.names[member.key] == member.name:
            member.standing = replace(row, commit=several.commit)
    return [member for member in members if member.standing is None]


def make_all(members: Sequence[Member], whole: Situation, context: Context) -> None:
    """Make the functions one by one, from one checkout; what fails is each one's own.

    Raises:
        OutOfTime: as `attempt`.
    """
    if not context.settings.worker:
        from builder.flow.making import shared_checkout

        shared_checkout(whole.domain, context)
    for member in members:
        attempt(member, _make)


def _find_build(member: Member) -> None:
    """Look up of which build a function is that has been deployed, but not in this way."""
    if member.situation and member.situation.last is None and member.situation.state and member.error is None:
        last = _last_deploy(member)
        member.of_build = (last.restored or last.build_id) if last else None


def nothing_changed(known: Remembered, request: Request, whole: Situation, context: Context) -> Built | None:
    """Return the reply if the last deploy of the project was of this commit, and all its functions are as it left them.

    Nothing is fetched for it.

    Args:
        known: what is known of that deploy, with the functions that stand.
    """
    if whole.resolved is None or known.commit != whole.resolved.commit:
        return None
    members = [member_of(key, name, request, context) for key, name in known.names.items()]
    for member in members:
        row = known.rows.get(member.key)
        member.standing = row if row and row.commit == known.commit else None
    others = [member for member in members if member.standing is None]
    look_at(others, whole, context)
    for member in others:
        last = member.situation.answered(member.request) if member.situation else None
        if last is None:
            return None
        member.built = again(last, whole.resolved.commit, whole.resolved.ref, member.context)
    answer: Reply = {**answer_of(members), "commit": whole.resolved.commit, "ref": whole.resolved.ref}
    return Built(reply=answer | reply.account(context.progress))


def members_in(file: BuildFile, request: Request, context: Context) -> Iterable[Member]:
    """Yield the functions that the request is about."""
    by_name = {name: key for key, name in file.names.items()}
    keys = {**by_name, **{key: key for key in file.functions}}
    words = [word for word in request.components if word in keys]
    if not request.project:
        # By its name in Lambda, under which its records are kept: a key may be the name of another function there.
        if (asked := request.function or "") not in by_name:
            meant = f"; Lambda calls it {file.names[asked]}" if asked in file.names else nearest(asked, by_name)
            raise InvalidEvent(
                f"function: {asked!r} is no function of {file.file}{meant}",
                hint=f"they are called {', '.join(by_name)} in Lambda; give project instead to deploy all",
            )
        words = [asked]
    rest = tuple(word for word in request.components if word not in keys)
    _check_words(rest, file, keys)
    chosen = [key for key in file.functions if not words or key in {keys[word] for word in words}]
    chosen = [key for key in chosen if not rest or set(rest) & {*_components(file, key)}]
    if not chosen:
        raise InvalidEvent(
            f"components: {', '.join(words)} {'have' if words[1:] else 'has'} no {' or '.join(rest)}",
            hint="name functions that have it, or no function at all",
        )
    if request.payload is not None and len(chosen) != 1:
        raise InvalidEvent(
            f"invoke: {len(chosen)} functions are deployed, and the payload is for one",
            hint="name the function that it is for",
        )
    for key in chosen:
        parts = tuple(word for word in rest if word in _components(file, key))
        asked_for = replace(request, components=parts)
        member = member_of(key, file.names[key], asked_for, context, named=bool(words))
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


def look_at(members: Sequence[Member], whole: Situation, context: Context) -> None:
    """Ask what each function is now, all at once."""
    if not members:
        return
    with (
        context.progress.phase("look", f"looking at {len(members)} functions"),
        ThreadPoolExecutor(_PARALLEL) as pool,
    ):
        asked = [pool.submit(look, member.request, member.context, within=whole) for member in members]
        for member, answer in zip(members, asked, strict=True):
            member.situation = answer.result()


def _make(member: Member) -> None:
    from builder.making.product import Product, Unchanged

    request, situation, context = member.request, member.situation, member.context
    if situation is None:
        raise AssertionError("a function is made after it was looked at")
    if situation.resolved and (last := situation.answered(request)):
        member.built = again(last, situation.resolved.commit, situation.resolved.ref, context)
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


def _refuse_taken(member: Member, situation: Situation) -> None:
    """Raise if a function of that name is someone else's: the build file says what it is called, not the caller.

    Raises:
        FunctionTaken: another repository, or nothing that this builder knows of, has deployed it.
    """
    if situation.state is None or member.named or member.request.action == Action.PACKAGE:
        return
    last = _last_deploy(member)
    whose = _other_owner(last, member.request, situation.resolved.url if situation.resolved else None)
    if not whose:
        return
    raise FunctionTaken(
        f"functions.{member.key}: a function {member.name} exists, and {whose}",
        hint=f"to take it over, name it: deploy.sh {member.key}; or give yours another `name` in the build file",
    )


def _last_deploy(member: Member) -> Record | None:
    """Return the record of the function's last deploy that succeeded."""
    builds = Builds(member.context.store)
    for count in (_FEW, _MANY):  # mostly it is the newest
        records = builds.records(member.name, count)
        for record in records:
            if not isinstance(record, Damaged) and record.deployed:
                return record
        if len(records) < count:
            break
    return None


def _other_owner(last: Record | None, request: Request, url: str | None) -> str:
    """Say whose function it is by its last deploy; return nothing if it is the request's own.

    Args:
        url: the repository that the request is about, None for files that were sent.
    """
    if last is None or last.deployed is None:
        return "was never deployed by this builder"
    if last.path != request.path and last.group:
        return f"was last deployed from {last.path or 'the root'} of its repository"
    if last.stage != request.stage:
        return f"was last deployed {f'at stage {last.stage}' if last.stage else 'without a stage'}"
    origin = last.deployed.origin
    if origin is not None and url is not None:
        same = one_spelling(origin.url) == one_spelling(url)
    else:
        # Files that were sent come from no repository: the project's name is all that is known of them.
        same = last.group == request.group or (origin is None and url is None)
    if same:
        return ""
    return f"was last deployed from {origin.url}" if origin else "was last deployed from files that were sent"


def _publish_all(members: Sequence[Member], claim: Claim) -> None:
    """Publish several functions at a time; those that share a new layer after the first of them, which publishes it."""
    waiting, published = [*members], set[str]()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        while waiting:
            now, later, first = list[Member](), list[Member](), set[str]()
            for member in waiting:
                fresh = _layers(member) - published
                (later if fresh & first else now).append(member)
                first |= fresh
            for done in [pool.submit(_publish, member, claim) for member in now]:
                done.result()
            waiting, published = later, published | first


def _layers(member: Member) -> set[str]:
    """Return the hashes of the function's layers, as far as they were made now."""
    made = member.made.artifacts if member.made else {}
    return {artifact.sha256 for name, artifact in made.items() if name != FUNCTION}


def _publish(member: Member, whole: Claim) -> None:
    situation, made, order, origins = member.situation, member.made, member.order, member.origins
    if made is None or situation is None or order is None or origins is None:
        return  # it has failed, or nothing is left to do
    under_claim(
        member, whole, lambda claim: publish(made, order, member.request, situation, member.context, claim, origins)
    )


def _remember(
    members: Sequence[Member], several: Several, request: Request, whole: Situation, context: Context
) -> None:
    """Record a deploy of all functions, and warn of those that are no longer among them."""
    project, names = request.function or "", {member.key: member.name for member in members}
    before = remembered.read(context.store, project, request.stage)
    for key, name in before.names.items() if before else ():
        if name not in names.values():
            gone = f"{key} is no longer in {several.file.file}; function {name} is still there, as it was"
            context.progress.warn(gone)
    rows = {member.key: row for member in members if (row := _row(member, several))}
    deploy = remembered.Remembered(key=whole.key, commit=several.commit, names=names, rows=rows)
    remembered.keep(context.store, project, request.stage, deploy)


def _row(member: Member, several: Several) -> Row | None:
    """Return what the next deploy needs to know of a function to leave it out; None if it has to look in full."""
    if member.standing or member.built is None or not member.built.revision_id:
        return member.standing
    function = member.built.reply.get("function")
    if function is None or "arn" not in function:
        return None
    return remembered.Row(
        revision_id=member.built.revision_id,
        commit=several.commit,
        reads=several.reads[member.key],
        arn=function["arn"],
        build_id=deployed_by(member),
    )
