"""The phases of one build, from its request to its reply.

    event ─> request ─> look ─> order ─> make ─────────────> publish ─> record and reply
             event/     situation        product_of          release     tracking, reply

Look: find the commit, the function's present state, and the record of the last deploy (`situation`). If that deploy was
of the same commit and request and no one has changed the function since, the reply is ready: nothing is fetched or
written.

Order: everything that making needs to know, as one value (`order`). It holds no right to change anything in AWS, so it
can be sent to another function.

Make: fetch, read, allow, equip, assemble, check (`making`). Foreign code runs in this half and nowhere else. With
`isolation = split` it happens in the worker, a function that can only write to its own part of the store (`workers`).
The result, a `Product`, is checked on arrival: the worker may be controlled by the project that it built.

Publish: under the function's lease, the function's present state is compared with the product, and the steps that
lead from one to the other are carried out (`release`, `publishing/`). Deciding is pure (`publishing/publication.py`)
and apart from doing (`publishing/publish.py`), so that a plan shows the very steps that a build takes.

Of a project with several functions each is built like this, as if it were alone (`single`), and published when all
could be made (`members`).

Reply: what happened, as one JSON object, kept in the store as the build's record (`reply`, `tracking`).

Steps share no variables: everything that a step needs is in its arguments. Wings below this one never call it;
`tests/test_house.py` enforces that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.context import Context
from builder.errors import FunctionBusy
from builder.event.request import Request
from builder.flow.release import Overtaken
from builder.flow.single import Built, SeveralFound, build_one
from builder.flow.situation import Situation, look
from builder.flow.standing import standing
from builder.records.record import project_history

if TYPE_CHECKING:
    from builder.publishing.remembered import Remembered
    from builder.records.claim import Claim

# Attempts of a build whose branch moves while it waits for its turn: a busy branch must not keep it for ever.
_TRIES = 5


def build(request: Request, context: Context, claim: Claim) -> Built:
    """Build what the request asks for and publish what differs; with action `plan`, only say what would happen.

    Args:
        claim: the claim to the build id; taken before anything is published, and never for a plan.

    Raises:
        LambdasmithError: with the phase in which it arose. The function is unchanged, or changed completely.
        AlreadyTaken: someone else works on the build id.
    """
    for _ in range(_TRIES):
        with context.progress.phase("look", "looking at the repository and the function"):
            situation = look(request, context)
        try:
            known = standing(request, situation, context)
            if known and (same := _nothing_changed(known, request, situation, context)):
                return same
            try:
                return build_one(request, situation, context, claim, known=known)
            except SeveralFound as found:
                if request.project:
                    claim.history = project_history(request.function or "", request.stage)
                if request.stack:
                    from builder.flow.stack import bring_several

                    return bring_several(found.several, request, situation, context, claim)
                from builder.flow.members import build_several

                return build_several(found.several, request, situation, context, claim, known=known)
        except Overtaken:
            context.progress.say("the branch has moved on; starting again")
    raise FunctionBusy(
        f"{request.function}: the branch moved {_TRIES} times while this build waited for its turn",
        hint="others are deploying newer commits; run the same command again if they do not",
    )


def _nothing_changed(known: Remembered, request: Request, situation: Situation, context: Context) -> Built | None:
    from builder.flow.members import nothing_changed

    return nothing_changed(known, request, situation, context)
