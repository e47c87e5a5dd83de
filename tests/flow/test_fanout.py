"""Parts of a build that many invocations make are requests like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given

from builder.event.read import parse_event
from builder.event.request import Action, ArchiveSource, ObjectSource
from builder.flow.fanout import event_of
from tests.schemas.test_schemas import events


@given(events(among=[Action.BUILD]))
def test_the_last_step_is_sent_the_request_that_came_first(event: dict[str, Any]) -> None:
    """With every field that a project with many functions may have."""
    request = parse_event(event)
    source = request.source
    if isinstance(source, ArchiveSource):  # it is in the store by then
        source = ObjectSource(bucket="builds", key="lambdasmith/uploads/fanout/b")
    # A payload is for one function, and no one waits for the answer of a build that is fanned out.
    first = replace(request, project=True, source=source, payload=None, waits=False)
    again = parse_event({**dict(event_of(first)), "made": True})
    assert replace(again, made=first.made) == first
