"""Work under a build id: the claim to the id, its progress for anyone who asks, and the record of its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.context import Context
from builder.errors import InvalidEvent, LambdasmithError
from builder.event.request import Request
from builder.flow.bounds import bounded, short_line
from builder.flow.reply import account, failure
from builder.flow.single import Built
from builder.progress import BackgroundListener
from builder.records.builds import Builds
from builder.records.claim import AlreadyTaken, Claim, State
from builder.workspace.directory import full_disk

if TYPE_CHECKING:
    from builder.replies.reply import Reply

_CRASHED = "the builder failed with an internal error; its log has the traceback"

Work = Callable[[Request, Context, Claim], Built]


def tracked(work: Work, request: Request, context: Context, build_id: str) -> Reply:
    """Do the work and return its reply; work that has begun or ended elsewhere under the same id is not repeated.

    The lease that `work` takes is released after the record is written.

    Raises:
        InvalidEvent: the build id belongs to another function.
        Exception: our own bug. It is also recorded.
    """
    builds = Builds(context.store)
    present = builds.look(build_id)
    if present is not None and not (request.made and present.execution):
        return _present(present, request)
    claim = builds.claim(build_id, request.function or "", resumes=request.made)
    mask = context.secrets.mask
    # Masked before it is cut and stored: anyone who may invoke the builder can read it.
    listener = BackgroundListener(lambda now: claim.note(replace(now, message=short_line(mask(now.message)))))
    context.progress.listener = listener
    built: Built | None = None
    with context.until_end:
        try:
            with full_disk():
                built = work(request, context, claim)
            reply = built.reply | {"build_id": build_id}
        except AlreadyTaken as taken:
            return _present(taken.state, request)
        except LambdasmithError as error:
            reply = failure(error, build_id=build_id) | account(context.progress)
        except BaseException:
            crash: Reply = {"statusCode": 500, "error": {"code": "internal_error", "message": _CRASHED}}
            builds.end(claim, request, crash | {"build_id": build_id}, seconds=context.progress.seconds())
            raise
        finally:
            listener.close()
        counts: Reply = {"calls": context.clients.calls.by_service(), "stored": context.store.stored}
        return _kept(builds, claim, request, context, reply, built, counts)


def ended(
    builds: Builds,
    claim: Claim,
    request: Request,
    context: Context,
    *,
    built: Built | None,
    error: LambdasmithError | None,
) -> None:
    """Record the end of one part of a build that has a claim of its own."""
    if error is not None:
        reply = failure(error) | account(context.progress)
    elif built is not None:
        reply = built.reply
    else:
        raise AssertionError("what has ended was built or has failed")
    _kept(builds, claim, request, context, reply | {"build_id": claim.build_id}, built, {})


def _kept(
    builds: Builds,
    claim: Claim,
    request: Request,
    context: Context,
    reply: Reply,
    built: Built | None,
    counts: Reply,
) -> Reply:
    """Record the end of a build, and return its reply as it may leave."""
    reply = bounded(context.secrets.mask_json(reply)) | counts
    try:
        builds.end(
            claim,
            request,
            reply,
            seconds=context.progress.seconds(),
            deployment=built.deployment if built else None,
            restored=built.restored if built else None,
        )
    except LambdasmithError as error:
        # A warning only: the deploy has succeeded, and an error would say that it has not.
        reply.setdefault("warnings", []).append(f"no record was kept: {error.message}")
    return reply


def _present(state: State, request: Request) -> Reply:
    """Return the answer for a build id that is taken: the reply of the other request, or its progress.

    Raises:
        InvalidEvent: the id belongs to another function, whose reply must not be mistaken for this one's.
    """
    if (state.function or "") != (request.function or ""):
        raise InvalidEvent(
            f"build_id: {state.build_id!r} is the id of a build of another function",
            hint="give each build an id of its own, such as a random one",
        )
    return state.reply or {"statusCode": 202, "build": state.for_people()}
