"""The plan is a pure function: each situation gives its own steps, and nothing to do gives none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrap.changes import (
    CreateFunction,
    EmptyBucket,
    NeverRepeat,
    PutLifecycle,
    PutRole,
    PutSecret,
    Step,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.config.settings import Config
from bootstrap.invoke import Ping
from bootstrap.lifecycle import rules
from bootstrap.names import Place, names_for
from bootstrap.package import Package
from bootstrap.plan.converge import converge
from bootstrap.plan.removal import remove
from bootstrap.plan.wanted import Wanted, wanted
from bootstrap.policy.roles import TRUST
from bootstrap.state import BucketState, FunctionState, LayerVersion, LogGroupState, Present, RoleState, SecretState
from builder.errors import InvalidConfiguration

PACKAGE = Package(code=b"zip", code_sha256="c0de", layer_key="1ock", starter_key="5" * 64)
NAMES = names_for(
    function="lambdasmith",
    bucket=None,
    place=Place(partition="aws", account="123456789012", region="us-east-1"),
)
CONFIG = Config(git_token="tok", git_username="me", functions=("shop-*",))
SETUP = ("setup allowed", "setup", "setup ended")
NOTHING = Present(bucket=None, role=None, secret=None, log_group=None, layers=(), function=None, ping=None)


def want(config: Config = CONFIG) -> Wanted:
    return wanted(config, NAMES, PACKAGE)


def installed() -> Present:
    """Everything as CONFIG wants it."""
    wish = want()
    environment = {**wish.settings.environment, "LAMBDASMITH_GIT_SECRET": NAMES.secret}
    layers = tuple(
        LayerVersion(
            arn=f"{NAMES.layer_arn}:{number}",
            version=number,
            description=text,
            runtimes=("python3.13",),
            created="2026-01-01",
        )
        for number, text in ((2, "Lambdasmith's own"), (1, wish.starter))
    )
    return Present(
        bucket=BucketState(made_here=True, used=True, versioned=True, private=True, encrypted=True, rules=rules(NAMES)),
        role=RoleState(made_here=True, trust=TRUST, policy=wish.policy),
        secret=SecretState(made_here=True, deleted=False, current=True),
        log_group=LogGroupState(made_here=True),
        layers=layers,
        function=FunctionState(
            made_here=True,
            state="Active",
            retries_decided=True,
            architecture="x86_64",
            code_sha256=PACKAGE.code_sha256,
            layers=(f"{NAMES.layer_arn}:2",),
            settings=replace(wish.settings, environment=environment),
        ),
        ping=Ping(ready=True, version="0.1.0", layer_key=PACKAGE.layer_key, versions={}),
    )


def function_of(present: Present) -> FunctionState:
    assert present.function is not None
    return present.function


def names_of(steps: tuple[Step, ...]) -> list[str]:
    return [step.name for step in steps]


def test_from_nothing_everything_is_made() -> None:
    steps = converge(want(), NOTHING)
    assert names_of(steps) == [
        *("bucket", "lifecycle", "secret", "role", "log group"),
        *("starter layer", "function", "retries", *SETUP),
    ]
    assert all(step.sentence for step in steps)
    assert "tok" not in " ".join(map(repr, steps)).replace("token", "")


def test_as_wanted_means_no_steps() -> None:
    assert converge(want(), installed()) == ()


def test_without_a_token_there_is_no_secret_and_the_function_is_not_told_of_one() -> None:
    steps = converge(want(Config()), NOTHING)
    assert "secret" not in names_of(steps)
    [create] = [step for step in steps if isinstance(step, CreateFunction)]
    assert "LAMBDASMITH_GIT_SECRET" not in create.settings.environment


def test_a_token_that_is_not_given_again_stays() -> None:
    assert converge(want(replace(CONFIG, git_token=None)), installed()) == ()


def test_a_rotated_token_changes_the_secret_only() -> None:
    present = replace(installed(), secret=SecretState(made_here=True, deleted=False, current=False))
    [step] = converge(want(), present)
    assert isinstance(step, PutSecret)
    assert (step.create, step.restore) == (False, False)


def test_a_secret_that_waits_for_its_deletion_is_restored() -> None:
    present = replace(installed(), secret=SecretState(made_here=True, deleted=True, current=False))
    [step] = converge(want(), present)
    assert isinstance(step, PutSecret)
    assert (step.create, step.restore) == (False, True)


def test_newer_code_is_uploaded_and_nothing_else() -> None:
    present = installed()
    [step] = converge(want(), replace(present, function=replace(function_of(present), code_sha256="old")))
    assert isinstance(step, UpdateCode)


def test_only_settings_that_differ_are_named() -> None:
    [step] = converge(want(replace(CONFIG, memory_mb=512, timeout_s=60)), installed())
    assert isinstance(step, UpdateConfiguration)
    assert step.sentence.endswith(": memory, timeout")
    assert step.layer is None


def test_variables_and_layers_of_others_stay() -> None:
    present = installed()
    function = function_of(present)
    environment = {**function.settings.environment, "HTTPS_PROXY": "http://proxy"}
    function = replace(
        function,
        layers=("arn:aws:lambda:us-east-1:1:layer:other:3",),
        settings=replace(function.settings, environment=environment),
    )
    steps = converge(want(), replace(present, function=function))
    assert names_of(steps) == ["configuration", *SETUP]
    [update] = [step for step in steps if isinstance(step, UpdateConfiguration)]
    assert update.settings.environment["HTTPS_PROXY"] == "http://proxy"
    assert update.layers == ("arn:aws:lambda:us-east-1:1:layer:other:3",)
    assert update.layer == f"{NAMES.layer_arn}:1"  # the starter layer that is there already


def test_a_new_lock_means_a_new_layer() -> None:
    present = replace(installed(), ping=Ping(ready=True, version="0.1.0", layer_key="old", versions={}))
    assert names_of(converge(want(), present)) == [*SETUP]


def test_what_an_interrupted_setup_left_is_used_or_taken_back() -> None:
    wish = want()
    opened = replace(installed(), role=RoleState(made_here=True, trust=TRUST, policy=wish.setup_policy))
    [put] = converge(wish, opened)
    assert isinstance(put, PutRole)
    assert put.policy == wish.policy
    half = replace(opened, ping=Ping(ready=False, version="0.1.0", layer_key="", versions={}))
    assert names_of(converge(wish, half)) == ["setup", "setup ended"]
    assert names_of(converge(want(replace(CONFIG, functions=("other",))), half)) == ["role", "configuration", *SETUP]


def test_a_builder_that_does_not_answer_is_set_up_again() -> None:
    assert names_of(converge(want(), replace(installed(), ping=None, silence="crashed"))) == [*SETUP]


def test_another_runtime_goes_back_to_a_starter_layer_of_that_runtime() -> None:
    steps = converge(want(replace(CONFIG, runtime="python3.12")), installed())
    assert names_of(steps) == ["starter layer", "configuration", *SETUP]


def test_another_architecture_needs_code_and_layer_anew() -> None:
    steps = converge(want(replace(CONFIG, architecture="arm64")), installed())
    assert names_of(steps) == ["configuration", "code", *SETUP]


def test_a_function_whose_creation_failed_is_made_again() -> None:
    present = installed()
    present = replace(present, function=replace(function_of(present), state="Failed"), ping=None)
    assert names_of(converge(want(), present)) == ["function removed", "function", "retries", *SETUP]


def test_a_starter_layer_from_an_interrupted_run_is_used() -> None:
    present = replace(installed(), function=None, ping=None)
    steps = converge(want(), present)
    assert names_of(steps) == ["function", "retries", *SETUP]
    [create] = [step for step in steps if isinstance(step, CreateFunction)]
    assert create.layer == f"{NAMES.layer_arn}:1"


def test_an_existing_bucket_is_used_as_it_is() -> None:
    present = replace(installed(), bucket=BucketState(made_here=False, used=False, rules=rules(NAMES)))
    assert converge(want(), present) == ()


def test_lifecycle_rules_are_kept_up_also_in_an_existing_bucket() -> None:
    old = ({"ID": "lambdasmith lambdasmith parts", "Status": "Disabled"},)
    for mine in (True, False):
        bucket = BucketState(made_here=mine, used=True, versioned=True, private=True, encrypted=True, rules=old)
        [step] = converge(want(), replace(installed(), bucket=bucket))
        assert isinstance(step, PutLifecycle)
        assert step.rules == rules(NAMES)


def test_lambdas_own_repetitions_are_ended_unless_somebody_has_decided_on_them() -> None:
    present = installed()
    [step] = converge(want(), replace(present, function=replace(function_of(present), retries_decided=False)))
    assert isinstance(step, NeverRepeat)


def test_a_half_made_bucket_is_finished() -> None:
    half = BucketState(made_here=True, used=False, encrypted=True, private=True, rules=rules(NAMES))
    present = replace(installed(), bucket=half)
    assert names_of(converge(want(), present)) == ["bucket"]


def test_what_somebody_else_made_is_never_taken_over() -> None:
    present = installed()
    present = replace(
        present,
        function=replace(function_of(present), made_here=False),
        role=RoleState(made_here=False, trust=TRUST, policy=None),
    )
    with pytest.raises(InvalidConfiguration) as caught:
        converge(want(), present)
    assert [problem.partition(" exists")[0] for problem in caught.value.problems] == [
        "function lambdasmith",
        "role lambdasmith-us-east-1",
    ]


def test_removal_is_the_mirror_of_init() -> None:
    assert names_of(remove(NAMES, installed())) == [
        "function removed",
        "layers removed",
        "role removed",
        "secret removed",
        "log group removed",
        "bucket emptied",
        "lifecycle",
    ]
    assert remove(NAMES, NOTHING) == ()


def test_removal_leaves_what_init_did_not_make() -> None:
    present = installed()
    present = replace(
        present,
        bucket=BucketState(made_here=False, used=True),
        secret=SecretState(made_here=False, deleted=False, current=True),
        log_group=LogGroupState(made_here=False),
    )
    steps = remove(NAMES, present)
    assert names_of(steps) == ["function removed", "layers removed", "role removed", "bucket emptied"]
    [empty] = [step for step in steps if isinstance(step, EmptyBucket)]
    assert (empty.delete_bucket, empty.prefix) == (False, "lambdasmith/")


def test_removal_does_not_touch_a_prefix_that_the_role_could_not_have_written() -> None:
    present = replace(installed(), bucket=BucketState(made_here=False, used=True), role=None)
    assert "bucket emptied" not in names_of(remove(NAMES, present))
