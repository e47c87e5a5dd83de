"""The decisions, as data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.errors import InvalidBuildFile, InvalidEvent, RoleMissing
from builder.plan import Artifact, Component, choose_components, plan_components
from builder.publication import plan_publication
from builder.runtimes import RUNTIMES, Target
from builder.steps import (
    CreateFunction,
    FunctionState,
    LayerChoice,
    PointAlias,
    PublishLayer,
    PublishVersion,
    UpdateCode,
    UpdateConfiguration,
    Wanted,
)

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
    assert plan_publication(WANTED, CODE, [DEPENDENCIES], STATE, own_layers=()) == ()


def test_new_code_alone_updates_the_code_alone() -> None:
    steps = plan_publication(WANTED, replace(CODE, sha256="ef" * 32), [DEPENDENCIES], STATE, own_layers=())
    assert [type(step) for step in steps] == [UpdateCode]


def test_a_new_layer_is_published_then_attached_then_the_code_follows() -> None:
    new = replace(DEPENDENCIES, arn=None)
    steps = plan_publication(WANTED, replace(CODE, sha256="ef" * 32), [new], STATE, own_layers=())
    assert [type(step) for step in steps] == [PublishLayer, UpdateConfiguration, UpdateCode]
    assert isinstance(steps[1], UpdateConfiguration)
    assert steps[1].layers == ("dependencies",)
    assert steps[1].changes == {}


def test_only_settings_that_differ_are_sent_and_others_are_left() -> None:
    wanted = replace(WANTED, settings={**SETTINGS, "MemorySize": 512})
    (step,) = plan_publication(wanted, CODE, [DEPENDENCIES], STATE, own_layers=())
    assert isinstance(step, UpdateConfiguration)
    assert step.changes == {"MemorySize": 512}
    assert step.layers is None


def test_layers_of_others_stay_and_own_ones_that_left_the_build_file_go() -> None:
    state = replace(STATE, layers=(ARN + "web-old:1", ARN + "web-dependencies:3", ARN + "company-extension:7"))
    (step,) = plan_publication(WANTED, CODE, [DEPENDENCIES], state, own_layers=("web-old", "web-dependencies"))
    assert isinstance(step, UpdateConfiguration)
    assert step.layers == (ARN + "web-dependencies:3", ARN + "company-extension:7")


def test_a_layer_that_was_not_part_of_the_build_stays_attached() -> None:
    absent = replace(DEPENDENCIES, artifact=None, arn=None)
    assert plan_publication(WANTED, CODE, [absent], STATE, own_layers=("web-dependencies",)) == ()


def test_a_function_that_does_not_exist_needs_a_role() -> None:
    with pytest.raises(RoleMissing, match="web does not exist, and no role is named"):
        plan_publication(WANTED, CODE, [], None, own_layers=())
    (step,) = plan_publication(replace(WANTED, role="arn:role"), CODE, [], None, own_layers=())
    assert isinstance(step, CreateFunction)


def test_an_alias_gets_a_version_to_point_at() -> None:
    steps = plan_publication(replace(WANTED, alias="live"), CODE, [DEPENDENCIES], STATE, own_layers=())
    assert [type(step) for step in steps] == [PublishVersion, PointAlias]


def test_more_than_five_layers() -> None:
    many = [LayerChoice(component=f"l{n}", layer=f"web-l{n}", artifact=LAYER, arn=f"{ARN}web-l{n}:1") for n in range(6)]
    with pytest.raises(InvalidBuildFile, match="would have 6 layers"):
        plan_publication(WANTED, CODE, many, replace(STATE, layers=()), own_layers=())


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
