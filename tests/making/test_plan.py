"""The decisions, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from builder.errors import InvalidBuildFile, InvalidEvent, RoleMissing
from builder.plan import Artifact, Component, changed_inputs, choose_components, plan_components
from builder.publishing.publication import explained, plan_publication
from builder.publishing.steps import (
    AliasState,
    ApplyExtra,
    CreateFunction,
    FunctionState,
    LayerChoice,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    TryFunction,
    UpdateCode,
    UpdateConfiguration,
    Wanted,
    writes,
)
from builder.runtimes import RUNTIMES, Target

CODE = Artifact(sha256="ab" * 32, size=1000, unzipped=3000, files=1)
LAYER = Artifact(sha256="cd" * 32, size=5000, unzipped=9000, files=9)
ARN = "arn:aws:lambda:us-east-1:123456789012:layer:"
TARGET = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")
SETTINGS = {"Runtime": "python3.13", "Handler": "m.f", "MemorySize": 128}
WANTED = Wanted(name="web", target=TARGET, settings=SETTINGS, tags={}, role=None, publish=False, alias=None)
STATE = FunctionState(
    arn="arn:aws:lambda:us-east-1:123456789012:function:web",
    code_sha256=CODE.code_sha256,
    architecture="x86_64",
    layers=(ARN + "web-dependencies:3",),
    settings={**SETTINGS, "Timeout": 3},
    revision_id="r",
    busy=False,
)
DEPENDENCIES = LayerChoice(
    component="dependencies", layer="web-dependencies", artifact=LAYER, arn=ARN + "web-dependencies:3"
)


def test_nothing_to_do_when_everything_agrees() -> None:
    assert plan_publication(WANTED, CODE, [DEPENDENCIES], STATE) == ()


def test_new_code_alone_updates_the_code_alone() -> None:
    steps = plan_publication(WANTED, replace(CODE, sha256="ef" * 32), [DEPENDENCIES], STATE)
    assert [type(step) for step in steps] == [UpdateCode]


def test_a_new_layer_is_published_then_attached_then_the_code_follows() -> None:
    new = replace(DEPENDENCIES, arn=None)
    steps = plan_publication(WANTED, replace(CODE, sha256="ef" * 32), [new], STATE)
    assert [type(step) for step in steps] == [PublishLayer, UpdateConfiguration, UpdateCode]
    assert isinstance(steps[1], UpdateConfiguration)
    assert steps[1].layers == ("dependencies",)
    assert steps[1].changes == {}


def test_only_settings_that_differ_are_sent_and_others_are_left() -> None:
    wanted = replace(WANTED, settings={**SETTINGS, "MemorySize": 512})
    (step,) = plan_publication(wanted, CODE, [DEPENDENCIES], STATE)
    assert isinstance(step, UpdateConfiguration)
    assert step.changes == {"MemorySize": 512}
    assert step.layers is None


def test_layers_of_others_stay_and_own_ones_that_left_the_build_file_go() -> None:
    state = replace(STATE, layers=(ARN + "web-old:1", ARN + "web-dependencies:3", ARN + "company-extension:7"))
    foreign = [ARN + "company-extension:7"]
    (step,) = plan_publication(WANTED, CODE, [DEPENDENCIES], state, foreign=foreign)
    assert isinstance(step, UpdateConfiguration)
    assert step.layers == (ARN + "company-extension:7", ARN + "web-dependencies:3"), "what comes last covers the rest"


def test_a_layer_that_was_not_part_of_the_build_stays_attached() -> None:
    assert plan_publication(WANTED, CODE, [replace(DEPENDENCIES, artifact=None)], STATE) == ()


def test_two_components_of_one_content_are_attached_once_where_the_last_one_is() -> None:
    between = LayerChoice(component="between", layer="web-between", artifact=LAYER, arn=ARN + "web-between:1")
    twin = replace(DEPENDENCIES, component="twin")
    (step,) = plan_publication(WANTED, CODE, [DEPENDENCIES, between, twin], STATE)
    assert isinstance(step, UpdateConfiguration)
    assert step.layers == (ARN + "web-between:1", ARN + "web-dependencies:3")


def test_a_function_that_does_not_exist_needs_a_role() -> None:
    with pytest.raises(RoleMissing, match="web does not exist yet, and no role is set"):
        plan_publication(WANTED, CODE, [], None)
    (step,) = plan_publication(replace(WANTED, role="arn:role"), CODE, [], None)
    assert isinstance(step, CreateFunction)


def test_an_alias_gets_a_version_to_point_at() -> None:
    steps = plan_publication(replace(WANTED, alias="live"), CODE, [DEPENDENCIES], STATE)
    assert [type(step) for step in steps] == [PublishVersion, PointAlias]


def test_more_than_five_layers() -> None:
    many = [LayerChoice(component=f"l{n}", layer=f"web-l{n}", artifact=LAYER, arn=f"{ARN}web-l{n}:1") for n in range(6)]
    with pytest.raises(InvalidBuildFile, match="would have 6 layers"):
        plan_publication(WANTED, CODE, many, replace(STATE, layers=()))


def test_components_are_chosen_in_the_files_order_and_typos_are_named() -> None:
    known = ("dependencies", "data", "function")
    assert choose_components(known, ("function", "data"), function_exists=True) == ("data", "function")
    assert choose_components(known, ("function",), function_exists=False) == known
    with pytest.raises(InvalidEvent, match="'fucntion' is not in the build file; did you mean function"):
        choose_components(known, ("fucntion",), function_exists=True)


def test_what_the_store_has_is_reused_unless_forced() -> None:
    known = Component(name="function", kind="function", key="k", artifact=CODE)
    new = Component(name="data", kind="layer", key="k2")
    assert [plan.action for plan in plan_components([known, new], {}, force=False)] == ["reuse", "build"]
    assert [plan.action for plan in plan_components([known, new], {}, force=True)] == ["build", "build"]


# --- order, versions, aliases ---------------------------------------------------------------------------------------

NEW_CODE = replace(CODE, sha256="ef" * 32)
LIVE = AliasState(name="live", version="3", weights={}, revision_id="a")


def kinds(steps: Iterable[Step]) -> list[type]:
    return [type(step) for step in steps]


def test_without_an_alias_what_old_code_needs_stays_until_the_new_code_is_there() -> None:
    environment = {"Environment": {"Variables": {"NEW": "1"}}}
    wanted = replace(WANTED, settings={**SETTINGS, **environment})
    state = replace(STATE, settings={**STATE.settings, "Environment": {"Variables": {"OLD": "1"}}})
    fresh = LayerChoice(component="data", layer="web-data", artifact=LAYER, arn=ARN + "web-data:1")
    grow, swap, shrink = plan_publication(wanted, NEW_CODE, [fresh], state)
    assert grow == UpdateConfiguration(
        name="web",
        changes={"Environment": {"Variables": {"OLD": "1", "NEW": "1"}}},
        layers=(ARN + "web-dependencies:3", ARN + "web-data:1"),
    )
    assert isinstance(swap, UpdateCode)
    assert shrink == UpdateConfiguration(name="web", changes=environment, layers=(ARN + "web-data:1",))


def test_two_versions_of_one_layer_are_never_attached_together() -> None:
    new = replace(DEPENDENCIES, arn=None)
    steps = plan_publication(WANTED, NEW_CODE, [new], STATE)
    attached = [step.layers for step in steps if isinstance(step, UpdateConfiguration)]
    assert attached == [("dependencies",)]


def test_with_an_alias_nothing_is_kept_for_the_old_code_and_the_alias_moves_last() -> None:
    wanted = replace(WANTED, alias="live", payload="{}")
    state = replace(STATE, alias=LIVE)
    fresh = LayerChoice(component="data", layer="web-data", artifact=LAYER, arn=None)
    steps = plan_publication(wanted, NEW_CODE, [fresh], state)
    assert kinds(steps) == [PublishLayer, UpdateConfiguration, UpdateCode, PublishVersion, TryFunction, PointAlias]


def test_a_version_that_equals_the_function_is_not_published_again() -> None:
    wanted, state = replace(WANTED, alias="live"), replace(STATE, alias=LIVE, version="3")
    assert plan_publication(wanted, CODE, [DEPENDENCIES], state) == ()
    moved = replace(state, alias=replace(LIVE, version="2"))
    (point,) = plan_publication(wanted, CODE, [DEPENDENCIES], moved)
    assert point == PointAlias(name="web", alias="live", version="3")


@pytest.mark.parametrize(
    ("alias", "weight", "points"),
    [
        (LIVE, None, False),
        (LIVE, 0.2, False),
        (replace(LIVE, version="2"), 0.2, True),
        (replace(LIVE, version="2", weights={"3": 0.2}), 0.2, False),
        (replace(LIVE, version="2", weights={"3": 0.2}), 0.3, True),
        (replace(LIVE, version="2", weights={"3": 0.2}), None, True),
        (replace(LIVE, weights={"2": 0.2}), None, True),
        (None, None, True),
    ],
)
def test_an_alias_moves_only_where_it_serves_something_else(
    alias: AliasState | None, weight: float | None, points: bool
) -> None:
    wanted = replace(WANTED, alias="live", weight=weight)
    steps = plan_publication(wanted, CODE, [DEPENDENCIES], replace(STATE, alias=alias, version="3"))
    assert kinds(steps) == ([PointAlias] if points else [])


def test_a_try_alone_writes_nothing() -> None:
    wanted = replace(WANTED, payload="1")
    steps = plan_publication(wanted, CODE, [DEPENDENCIES], STATE)
    assert kinds(steps) == [TryFunction]
    assert not writes(steps)


@pytest.mark.parametrize(
    ("step", "after", "ours"),
    [
        (UpdateCode(name="web", code=NEW_CODE, architecture="x86_64"), {"code_sha256": NEW_CODE.code_sha256}, True),
        (UpdateCode(name="web", code=NEW_CODE, architecture="x86_64"), {"code_sha256": "c3RyYW5nZXI="}, False),
        (UpdateCode(name="web", code=NEW_CODE, architecture="x86_64"), {"settings": {"MemorySize": 1}}, False),
        (
            UpdateConfiguration(name="web", changes={"MemorySize": 512}, layers=None),
            {"settings": {"MemorySize": 512}},
            True,
        ),
        (
            UpdateConfiguration(name="web", changes={"Timeout": 5}, layers=None),
            {"settings": {"MemorySize": 512}},
            False,
        ),
        (PublishVersion(name="web"), {"revision_id": "s"}, True),
    ],
)
def test_a_difference_is_ours_only_where_the_step_explains_it(step: Step, after: dict[str, Any], ours: bool) -> None:
    if "settings" in after:
        after = {"settings": {**STATE.settings, **after["settings"]}}
    assert explained(STATE, replace(STATE, **after), step) is ours


def test_a_function_that_appears_is_ours_only_with_our_code() -> None:
    create = CreateFunction(wanted=WANTED, role="r", code=CODE, layers=())
    assert explained(None, STATE, create)
    assert not explained(None, replace(STATE, code_sha256="c3RyYW5nZXI="), create)
    assert not explained(None, STATE, PublishVersion(name="web"))


def test_inputs_that_differ_are_named() -> None:
    before = {"a.py": "#1", "b.py": "#2", "six": "1.16", "old": "2"}
    now = {"a.py": "#1", "b.py": "#3", "six": "1.17", "new.py": "#4", "tomli": "2.0"}
    assert changed_inputs(before, now) == ("b.py", "+ new.py", "- old", "six 1.16 → 1.17", "+ tomli 2.0")


def test_the_log_group_comes_before_the_function_is_changed_and_the_url_last() -> None:
    wanted = replace(WANTED, extras={"FunctionUrl": {"AuthType": "NONE"}, "LogRetention": {"RetentionInDays": 3}})
    steps = plan_publication(wanted, NEW_CODE, [DEPENDENCIES], STATE)
    assert [type(step).__name__ for step in steps] == ["ApplyExtra", "UpdateCode", "ApplyExtra"]
    assert [step.key for step in steps if isinstance(step, ApplyExtra)] == ["LogRetention", "FunctionUrl"]
