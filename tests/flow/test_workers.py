"""What the builder lends the worker: a trust domain's part of the store, and the order's source by its very name."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from builder.context import Context
from builder.errors import AccessDenied
from builder.event.request import Action, ManifestSource, ObjectSource, Request
from builder.flow.fetching import source_of
from builder.flow.order import Order, Source
from builder.flow.situation import Situation
from builder.flow.workers import _policy, _sources
from builder.publishing.steps import FunctionState
from builder.settings import Settings
from builder.store.s3 import S3Store
from builder.workspace.domains import Domain

ROLE = "arn:aws:iam::123456789012:role/lambdasmith-store-us-east-1"
DOMAIN = Domain(name="function web")


def lent(source: Source) -> list[dict[str, Any]]:
    """The statements of the session that goes with an order."""
    store = S3Store(cast("Any", None), "kept", "smith/")
    context = cast("Context", SimpleNamespace(settings=Settings(bucket="kept", worker_role=ROLE), store=store))
    order = Order(source=source, domain=DOMAIN, function="web")
    return cast("list[dict[str, Any]]", _policy(order, context, _sources(order, context))["Statement"])


def archive(bucket: str, key: str) -> ObjectSource:
    return ObjectSource(bucket=bucket, key=key, version_id=None)


def manifest(bucket: str, key: str) -> ManifestSource:
    return ManifestSource(bucket=bucket, manifest=key, version_id=None)


def test_an_order_gets_its_domain_and_its_source() -> None:
    own, baselines, source = lent(archive("theirs", "a/project.zip"))
    assert own["Resource"] == f"arn:aws:s3:::kept/smith/domains/{DOMAIN.id}/*"
    assert baselines["Resource"] == "arn:aws:s3:::kept/smith/baselines/*"
    assert source["Resource"] == ["arn:aws:s3:::theirs/a/project.zip"]
    assert "s3:PutObject" not in source["Action"]


@pytest.mark.parametrize(
    ("source", "resources"),
    [
        (archive("kept", "*"), ["kept/${*}"]),
        (archive("theirs", "${aws:userid}/?"), ["theirs/${$}{aws:userid}/${?}"]),
        (manifest("theirs", "a*/manifest.json"), ["theirs/a${*}/manifest.json", "theirs/a${*}/files/*"]),
        (manifest("theirs", "manifest.json"), ["theirs/manifest.json", "theirs/files/*"]),
        (archive("kept", "smith/uploads/0.tar.gz"), ["kept/smith/uploads/0.tar.gz"]),
    ],
)
def test_a_source_s_name_is_no_pattern(source: Source, resources: list[str]) -> None:
    assert lent(source)[-1]["Resource"] == [f"arn:aws:s3:::{each}" for each in resources]


@pytest.mark.parametrize("key", ["smith/domains/ab/artifacts/1.zip", "smith/artifacts/1.zip", "smith/domains/*"])
def test_what_the_builder_keeps_is_no_source(key: str) -> None:
    context = cast("Context", SimpleNamespace(store=S3Store(cast("Any", None), "kept", "smith/")))
    for source in (archive("kept", key), manifest("kept", key)):
        request = Request(action=Action.BUILD, function="web", source=source)
        with pytest.raises(AccessDenied, match="own store"):
            source_of(request, None, context)


def test_a_proposal_is_tried_without_the_functions_variables_and_no_order_tells_them() -> None:
    state = FunctionState(
        arn="arn",
        code_sha256="",
        architecture="arm64",
        layers=(),
        settings={"Environment": {"Variables": {"TABLE": "orders"}}},
        revision_id="",
        busy=False,
    )
    domain = Domain(name="git.example/o/n")
    own = Situation(key="", domain=domain, resolved=None, state=state, last=None, stands=False)
    assert own.variables == {"TABLE": "orders"}
    assert replace(own, domain=replace(domain, vouched=False)).variables == {}
    assert replace(own, state=None).variables == {}
    assert replace(own, state=replace(state, settings={"Environment": {"Error": {}}})).variables == {}
    order = Order(source=archive("b", "k"), domain=domain, function="f", variables=own.variables)
    assert "orders" not in json.dumps(order.as_json()) + repr(order)
