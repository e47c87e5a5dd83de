"""What fails for one of several functions is its own, except for what concerns all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from builder.errors import ImportFailed, LambdasmithError, OutOfTime
from builder.flow.member import Member, attempt, progress_of
from builder.progress import Progress


def failing(error: LambdasmithError) -> Any:
    def work(member: Member) -> None:
        raise error

    return work


def test_an_error_of_one_function_is_kept_with_it() -> None:
    member = cast("Member", SimpleNamespace(key="api", error=None))
    attempt(member, failing(ImportFailed("no such module")))
    assert isinstance(member.error, ImportFailed)


def test_when_time_is_over_it_is_over_for_all() -> None:
    member = cast("Member", SimpleNamespace(key="api", error=None))
    with pytest.raises(OutOfTime) as caught:
        attempt(member, failing(OutOfTime("the builder stopped itself")))
    assert caught.value.message == "api: the builder stopped itself"
    assert member.error is None


def test_what_is_done_for_a_function_is_told_with_its_name() -> None:
    told: list[str] = []
    whole = Progress(lambda moment: told.append(f"{moment.phase}: {moment.message}"))
    own = progress_of("api", whole)
    with own.phase("fetch", "fetching the source"):
        own.warn("something is old")
    assert told == ["fetch: api: fetching the source"]
    assert own.warnings == ["something is old"]
    assert whole.warnings == []
