"""What a builder refuses to touch: itself in every spelling, and what its configuration does not cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import AccessDenied, InvalidEvent, OwnTarget
from builder.event.read import parse_event
from builder.plan import Artifact
from builder.publishing.steps import (
    ApplyExtra,
    CreateFunction,
    LayerChoice,
    PublishLayer,
    Step,
    UpdateConfiguration,
    Wanted,
    touched,
)
from builder.runtimes import RUNTIMES, Target
from builder.settings import reach_of
from builder.trust.reach import OWN_ENDS, Reach

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/smith-us-east-1"
OWN_LAYER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:smith-layer:7"
REACH = Reach(function="smith", layer="smith-layer", own_roles=(ROLE, f"{ROLE}-worker"))
TARGET = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")
CODE = Artifact(sha256="0" * 64, size=1, unzipped=1, files=1)

# Every way in which Lambda lets a function be named.
FORMS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: f"{ACCOUNT}:function:{name}",
    lambda name: f"{ACCOUNT}:{name}",
    lambda name: f"function:{name}",
    lambda name: f"us-east-1:{ACCOUNT}:function:{name}",
    lambda name: f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}",
    lambda name: f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:{name}",
)


def cased(name: str) -> st.SearchStrategy[str]:
    flips = st.lists(st.booleans(), min_size=len(name), max_size=len(name))
    return flips.map(lambda flip: "".join(c.upper() if up else c for c, up in zip(name, flip, strict=True)))


NAMES = st.sampled_from([f"smith{end}" for end in OWN_ENDS]).flatmap(cased)
QUALIFIERS = st.sampled_from(["", ":3", ":live", ":$LATEST"])


@given(
    NAMES,
    st.sampled_from(FORMS),
    QUALIFIERS,
    st.sampled_from(["function", "name"]),
    st.text(max_size=12).filter(lambda action: action != "setup"),
)
def test_the_builder_is_refused_in_every_form_case_field_and_action(
    name: str, form: Callable[[str], str], qualifier: str, field: str, action: str
) -> None:
    with pytest.raises(OwnTarget) as caught:
        REACH.check_event({"action": action, field: form(name) + qualifier, "components": ["x"]})
    assert (caught.value.code, caught.value.status) == ("own_target", 403)
    assert field in caught.value.message


@given(st.sampled_from(["smithy", "smit", "a-smith", "smith_", "smith-workers", "smiths-layer"]), QUALIFIERS)
def test_names_that_are_only_alike_are_not_refused(name: str, qualifier: str) -> None:
    for form in FORMS:
        REACH.check_event({"action": "build", "function": form(name) + qualifier})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_an_event_is_the_guard_only_refuses(value: object) -> None:
    for event in (value, {"function": value, "name": value, "attached": value, "components": value}):
        try:
            REACH.check_event(event)
        except OwnTarget:
            continue


def test_the_own_layer_is_refused_as_an_attached_one() -> None:
    with pytest.raises(OwnTarget, match="attached"):
        REACH.check_event({"action": "package", "function": "shop", "attached": ["other", "Smith-LAYER"]})


def wanted(**settings: object) -> Wanted:
    return Wanted(name="shop", target=TARGET, settings=settings, role=None)


def creation(role: str = f"arn:aws:iam::{ACCOUNT}:role/app", layers: tuple[str, ...] = (), **settings: object) -> Step:
    return CreateFunction(wanted=wanted(**settings), role=role, code=CODE, layers=layers)


FUNCTION_ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:smith"
OWN: dict[str, Step] = {
    "publish the own layer": PublishLayer(
        choice=LayerChoice(component="x", layer="Smith-layer", artifact=CODE, arn=None)
    ),
    "own role": creation(role=ROLE),
    "own role, other case": creation(role=ROLE.upper()),
    "worker's role": UpdateConfiguration(name="shop", changes={"Role": f"{ROLE}-worker"}, layers=None),
    "own layer": creation(layers=(OWN_LAYER,)),
    "own layer, attached": UpdateConfiguration(name="shop", changes={}, layers=(OWN_LAYER,)),
    "itself": UpdateConfiguration(name="Smith", changes={}, layers=None),
    "own log group": creation(LoggingConfig={"LogGroup": "/aws/lambda/smith"}),
    "retention of own log": ApplyExtra(
        name="shop", key="LogRetention", value={"LogGroup": "/aws/lambda/smith-worker"}, alias=None
    ),
    "results go to the builder": ApplyExtra(
        name="shop",
        key="EventInvokeConfig",
        value={"DestinationConfig": {"OnSuccess": {"Destination": FUNCTION_ARN}}},
        alias=None,
    ),
}


@pytest.mark.parametrize("case", OWN)
def test_no_step_of_a_publication_touches_the_builder(case: str) -> None:
    with pytest.raises(OwnTarget):
        REACH.check_steps(map(touched, [creation(), OWN[case]]))


def test_what_only_looks_like_a_part_of_the_builder_may_be_used() -> None:
    elsewhere = OWN_LAYER.replace(ACCOUNT, "999999999999")
    REACH.check_steps(
        map(touched, [creation(layers=(elsewhere,), Environment={"Variables": {"TARGET": FUNCTION_ARN}})])
    )


def test_functions_and_roles_outside_the_configuration_are_refused_before_anything_is_done() -> None:
    reach = reach_of(
        {
            "AWS_LAMBDA_FUNCTION_NAME": "smith",
            "LAMBDASMITH_FUNCTIONS": "shop-*,billing",
            "LAMBDASMITH_ROLES": f"arn:aws:iam::{ACCOUNT}:role/team-*",
        }
    )

    def asked(**more: Any) -> None:
        event = {"action": "build", "repo": "a/b", **more}
        reach.check_request(parse_event(event))

    asked(function="shop-web")
    asked(function="billing")
    asked(function="other", action="package")  # changes no function
    for name in ("other", "shop", "billing2", "Shop-web"):
        for more in ({}, {"action": "plan"}, {"action": "rollback", "repo": None}):
            with pytest.raises(AccessDenied, match=f"function {name} is not one that"):
                asked(function=name, **more)
    reach.check_steps(map(touched, [creation(role=f"arn:aws:iam::{ACCOUNT}:role/team-a")]))
    with pytest.raises(AccessDenied, match=r"role \S+role/app is not one that"):
        reach.check_steps(map(touched, [creation()]))


def test_where_nothing_is_known_of_the_configuration_iam_decides() -> None:
    reach = reach_of({})
    reach.check_event({"action": "build", "function": "smith"})
    reach.check_request(parse_event({"action": "build", "function": "x", "repo": "a/b"}))
    reach.check_steps(map(touched, [creation()]))


def test_setup_may_name_the_builder_and_nobody_else() -> None:
    for name in ("smith", None):
        event = {"action": "setup", "function": name}
        REACH.check_event(event)
        REACH.check_request(parse_event(event))
    with pytest.raises(OwnTarget):
        REACH.check_event({"action": "setup", "function": "smith-worker"})
    with pytest.raises(InvalidEvent, match="setup is about the builder itself, smith, not thumbs"):
        REACH.check_request(parse_event({"action": "setup", "function": "thumbs"}))
    with pytest.raises(OwnTarget):
        REACH.check_event({"action": "build setup", "function": "smith"})
