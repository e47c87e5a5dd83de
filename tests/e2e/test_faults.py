"""Deploys that meet a fault at every call of AWS that they make, in turn: what is served stays whole, and the next
deploy finishes the work. The campaign (campaign.py) runs first; the tests read what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bootstrapped import Bootstrapped
from tests.e2e.campaign import LEASE_S, Campaign, Outcome, try_everything
from tests.e2e.conftest import Builder, Forge, make_builder
from tests.index import serving

PUBLISHING = ("lambda:PublishLayerVersion", "lambda:PublishVersion", "lambda:CreateFunction")


def set_variables(builder: Builder, **variables: str) -> None:
    """Add to the builder's environment, and wait until it has it."""
    client = builder.client("lambda")
    present = client.get_function(FunctionName=builder.name)["Configuration"]["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=builder.name, Environment={"Variables": {**present, **variables}})
    client.get_waiter("function_updated_v2").wait(FunctionName=builder.name, WaiterConfig={"Delay": 0.1})


@pytest.fixture(scope="module")
def campaign(bootstrapped: Bootstrapped, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    wheels = tmp_path_factory.mktemp("wheels")
    with bootstrapped() as aws, serving(wheels) as index:
        builder = make_builder(aws, forge, tmp_path_factory.mktemp("operator"))
        set_variables(builder, LAMBDASMITH_INDEX_URL=index.simple, LAMBDASMITH_LEASE_S=str(LEASE_S))
        yield try_everything(builder, forge, wheels)


def wrong(outcomes: list[Outcome], *why: str) -> str:
    return "\n".join([f"{len(outcomes)} wrong", *why, *(one.told() for one in outcomes)])


def kills(campaign: Campaign, alias: str | None) -> list[Outcome]:
    found = [one for one in campaign.outcomes if one.point.do.startswith("kill") and one.point.alias == alias]
    return [one for one in found if one.fired]


def whole(mark: int) -> list[int]:
    return [mark] * 3


def test_every_call_was_met(campaign: Campaign) -> None:
    """Else the rest shows nothing. A deploy may make one progress write less than the one that was counted."""
    missed = [one for one in campaign.outcomes if not one.fired and one.point.alias and not one.point.lent]
    assert len([one for one in kills(campaign, None) if not one.point.lent]) >= 3
    assert len([one for one in kills(campaign, None) if one.point.lent]) >= 2
    assert len(campaign.outcomes) > 140
    assert all(one.reply is None for one in kills(campaign, "live"))
    last = {
        calls: max(one.point.at or 0 for one in campaign.outcomes if one.point.calls == calls)
        for calls in ("reading", "writing")
    }
    early = [one for one in missed if (one.point.at or 0) < last[one.point.calls] - 3]
    assert not early, wrong(early)


def test_killed_at_any_call_an_alias_answers_old_or_new(campaign: Campaign) -> None:
    bad = [one for one in kills(campaign, "live") if one.answer not in (whole(one.old), whole(one.new))]
    assert not bad, wrong(bad)


def test_without_an_alias_a_killed_deploy_leaves_what_runs(campaign: Campaign) -> None:
    """Layers and settings come before the code that may need them: each is old or new, and the code is never first."""
    bad = []
    for one in kills(campaign, None):
        code, layer, setting = one.answer if isinstance(one.answer, list) else (None, None, None)
        known = {code, layer, setting} <= {one.old, one.new}
        if not known or (code == one.new and (layer, setting) != (one.new, one.new)):
            bad.append(one)
    assert not bad, wrong(bad)


def test_the_deploy_after_a_kill_finishes_the_work(campaign: Campaign) -> None:
    found = kills(campaign, "live") + kills(campaign, None)
    bad = [
        one
        for one in found
        if one.settled is None or one.settled["statusCode"] != 200 or one.settled_answer != whole(one.new)
    ]
    assert not bad, wrong(bad, *(str(one.settled and one.settled.get("error")) for one in bad))


def test_what_aws_mends_by_itself_is_not_noticed(campaign: Campaign) -> None:
    found = [one for one in campaign.outcomes if one.point.at is None]
    assert len(found) == 3
    bad = [
        one
        for one in found
        if one.fired < 10 or not one.reply or one.reply["statusCode"] != 200 or one.answer != whole(one.new)
    ]
    assert not bad, wrong(bad)


def faults_of_aws(campaign: Campaign) -> list[Outcome]:
    return [one for one in campaign.outcomes if not one.point.do.startswith("kill") and one.fired]


def test_a_call_that_fails_for_good_ends_the_deploy_clearly_or_not_at_all(campaign: Campaign) -> None:
    bad = []
    for one in faults_of_aws(campaign):
        reply = one.reply or {}
        if reply.get("statusCode") == 200:
            well = one.answer == whole(one.new)
        else:
            error = reply.get("error") or {}
            well = error.get("retryable") is True and bool(error.get("message")) and bool(error.get("hint"))
        if not well:
            bad.append(one)
    assert not bad, wrong(bad)


def test_a_failed_deploy_leaves_the_alias(campaign: Campaign) -> None:
    """It has moved only if the call that moves it took effect and was not answered, or came before the fault."""
    faults = [one for one in faults_of_aws(campaign) if one.point.alias]
    failed = [one for one in faults if not one.reply or one.reply["statusCode"] != 200]
    bad = [one for one in failed if one.answer != whole(one.new if one.moved else one.old)]
    assert not bad, wrong(bad)


def test_the_deploy_after_a_failed_one_finishes_the_work(campaign: Campaign) -> None:
    found = [one for one in faults_of_aws(campaign) if one.settled is not None]
    bad = [one for one in found if (one.settled or {})["statusCode"] != 200 or one.settled_answer != whole(one.new)]
    assert not bad, wrong(bad, *(str(one.settled and one.settled.get("error")) for one in bad))


def test_only_deploys_that_met_a_fault_leave_anything_orphaned(campaign: Campaign) -> None:
    """Every version of a function or layer is attached, aliased or in a record, but for what a fault cut off."""
    client = campaign.builder.client("lambda")
    records = stored_records(campaign.builder)
    published = orphans = 0
    for function in [item["FunctionName"] for item in client.list_functions()["Functions"]]:
        if not function.startswith("faulty-"):
            continue
        versions = pages(client, "list_versions_by_function", "Versions", FunctionName=function)
        layers = pages(client, "list_layer_versions", "LayerVersions", LayerName=f"{function}--dependencies")
        aliased = {alias["FunctionVersion"] for alias in client.list_aliases(FunctionName=function)["Aliases"]}
        attached = {layer["Arn"] for version in versions for layer in version.get("Layers", [])}
        numbers = [version["Version"] for version in versions if version["Version"] != "$LATEST"]
        published += len(numbers) + len(layers)
        known = records.get(function, "")
        orphans += sum(number not in aliased and f'"version": "{number}"' not in known for number in numbers)
        orphans += sum(layer["LayerVersionArn"] not in attached for layer in layers)
    cut_off = [
        one
        for one in campaign.aws.calls(function=campaign.builder.name)
        if one["name"] in PUBLISHING and one["request_id"] in campaign.faulty and (one["status"] or 500) < 300
    ]
    print(f"{published} versions of functions and layers, {orphans} orphans, {len(cut_off)} of deploys with faults")
    assert published > 100
    assert orphans <= len(cut_off)


def pages(client: Any, operation: str, member: str, **arguments: str) -> list[dict[str, Any]]:
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[member]]


def stored_records(builder: Builder) -> dict[str, str]:
    """The text of all records, by function."""
    s3, variables = builder.client("s3"), builder.client("lambda").get_function(FunctionName=builder.name)
    bucket = variables["Configuration"]["Environment"]["Variables"]["LAMBDASMITH_BUCKET"]
    found: dict[str, str] = {}
    for item in pages(s3, "list_objects_v2", "Contents", Bucket=bucket):
        folder, _, function = item["Key"].rpartition("/")[0].rpartition("/")
        if folder.endswith("records"):
            found[function] = (
                found.get(function, "") + s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
            )
    return found
