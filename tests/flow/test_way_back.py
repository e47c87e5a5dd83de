"""What a rollback says of its way: both builds, their ages, what differs; and where it cannot know."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from builder.flow.way_back import summary
from builder.publishing.steps import AliasState, FunctionState
from builder.records.record import Record
from tests.store.storing import deployment_of, record_of

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def layer(component: str, sha256: str) -> dict[str, Any]:
    row = {"component": component, "sha256": sha256 * 32, "arn": f"arn:{component}:1", "layer": component}
    return row | {"description": "", "license": "", "runtimes": []}


def record(build_id: str, ended: str, *, code: str = "aa", restored: str | None = None, **more: Any) -> Record:
    deployed: dict[str, Any] = {
        "code": {"sha256": code * 32},
        "layers": [layer("dependencies", "dd")],
        "settings": {"MemorySize": 128, "Environment": {"Variables": {"KEY": "secret"}}},
    }
    return record_of(
        build_id=build_id,
        commit=f"commit-{build_id}",
        ref="main",
        by="ann",
        ended=ended,
        alias="live" if more.get("version") else None,
        restored=restored,
        deployment=deployment_of(**deployed | more),
    )


def state(code: str = "aa", *, serves: str | None = None) -> FunctionState:
    return FunctionState(
        arn="arn:f",
        code_sha256=base64.b64encode(bytes.fromhex(code * 32)).decode(),
        architecture="x86_64",
        layers=(),
        settings={},
        revision_id="r",
        busy=False,
        alias=AliasState(name="live", version=serves, weights={}, revision_id="r") if serves else None,
    )


FIRST = record("b-1", "2027-01-12T08:00:00Z", code="bb")
SECOND = record("b-2", "2027-01-15T07:00:00Z")


def test_both_builds_have_their_commit_and_age() -> None:
    said = summary([SECOND, FIRST], FIRST, None, state(), now=NOW)
    assert said["now"] == {
        "build_id": "b-2",
        "commit": "commit-b-2",
        "ref": "main",
        "by": "ann",
        "version": None,
        "ended": "2027-01-15T07:00:00Z",
        "age_seconds": 3600,
    }
    then: Any = said["then"]
    assert (then["build_id"], then["age_seconds"]) == ("b-1", 3 * 86400)
    assert said["differences"] == ["code"]


def test_after_a_rollback_what_is_there_is_the_build_that_was_returned_to() -> None:
    back = record("b-3", "2027-01-15T07:30:00Z", code="bb", restored="b-1")
    said: Any = summary([back, SECOND, FIRST], SECOND, None, state("bb"), now=NOW)
    assert (said["now"]["build_id"], said["then"]["build_id"]) == ("b-1", "b-2")
    assert "changed_since" not in said["now"]


@pytest.mark.parametrize(
    ("more", "differences"),
    [
        ({}, []),
        ({"layers": []}, ["layer dependencies (gone)"]),
        ({"layers": [layer("dependencies", "ee")]}, ["layer dependencies"]),
        (
            {"layers": [layer("dependencies", "dd") | {"arn": "arn:d:2"}, layer("foreign", "") | {"sha256": None}]},
            ["layer foreign (new)"],
        ),
        ({"settings": {"MemorySize": 256, "Timeout": 3}}, ["Environment", "MemorySize", "Timeout"]),
        ({"extras": {"LogRetention": 7}, "architecture": "arm64"}, ["LogRetention", "architecture"]),
    ],
    ids=["nothing", "layer gone", "layer", "layer new", "settings", "extras"],
)
def test_differences_are_named_and_never_shown(more: Mapping[str, Any], differences: list[str]) -> None:
    said = summary([SECOND], record("b-0", "2027-01-01T00:00:00Z", **more), None, state(), now=NOW)
    assert said["differences"] == differences


def test_what_was_changed_by_hand_is_said() -> None:
    live = record("b-2", "2027-01-15T07:00:00Z", version="2")
    for alias, there, changed in (
        (None, state("aa"), False),
        (None, state("cc"), True),
        ("live", state("cc", serves="2"), False),
        ("live", state("aa", serves="3"), True),
        ("live", state("aa"), True),
    ):
        said: Any = summary([live], FIRST, alias, there, now=NOW)
        assert said["now"].get("changed_since", False) is changed, (alias, there)


def test_an_alias_has_its_own_builds() -> None:
    live = record("b-1", "2027-01-12T08:00:00Z", version="1")
    said: Any = summary([SECOND, live], live, "live", state(serves="1"), now=NOW)
    assert said["now"]["build_id"] == "b-1"
    assert summary([SECOND], FIRST, "other", state(), now=NOW)["now"] is None
