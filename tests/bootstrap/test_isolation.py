"""`isolation = split`: the plan makes, keeps up, replaces and removes the worker; setup.py does so from any state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest

from bootstrap.changes import CreateFunction, CreateWorker, Step, UpdateConfiguration, UpdateWorkerConfiguration
from bootstrap.config.settings import Config
from bootstrap.plan.converge import converge
from bootstrap.plan.removal import remove
from bootstrap.policy.roles import TRUST, grants, policy, store_grants, store_trust, worker_grants
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import document
from bootstrap.state import FunctionSettings, FunctionState, LogGroupState, Present, RoleState, WorkerState
from builder.errors import InvalidConfiguration
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule
from builder.settings import Settings
from localaws.iam.policies import decide
from localaws.testing import Server, zip_of
from tests.bootstrap.conftest import MakeOperator, Operator
from tests.bootstrap.test_interruptions import kill_after_first_step, leftovers
from tests.bootstrap.test_plan import CONFIG, NAMES, NOTHING, SETUP, function_of, installed, names_of, want
from tests.bootstrapped import Bootstrapped

pytestmark = pytest.mark.apart

SPLIT = replace(CONFIG, isolation="split")
WORKER = ("worker role", "store role", "worker log group", "worker", "worker retries")


def settings_of(config: Config = SPLIT) -> FunctionSettings:
    settings = want(config).worker
    assert settings is not None
    return settings


def parted() -> Present:
    """Everything as SPLIT wants it."""
    present, wish = installed(), want(SPLIT)
    function = function_of(present)
    environment = {**wish.settings.environment, "LAMBDASMITH_GIT_SECRET": NAMES.secret}
    return replace(
        present,
        role=RoleState(made_here=True, trust=TRUST, policy=wish.policy),
        function=replace(function, settings=replace(wish.settings, environment=environment)),
        worker=WorkerState(
            function=replace(function, settings=settings_of(), per_tenant=True),
            role=RoleState(made_here=True, trust=TRUST, policy=document(worker_grants(NAMES))),
            store_role=RoleState(made_here=True, trust=store_trust(NAMES), policy=document(store_grants(NAMES))),
            log_group=LogGroupState(made_here=True),
        ),
    )


def with_worker(present: Present, **changes: Any) -> Present:
    function = worker_of(present)
    return replace(present, worker=replace(present.worker, function=replace(function, **changes)))


def worker_of(present: Present) -> FunctionState:
    assert present.worker.function is not None
    return present.worker.function


def order_of(steps: tuple[Step, ...], *names: str) -> bool:
    """Whether each of these steps waits, over however many others, for the one before."""
    needs = {step.name: set(step.needs) for step in steps}

    def waits(later: str, earlier: str) -> bool:
        return earlier in needs[later] or any(waits(each, earlier) for each in needs[later] & needs.keys())

    return all(waits(later, earlier) for earlier, later in pairwise(names))


def test_from_nothing_the_builder_is_told_of_a_worker_that_is_there() -> None:
    steps = converge(want(SPLIT), NOTHING)
    assert names_of(steps) == [
        *("bucket", "lifecycle", "secret", "role", "log group"),
        *WORKER,
        *("starter layer", "function", "retries", *SETUP, "worker layer"),
    ]
    assert order_of(steps, "role", "store role", "function", "setup", "worker layer")
    assert order_of(steps, "worker role", "worker", "function")
    worker, builder = [step for step in steps if isinstance(step, CreateFunction)]
    assert (worker.per_tenant, builder.per_tenant) == (True, False)
    assert worker.code == builder.code
    told = Settings.from_environment(builder.settings.environment)
    assert (told.worker, told.worker_role) == (NAMES.worker, NAMES.role_arn_of(NAMES.store_role))


def test_as_wanted_means_no_steps() -> None:
    assert converge(want(SPLIT), parted()) == ()


def test_the_worker_is_told_what_making_needs_and_of_no_secret() -> None:
    logins = Logins(
        git=(GitLogin(base="https://git.example.com", token="ssm:/shop/git"),),
        indexes=(IndexLogin(name="shop", url="https://pypi.example.com/simple", token="ssm:/shop/index"),),
        projects=(ProjectRule(pattern="shop-*", allow=("ssm:/shop/*",)),),
    )
    config = replace(
        SPLIT,
        logins=logins,
        role="app",
        git_base="https://git.example.com",
        index_url="https://pypi.example.com/simple",
    )
    settings = settings_of(config)
    told = Settings.from_environment(settings.environment)
    assert (told.bucket, told.store_prefix, told.index_url) == (NAMES.bucket, NAMES.prefix, config.index_url)
    assert told.logins == Logins(indexes=logins.indexes)
    assert {name.removeprefix("LAMBDASMITH_") for name in settings.environment} == {
        *("BUCKET", "PREFIX", "GIT_BASE", "INDEX_URL", "CREDENTIALS")
    }
    assert settings.handler == "builder.worker.handler"
    assert settings.role == NAMES.role_arn_of(NAMES.worker_role)


def test_shared_becomes_split_with_the_builder_s_layer_before_the_builder_is_told() -> None:
    steps = converge(want(SPLIT), installed())
    assert names_of(steps) == ["role", *WORKER, "configuration"]
    assert order_of(steps, "store role", "configuration")
    assert order_of(steps, "worker", "configuration")
    [worker] = [step for step in steps if isinstance(step, CreateWorker)]
    assert worker.layer == f"{NAMES.layer_arn}:2"


def test_split_becomes_shared_and_the_worker_goes_after_the_builder_is_told() -> None:
    steps = converge(want(), parted())
    removed = ["worker removed", "store role removed", "worker role removed", "worker log group removed"]
    assert names_of(steps) == ["role", "configuration", *removed]
    assert all(order_of(steps, "configuration", name) for name in removed)
    [update] = [step for step in steps if isinstance(step, UpdateConfiguration)]
    assert "WORKER" not in json.dumps(dict(update.settings.environment))
    half = replace(installed(), worker=replace(parted().worker, function=None))
    assert names_of(converge(want(), half)) == removed[1:]


def test_a_worker_that_does_not_keep_tenants_apart_is_replaced() -> None:
    for changes in ({"per_tenant": False}, {"state": "Failed"}):
        steps = converge(want(SPLIT), with_worker(parted(), **changes))
        assert names_of(steps) == ["worker replaced", "worker", "worker retries"]
        assert order_of(steps, "worker replaced", "worker")


def test_the_worker_follows_the_builder() -> None:
    old = with_worker(parted(), code_sha256="old")
    assert names_of(converge(want(SPLIT), old)) == ["worker code"]
    [update] = converge(want(SPLIT), with_worker(parted(), layers=(f"{NAMES.layer_arn}:1", "arn:other:1")))
    assert isinstance(update, UpdateWorkerConfiguration)
    assert (update.layer, update.layers) == (f"{NAMES.layer_arn}:2", ("arn:other:1",))
    larger = replace(SPLIT, memory_mb=4096)
    assert names_of(converge(want(larger), parted())) == ["worker configuration", "configuration"]
    moved = converge(want(replace(SPLIT, runtime="python3.12")), parted())
    assert names_of(moved) == ["worker configuration", "starter layer", "configuration", *SETUP, "worker layer"]
    proxied = {**worker_of(parted()).settings.environment, "HTTPS_PROXY": "http://proxy"}
    kept = with_worker(parted(), settings=replace(settings_of(), environment=proxied))
    assert converge(want(SPLIT), kept) == ()


def test_a_layer_that_setup_makes_is_attached_to_both() -> None:
    present = parted()
    assert present.ping is not None
    stale = replace(present, ping=replace(present.ping, layer_key="old"))
    assert names_of(converge(want(SPLIT), stale)) == [*SETUP, "worker layer"]


def test_what_somebody_else_has_called_so_is_in_the_way_of_split_alone() -> None:
    theirs = with_worker(installed_with(parted().worker), made_here=False)
    with pytest.raises(InvalidConfiguration, match="lambdasmith-worker exists"):
        converge(want(SPLIT), theirs)
    assert "worker removed" not in names_of(converge(want(), theirs))


def installed_with(worker: WorkerState) -> Present:
    return replace(installed(), worker=worker)


def test_removal_takes_everything_of_split_with_it() -> None:
    steps = remove(NAMES, parted())
    assert {"worker removed", "worker role removed", "store role removed", "worker log group removed"} < {
        *names_of(steps)
    }
    assert order_of(steps, "worker removed", "layers removed")
    assert order_of(steps, "store role removed", "role removed")


STORE = f"arn:aws:s3:::{NAMES.bucket}/{NAMES.prefix}"


def allows(granted: Mapping[str, Any], action: str, resource: str) -> bool:
    return decide(cast("list[Mapping[str, Any]]", granted["Statement"]), action, resource, {})


@pytest.mark.parametrize("split", [False, True])
def test_the_builder_may_order_and_lend_with_split_only_and_never_change_the_worker(split: bool) -> None:
    widest = policy(NAMES, Scope(functions=("shop-*",), roles=("*",), split=split))
    assert allows(widest, "lambda:InvokeFunction", NAMES.arn_in("lambda", f"function:{NAMES.worker}")) is split
    assert allows(widest, "sts:AssumeRole", NAMES.role_arn_of(NAMES.store_role)) is split
    assert not allows(widest, "sts:AssumeRole", NAMES.role_arn_of(NAMES.worker_role))
    assert allows(widest, "s3:GetObjectVersion", f"{STORE}uploads/x") is not split
    for role in (NAMES.role, NAMES.worker_role, NAMES.store_role):
        assert not allows(widest, "iam:PassRole", NAMES.role_arn_of(role))
    everything = policy(NAMES, Scope(functions=("*",), split=split))
    for action in ("UpdateFunctionCode", "UpdateFunctionConfiguration", "AddPermission", "DeleteFunction"):
        assert not allows(everything, f"lambda:{action}", NAMES.arn_in("lambda", f"function:{NAMES.worker}"))


def test_the_worker_has_no_right_but_to_write_its_log_and_to_know_orders() -> None:
    granted = document(worker_grants(NAMES))
    assert allows(granted, "s3:GetObject", f"{STORE}orders/x.json")
    assert not allows(granted, "s3:GetObject", f"{STORE}artifacts/x.zip")
    assert not allows(granted, "s3:PutObject", f"{STORE}orders/x.json")
    assert {action for grant in worker_grants(NAMES) for action in grant.why} == {
        *("s3:GetObject", "logs:CreateLogStream", "logs:PutLogEvents")
    }


def test_what_can_be_lent_is_never_what_is_published() -> None:
    granted = document(store_grants(NAMES))
    assert allows(granted, "s3:PutObject", f"{STORE}domains/x/artifacts/y.zip")
    for folder in ("artifacts", "components", "records", "vouched", "orders", "pinned", "deployed", "baselines"):
        assert not allows(granted, "s3:PutObject", f"{STORE}{folder}/y")
        assert allows(granted, "s3:GetObject", f"{STORE}{folder}/y") is (folder == "baselines")
    assert {action.partition(":")[0] for grant in store_grants(NAMES) for action in grant.why} == {"s3"}


def test_every_action_of_split_is_called() -> None:
    only = {(grant.sid, action) for grant in grants(NAMES, Scope(functions=(), split=True)) for action in grant.why} - {
        (grant.sid, action) for grant in grants(NAMES, Scope(functions=())) for action in grant.why
    }
    assert only == {("OrderFromWorker", "lambda:InvokeFunction"), ("LendStoreToWorker", "sts:AssumeRole")}


def worker_configuration(operator: Operator, name: str) -> dict[str, Any]:
    client = operator.server.client("lambda")
    found: dict[str, Any] = client.get_function(FunctionName=f"{name}-worker")["Configuration"]
    return found


def test_killed_after_every_step_in_turn_init_and_destroy_still_arrive(
    localaws: Server, make_operator: MakeOperator
) -> None:
    """With `split` and `fan_out`, because they have all steps of a shared builder and their own."""
    builder = {"LAMBDASMITH_BUILDER_ISOLATION": "split", "LAMBDASMITH_BUILDER_FAN_OUT": "on"}
    variables = {**builder, "LAMBDASMITH_GITHUB_GIT_TOKEN": "tok"}
    operator = make_operator(localaws, "halved", **variables)
    kills = 0
    while (line := kill_after_first_step(operator, "init", "-y")) is not None:
        kills += 1
        assert kills < 24, line
    assert kills >= 3
    status = operator.facts("status")
    assert status["ready"]
    assert status["pending"] == []
    assert status["isolation"] == "split"
    assert (status["worker"]["same_code"], status["worker"]["same_layer"]) == (True, True)
    assert worker_configuration(operator, "halved")["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    assert not operator.facts("init")["changed"]
    kills = 0
    while kill_after_first_step(operator, "destroy", "-y") is not None:
        kills += 1
        assert kills < 18
    assert operator.run("status").returncode == 4
    assert leftovers(localaws, "halved") == []


def test_a_builder_goes_to_split_and_back(bootstrapped: Bootstrapped, make_operator: MakeOperator) -> None:
    with bootstrapped() as server:
        goes_to_split_and_back(server, make_operator(server, "lambdasmith", LAMBDASMITH_GITHUB_GIT_TOKEN="tok"))


def goes_to_split_and_back(server: Server, operator: Operator) -> None:
    assert operator.facts("init", "-y")["isolation"] == "shared"
    functions = server.client("lambda")
    role = server.create_role("elsewhere")
    # As somebody else's tool would have made it, with our tag: Lambda cannot give it isolation any more.
    functions.create_function(
        FunctionName="lambdasmith-worker",
        Runtime="python3.13",
        Handler="a.b",
        Role=role,
        Code={"ZipFile": zip_of({"a.py": ""})},
        Tags={"lambdasmith:owner": "arn:aws:lambda:us-east-1:123456789012:function:lambdasmith"},
    )
    done = operator.facts("update", "-y", "--isolation", "split")
    assert "worker replaced" in [step["name"] for step in done["steps"]]
    assert done["isolation"] == "split"
    configuration = worker_configuration(operator, "lambdasmith")
    assert configuration["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    retries = functions.get_function_event_invoke_config(FunctionName="lambdasmith-worker")
    assert retries["MaximumRetryAttempts"] == 0
    assert "lambdasmith-worker" in operator.run("status", "--isolation", "split").stdout
    functions.update_function_configuration(FunctionName="lambdasmith-worker", Layers=[])
    drift = operator.facts("status", "--isolation", "split")
    assert drift["worker"]["same_layer"] is False
    assert drift["pending"] == ["update the configuration of function lambdasmith-worker: layers"]
    assert operator.facts("update", "-y", "--isolation", "shared")["isolation"] == "shared"
    assert [name for name in leftovers(server, "lambdasmith-") if "worker" in name or "store" in name] == []
    assert operator.facts("status")["pending"] == []
    operator.run("destroy", "-y")
    assert leftovers(server, "lambdasmith") == []
