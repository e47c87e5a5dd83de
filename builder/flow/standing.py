"""Functions of a project that are in Lambda as its last deploy left them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError
from builder.event.request import Action, Request
from builder.publishing import remembered
from builder.publishing.functions import read_function

if TYPE_CHECKING:
    from builder.context import Context
    from builder.flow.situation import Situation
    from builder.publishing.remembered import Remembered, Row

# GetFunction has a rate of its own, 100 a second; what Lambda throttles beyond that, the client repeats.
_PARALLEL = 8


def standing(request: Request, whole: Situation, context: Context) -> Remembered | None:
    """Return what is known of the project's last deploy, with the rows of those functions alone that stand.

    A function that someone else has changed since has another revision in Lambda, and is looked at in full. None if
    nothing is known that would help this request.
    """
    asks_for_more = request.force or request.upgrade or request.payload is not None or request.components
    if not request.project or request.action != Action.BUILD or request.stack or asks_for_more:
        return None
    known = remembered.read(context.store, request.function or "", request.stage)
    if known is None or known.key != whole.key:
        return None
    with (
        context.progress.phase("look", f"looking at {len(known.rows)} functions"),
        ThreadPoolExecutor(_PARALLEL) as pool,
    ):
        unchanged = pool.map(lambda key: _stands(known.names[key], known.rows[key], context), known.rows)
        rows = {key: row for (key, row), stands in zip(known.rows.items(), unchanged, strict=True) if stands}
    return replace(known, rows=rows)


def _stands(name: str, row: Row, context: Context) -> bool:
    try:
        state = read_function(context.clients, name)
    except LambdasmithError:
        return False  # the full look says why
    return state is not None and not state.busy and not state.failure and state.revision_id == row.revision_id
