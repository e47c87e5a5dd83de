"""Functions that keep tenants apart: who has to name a tenant, what tenants share (nothing), what is refused beside."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localaws.testing import zip_of
from tests.localaws.lab import INVALID, VALIDATION, Lab, refused, wait_until

PER_TENANT = {"TenantIsolationMode": "PER_TENANT"}
# Says who it runs for, and what invocations of this environment left in memory and in /tmp.
SOURCE = """
import os, pathlib, time
seen = []
folder = pathlib.Path(os.environ.get("TMPDIR", "/tmp"))
def handler(event, context):
    found = {"tenant": context.tenant_id, "seen": list(seen), "files": sorted(os.listdir(folder)),
             "stream": context.log_stream_name, "arn": context.invoked_function_arn}
    seen.append(context.tenant_id)
    (folder / str(len(seen))).write_text(str(context.tenant_id))
    time.sleep(event.get("seconds", 0))
    if event.get("raise"):
        raise ValueError(context.tenant_id)
    return found
"""


def call(lab: Lab, name: str, tenant: str | None, event: Any = None, **options: Any) -> dict[str, Any]:
    who = {} if tenant is None else {"TenantId": tenant}
    answer = lab.client.invoke(FunctionName=name, Payload=json.dumps(event or {}).encode(), **who, **options)
    content: dict[str, Any] = json.loads(answer["Payload"].read())
    return content


def tenanted(lab: Lab, source: str = SOURCE, **overrides: Any) -> str:
    return lab.function(source, TenancyConfig=PER_TENANT, **overrides)


def test_tenants_never_share_an_environment_and_one_tenant_reuses_its_own(any_lab: Lab) -> None:
    name = tenanted(any_lab)
    first, other, again = (call(any_lab, name, who) for who in ("blue", "green 1", "blue"))
    assert (first["tenant"], first["seen"], first["files"]) == ("blue", [], [])
    assert (other["tenant"], other["seen"], other["files"]) == ("green 1", [], [])
    assert (again["seen"], again["files"], again["stream"]) == (["blue"], ["1"], first["stream"])
    assert first["arn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


def test_tenants_stay_apart_under_load(lab: Lab) -> None:
    name = tenanted(lab)
    with ThreadPoolExecutor(6) as pool:
        whos = ["a", "b", "c"] * 4
        found = list(pool.map(lambda who: call(lab, name, who, {"seconds": 0.05}), whos))
    for who, each in zip(whos, found, strict=True):
        assert each["tenant"] == who
        assert set(each["seen"]) <= {who}


def test_versions_and_aliases_keep_tenants_apart_too(lab: Lab) -> None:
    name = tenanted(lab, Publish=True)
    lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert call(lab, name, "a", Qualifier="live")["seen"] == []
    assert call(lab, name, "b", Qualifier="1")["seen"] == []
    assert call(lab, name, "a", Qualifier="1")["seen"] == ["a"]


def test_a_custom_runtime_gets_the_tenant_as_a_header(any_lab: Lab) -> None:
    script = """#!/bin/sh
    api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
    while true; do
        curl -sS -D "${TMPDIR:-/tmp}/head" -o /dev/null $api/invocation/next
        id=$(grep -i '^lambda-runtime-aws-request-id' "${TMPDIR:-/tmp}/head" | tr -d '\\r' | cut -d' ' -f2)
        who=$(grep -i '^lambda-runtime-aws-tenant-id' "${TMPDIR:-/tmp}/head" | tr -d '\\r' | cut -d' ' -f2-)
        curl -sS -d "{\\"tenant\\": \\"$who\\"}" $api/invocation/$id/response > /dev/null
    done
    """
    name = any_lab.function(
        Runtime="provided.al2023", Code={"ZipFile": zip_of({"bootstrap": script})}, TenancyConfig=PER_TENANT
    )
    assert call(any_lab, name, "a b") == {"tenant": "a b"}


def test_the_configuration_says_so_and_no_update_changes_it(lab: Lab) -> None:
    name = tenanted(lab, Publish=True)
    lab.client.update_function_configuration(FunctionName=name, Timeout=4)
    lab.settle(name)
    whole = lab.client.get_function(FunctionName=name)["Configuration"]
    short = lab.client.get_function_configuration(FunctionName=name, Qualifier="1")
    pages = lab.client.get_paginator("list_functions").paginate()
    (listed,) = (each for page in pages for each in page["Functions"] if each["FunctionName"] == name)
    assert whole["TenancyConfig"] == short["TenancyConfig"] == listed["TenancyConfig"] == PER_TENANT
    plain = lab.function()
    assert "TenancyConfig" not in lab.client.get_function_configuration(FunctionName=plain)


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_tenant_has_to_be_named(lab: Lab, kind: str) -> None:
    name = tenanted(lab)
    with refused(INVALID, "Add a valid tenant ID in your request and try again.", 400):
        lab.client.invoke(FunctionName=name, InvocationType=kind)
    with refused(INVALID, "Add a valid tenant ID"):
        lab.client.invoke_async(FunctionName=name, InvokeArgs=b"{}")
    with refused(INVALID, "Add a valid tenant ID"):
        lab.client.invoke_with_response_stream(FunctionName=name)


@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_a_tenant_is_refused_where_none_are_kept_apart(lab: Lab, kind: str) -> None:
    with refused(INVALID, "Remove the tenant ID from your request", 400):
        lab.client.invoke(FunctionName=lab.function(), InvocationType=kind, TenantId="a")


@pytest.mark.parametrize("who", ["a\tb", "x" * 257, "a;b"])
def test_a_tenant_is_a_name_as_the_api_has_it(lab: Lab, who: str) -> None:
    with refused(VALIDATION, "'tenantId' failed to satisfy constraint"):
        lab.client.invoke(FunctionName=tenanted(lab), TenantId=who)


def test_events_run_for_their_tenant_and_are_tried_again_for_it(lab: Lab) -> None:
    name = tenanted(lab)
    answer = lab.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"raise": true}', TenantId="a")
    assert answer["StatusCode"] == 202
    logs = lab.server.client("logs")

    def failures() -> bool:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return sum("ValueError: a" in event["message"] for event in events) == 3

    lab.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    wait_until(lambda: logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"], "the group")
    wait_until(failures, "three attempts for the tenant")


def test_streams_run_for_their_tenant(lab: Lab) -> None:
    answer = lab.client.invoke_with_response_stream(FunctionName=tenanted(lab), TenantId="a")
    chunks = [event["PayloadChunk"]["Payload"] for event in answer["EventStream"] if "PayloadChunk" in event]
    assert json.loads(b"".join(chunks))["tenant"] == "a"


@pytest.mark.parametrize("config", [{"TenantIsolationMode": "SHARED"}, {}])
def test_other_modes_are_refused(lab: Lab, config: dict[str, str]) -> None:
    with refused(VALIDATION, "'tenancyConfig.tenantIsolationMode' failed to satisfy constraint"):
        lab.function(TenancyConfig=config)


def test_what_cannot_be_combined_is_refused(lab: Lab) -> None:
    client, name = lab.client, tenanted(lab, Publish=True)
    with refused(INVALID, "SnapStart is not supported", 400):
        tenanted(lab, SnapStart={"ApplyOn": "PublishedVersions"})
    with refused(INVALID, "SnapStart is not supported"):
        client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"})
    with refused(INVALID, "Function URLs are not supported", 400):
        client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    with refused(INVALID, "Provisioned concurrency is not supported", 400):
        client.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    queue = lab.server.client("sqs").create_queue(QueueName=lab.name("q"))["QueueUrl"].rsplit("/", 1)[-1]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    with refused(INVALID, "Event source mappings are not supported", 400):
        client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
    made = client.create_event_source_mapping(FunctionName=lab.function(), EventSourceArn=arn, Enabled=False)
    with refused(INVALID, "Event source mappings are not supported", 400):
        client.update_event_source_mapping(UUID=made["UUID"], FunctionName=name)
    client.delete_event_source_mapping(UUID=made["UUID"])
