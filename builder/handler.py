"""Lambda's entry point: event → core → reply. Errors that a user can fix are replies; our own bugs stay Lambda errors.

With `on_error: raise` in the event, both are Lambda errors: tools such as Terraform and Step Functions know no others.
The event of the Go builder's clients, `{name, architecture, archive}`, asks for that by its shape.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.errors import InvalidEvent, LambdasmithError
from builder.flow.bounds import bounded
from builder.invocation import LambdaContext, configure_logging, time_limit
from builder.secrets.masking import Masker
from builder.secrets.surroundings import secrets_of
from builder.system.descendants import StillRunningError
from builder.workspace import execution
from builder.workspace.directory import distrust, full_disk

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.cloudformation.door import Answered
    from builder.context import Context
    from builder.event.request import Request
    from builder.replies.deploys import Error
    from builder.replies.reply import Reply, ShellText, Texts

log = logging.getLogger("builder")

# Where artifacts expire, one that a build uses again is renewed once a day: lifecycle rules count in days.
_DAY_S = 24 * 3600.0
# Time reserved for answering CloudFormation, or for handing over to the next invocation.
_ANSWERING_S = 5.0
# Characters of a message and of a hint that go into the log: Lambda's LogResult is its last 4 KB.
_LOGGED = 1200
_NO_TEXT = "the reply is complete, but its text could not be made: the builder's log has the traceback\n"


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, object]:
    """Answer one event, see docs/reference.md; one of CloudFormation's, see docs/cloudformation.md."""
    masker = Masker()
    for secret in secrets_of(os.environ):
        masker.add(secret, key="password")
    # Secrets of the environment are known to the masker before the first line is logged.
    configure_logging(masker)
    # Before anything of this event is read: processes of an earlier invocation could take part in it.
    execution.begin()
    remaining_s = context.get_remaining_time_in_millis() / 1000
    if isinstance(event, Mapping) and {"RequestType", "ResponseURL"} <= set(event):
        return dict(_custom_resource(event, context, masker, remaining_s))
    from builder.event.read import raises, shortened, wants_text

    reply = _reply(event, context, masker, remaining_s)
    if "error" in reply and raises(event):
        raise _lambda_error(reply["error"], reply.get("build_id", ""))
    answer = dict(reply) if "error" in reply else shortened(reply, event)
    return {**answer, "text": _text(reply, event, masker)} if wants_text(event) else answer


def _reply(
    event: Mapping[str, object], context: LambdaContext, masker: Masker, remaining_s: float, *, waits: bool = False
) -> Reply:
    started = time.monotonic()
    build_id: str | None = None
    try:
        with time_limit(remaining_s), full_disk():
            from builder.event.read import parse_event
            from builder.settings import reach_of

            reach = reach_of(os.environ)
            # The raw event, before it is parsed: whatever form it has, the builder must not become its own target.
            reach.check_event(event)
            request = parse_event(event)
            reach.check_request(request)
            build_id = request.build_id
            request = replace(request, waits=request.waits or waits)
            reply = _answer(request, masker, remaining_s, context.aws_request_id)
    except LambdasmithError as error:
        from builder.flow.reply import failure

        reply = failure(error, build_id=build_id)
    except StillRunningError:
        execution.give_up()  # ends this environment, so only the build that left the processes is lost
    except BaseException:
        # Foreign code may have caused the bug on purpose: the next build uses nothing that this one leaves.
        distrust()
        raise
    # Masked first, cut afterwards: half a secret at the end of a cut text would not be recognized.
    reply = bounded(masker.mask_json(reply))
    error_reply: Mapping[str, object] = reply.get("error") or {}
    log.info(
        "answered",
        extra={
            "fields": {
                "status": reply["statusCode"],
                "code": error_reply.get("code"),
                # Readers of the log alone (LogResult, the console) learn as much as those who get the reply.
                **{key: str(error_reply[key])[:_LOGGED] for key in ("message", "hint") if error_reply.get(key)},
                "build_id": reply.get("build_id"),
                "commit": reply.get("commit"),
                "seconds": round(time.monotonic() - started, 3),
            }
        },
    )
    return reply


def _custom_resource(
    event: Mapping[str, object], context: LambdaContext, masker: Masker, remaining_s: float
) -> Reply | Answered:
    from builder.cloudformation.door import Door, answer
    from builder.cloudformation.memory import Memory
    from builder.flow.reply import failure
    from builder.settings import Settings
    from builder.store.s3 import S3Store

    def memory() -> Memory:
        settings = Settings.from_environment(os.environ)
        return Memory(S3Store(_clients(), settings.bucket, settings.store_prefix))

    def again(sent: Mapping[str, object]) -> None:
        from builder.aws import invoke_later

        # Asynchronously: this invocation is about to end, and Lambda queues the event for the next.
        invoke_later(_clients(), os.environ["AWS_LAMBDA_FUNCTION_NAME"], sent)

    door = Door(
        # Less than there is: the answer still has to reach CloudFormation, or the next attempt.
        reply=lambda sent: _reply(sent, context, masker, remaining_s - min(_ANSWERING_S, remaining_s / 10), waits=True),
        again=again,
        memory=memory,
        masker=masker,
        endpoints=tuple(
            os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3") if os.environ.get(name)
        ),
        log_place=f"log group {os.environ.get('AWS_LAMBDA_LOG_GROUP_NAME')}, request {context.aws_request_id}",
        clock=time.time,
    )
    try:
        return answer(event, door)
    except InvalidEvent as error:
        return failure(error)


def _text(reply: Reply, event: Mapping[str, object], masker: Masker) -> Texts | ShellText:
    """Return the text of a reply for people, which is masked and bounded by then."""
    from builder.event.read import wants_shell
    from builder.flow.report import texts
    from builder.flow.shell import shell

    named = str(event.get("function") or event.get("project") or event.get("name") or "")
    try:
        said = texts(reply, function=masker.mask(named))
    except Exception:
        # Everything that was asked for is done by now: it must not look failed because its text cannot be made.
        log.exception("the text of the reply could not be made")
        said = {"plain": _NO_TEXT, "colour": _NO_TEXT, "times": ""}
    return {"shell": shell(reply, said)} if wants_shell(event) else said


def _lambda_error(error: Error, build_id: str) -> Exception:
    """Return an exception that Lambda's runtime turns into `errorType` (our code) and `errorMessage` (our text)."""
    from builder.flow.report import explained

    kind: type[Exception] = type(error["code"], (Exception,), {})
    # Without phase and code: the text then begins with the message, and the code is the type already.
    report = explained({**error, "phase": "", "code": ""}, build_id=build_id)
    return kind(report.plain.rstrip("\n"))


def _answer(request: Request, masker: Masker, remaining_s: float, request_id: str) -> Reply:
    from builder.event.request import Action
    from builder.flow.selfbuild import require_ready

    if request.deleted:
        return _remove_deleted(request, masker, remaining_s)
    match request.action:
        case Action.PING:
            return _ping() | ({"may_change_itself": _may_change_itself()} if request.rights else {})
        case Action.SETUP:
            return _set_up(request, masker, remaining_s)
        case Action.STATUS:
            return _status(request)
        case Action.HISTORY:
            return _history(request)
        case Action.STOP:
            return _stop(request, masker)
        case Action.PROBE:
            require_ready()
            return _probe(masker, remaining_s)
        case Action.VERIFY:
            require_ready()
            return _verify(request, masker, remaining_s)
        case _:
            require_ready()
            return _work(request, masker, remaining_s, request_id)


def _ping() -> Reply:
    from builder.flow import selfbuild
    from builder.settings import DEFAULT_LAYER, DEFAULT_STORE_PREFIX

    target = selfbuild.own_target()
    return {
        "statusCode": 200,
        "ready": selfbuild.is_ready(),
        "version": __version__,
        "layer_key": selfbuild.attached_layer().get("lock"),
        "versions": selfbuild.versions(),
        "runtime": target.runtime.name,
        "architecture": target.architecture,
        "git_base": os.environ.get("LAMBDASMITH_GIT_BASE", ""),
        "settings": {
            "bucket": os.environ.get("LAMBDASMITH_BUCKET", ""),
            "prefix": os.environ.get("LAMBDASMITH_PREFIX", DEFAULT_STORE_PREFIX),
            "layer": os.environ.get("LAMBDASMITH_LAYER", DEFAULT_LAYER),
        },
    }


def _may_change_itself() -> bool:
    from builder.flow.selfbuild import may_change_itself

    return may_change_itself(_clients(), os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""))


@functools.cache
def _clients() -> Clients:
    """Return the clients for the whole life of the environment: its credentials are the process's, and don't change."""
    from builder.aws import connect
    from builder.settings import PREFIX, reach_of

    clients, account = connect(), reach_of(os.environ).account
    if account is not None:
        # Before the first request: if ours was deleted, anyone who makes a bucket of that name would get our objects.
        clients.expect_owner(os.environ.get(PREFIX + "BUCKET", ""), account)
    return clients


def _context(masker: Masker, remaining_s: float) -> Context:
    from builder.context import Context
    from builder.progress import Progress
    from builder.secrets.surroundings import Surroundings
    from builder.settings import Settings
    from builder.store.s3 import S3Store
    from builder.workspace.directory import Deadline

    around = Surroundings.of(os.environ)
    settings = Settings.from_environment(os.environ)
    clients = _clients()
    # Clients outlive the invocation, their counts and quotas must not.
    clients.begin_build()
    progress = Progress()
    return Context(
        settings=settings,
        clients=clients,
        store=S3Store(
            clients,
            settings.bucket,
            settings.store_prefix,
            warn=progress.warn,
            renew_s=_DAY_S if settings.expire_days else None,
        ),
        workspace=execution.workspace(os.environ),
        deadline=Deadline.after(remaining_s),
        progress=progress,
        environment=around.environment,
        ambient_indexes=around.indexes,
        secrets=masker,
    )


def _set_up(request: Request, masker: Masker, remaining_s: float) -> Reply:
    from builder.flow.reply import account
    from builder.flow.selfbuild import set_up

    context = _context(masker, remaining_s)
    answer = set_up(context, force=request.force, attach=not request.publish_only)
    return answer | account(context.progress) | ({"build_id": request.build_id} if request.build_id else {})


def _remove_deleted(request: Request, masker: Masker, remaining_s: float) -> Reply:
    """Remove the resources of an event that Terraform deletes: only `setup` has any of its own."""
    from builder.event.request import Action
    from builder.flow.selfbuild import remove_layer

    removed = remove_layer(_context(masker, remaining_s)) if request.action == Action.SETUP else []
    return {"statusCode": 200, "removed": removed}


def _status(request: Request) -> Reply:
    from builder.publishing.usage import storage
    from builder.records.builds import Builds

    context = _context(Masker(), 60)
    builds = Builds(context.store)
    if request.build_id is not None:
        from builder.flow.fanout import state_of

        return {"statusCode": 200, "build": state_of(request.build_id, builds, context)}
    if request.function is not None:
        return _ping() | {"builds": builds.of_function(request.function, 10)} | _warnings(context)
    if context.settings.status != "all":
        return _ping()
    used = storage(context.clients, context.store, own_layer=context.settings.layer, deadline=context.deadline)
    return _ping() | {"builds": builds.recent(10), "storage": used} | _warnings(context)


def _stop(request: Request, masker: Masker) -> Reply:
    from builder.flow.fanout import stop

    return stop(request, _context(masker, 60))


def _history(request: Request) -> Reply:
    from builder.records.builds import Builds

    context = _context(Masker(), 60)
    builds, name = Builds(context.store), request.function or ""
    if request.project:
        found = builds.history_of_project(name, request.stage, request.count)
    else:
        found = builds.history(name, request.count)
    return {"statusCode": 200, "history": found} | _warnings(context)


def _warnings(context: Context) -> Reply:
    """Return the warnings of a reply without phases."""
    return {"warnings": list(context.progress.warnings)} if context.progress.warnings else {}


def _probe(masker: Masker, remaining_s: float) -> Reply:
    from builder.flow.selfbuild import own_target
    from builder.natives.probe import probe

    return {"statusCode": 200} | probe(own_target(), _context(masker, remaining_s).store, by=__version__)


def _verify(request: Request, masker: Masker, remaining_s: float) -> Reply:
    from builder.flow.projects import verify_project
    from builder.flow.verify import verify

    return (verify_project if request.project else verify)(request, _context(masker, remaining_s))


def _work(request: Request, masker: Masker, remaining_s: float, request_id: str) -> Reply:
    """Build or roll back under a build id.

    Without one the id is Lambda's request id, which stays the same when Lambda repeats an asynchronous invocation.
    """
    from builder.event.request import Action
    from builder.flow.pipeline import build
    from builder.flow.projects import preview_project, roll_project_back
    from builder.flow.rollback import preview, roll_back
    from builder.flow.tracking import tracked
    from builder.records.builds import Builds

    context = _context(masker, remaining_s)
    build_id = request.build_id or request_id
    if request.action == Action.PLAN:
        with context.until_end:
            return build(request, context, Builds(context.store).claim(build_id, request.function or "")).reply
    if request.preview:
        return preview_project(request, context) if request.project else preview(request, context)
    back = roll_project_back if request.project else roll_back
    work = back if request.action == Action.ROLLBACK else build
    return tracked(work, request, context, build_id)
