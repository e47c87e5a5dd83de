"""Functions as AWS keeps them: what is refused and how, states, revisions, code, what an update changes."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from localaws.testing import zip_of
from tests.localaws.lab import CODE, INVALID, OTHER, VALIDATION, Lab, code_sha256, refused, zip_unpacking_to

REFUSED_CREATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "retired runtime": ({"Runtime": "python3.6"}, INVALID, "no longer supported for creating or updating"),
    "unknown runtime": ({"Runtime": "python9.9"}, INVALID, "Member must satisfy enum value set"),
    "no handler": ({"Handler": None}, INVALID, "Runtime and Handler are mandatory"),
    "no runtime": ({"Runtime": None}, INVALID, "Runtime and Handler are mandatory"),
    "handler with a space": ({"Handler": "app handler"}, VALIDATION, "'handler' failed to satisfy constraint"),
    "timeout over 900": ({"Timeout": 901}, VALIDATION, "less than or equal to 900"),
    "memory under 128": ({"MemorySize": 127}, VALIDATION, "greater than or equal to 128"),
    "memory over 10240": ({"MemorySize": 10241}, VALIDATION, "less than or equal to 10240"),
    "ephemeral storage under 512": ({"EphemeralStorage": {"Size": 511}}, VALIDATION, "greater than or equal to 512"),
    "ephemeral storage over 10240": ({"EphemeralStorage": {"Size": 10241}}, VALIDATION, "less than or equal to 10240"),
    "two architectures": ({"Architectures": ["x86_64", "arm64"]}, VALIDATION, "length less than or equal to 1"),
    "unknown architecture": ({"Architectures": ["riscv"]}, VALIDATION, "enum value set: [x86_64, arm64]"),
    "long description": ({"Description": "d" * 257}, VALIDATION, "length less than or equal to 256"),
    "reserved variable": ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, INVALID, "reserved keys"),
    "variable name": ({"Environment": {"Variables": {"1ST": "x"}}}, VALIDATION, "Map keys must satisfy constraint"),
    "4 KB of variables": ({"Environment": {"Variables": {"LONG": "x" * 4090}}}, INVALID, "exceeded the 4KB limit"),
    "malformed role": ({"Role": "arn:aws:iam::123456789012:user/me"}, VALIDATION, "'role' failed to satisfy"),
    "missing role": ({"Role": "arn:aws:iam::123456789012:role/nobody"}, INVALID, "cannot be assumed by Lambda"),
    "role of another account": (
        {"Role": "arn:aws:iam::210987654321:role/theirs"},
        "AccessDeniedException",
        "Cross-account pass role",
    ),
    "no code": ({"Code": {}}, INVALID, "Please provide a source for function code"),
    "not a zip": ({"Code": {"ZipFile": b"not a zip"}}, INVALID, "Could not unzip uploaded file"),
    "empty zip": ({"Code": {"ZipFile": zip_of({})}}, INVALID, "Uploaded file must be a non-empty zip"),
    "zip and S3": (
        {"Code": {"ZipFile": CODE, "S3Bucket": "code-bucket", "S3Key": "k"}},
        INVALID,
        "Please do not provide other FunctionCode parameters",
    ),
    "missing bucket": ({"Code": {"S3Bucket": "no-such-bucket", "S3Key": "k"}}, INVALID, "S3 Error Code: NoSuchBucket"),
    "missing key": ({"Code": {"S3Bucket": "code-bucket", "S3Key": "nope"}}, INVALID, "S3 Error Code: NoSuchKey"),
    "missing object version": (
        {"Code": {"S3Bucket": "code-bucket", "S3Key": "code.zip", "S3ObjectVersion": "nope"}},
        INVALID,
        "S3 Error Code: NoSuchVersion",
    ),
    "bucket in another region": (
        {"Code": {"S3Bucket": "far-bucket", "S3Key": "code.zip"}},
        INVALID,
        "The bucket is in this region: eu-west-1",
    ),
    "missing layer": (
        {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:none:1"]},
        INVALID,
        "Layer version arn:aws:lambda:us-east-1:123456789012:layer:none:1 does not exist",
    ),
    "layer of another region": (
        {"Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:none:1"]},
        INVALID,
        "Layers are expected to be in region us-east-1",
    ),
    "name over 64": ({"FunctionName": "n" * 65}, INVALID, "is not a name"),
    "name with a space": ({"FunctionName": "a b"}, VALIDATION, "'functionName' failed to satisfy constraint"),
}


@pytest.fixture(scope="module")
def code_bucket(lab: Lab) -> str:
    s3 = lab.server.client("s3")
    s3.create_bucket(Bucket="code-bucket")
    s3.put_bucket_versioning(Bucket="code-bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="code-bucket", Key="code.zip", Body=CODE)
    s3.create_bucket(Bucket="far-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="far-bucket", Key="code.zip", Body=CODE)
    return "code-bucket"


@pytest.mark.parametrize("case", REFUSED_CREATIONS)
def test_a_creation_is_refused(lab: Lab, code_bucket: str, case: str) -> None:
    overrides, code, message = REFUSED_CREATIONS[case]
    name = overrides.get("FunctionName") or lab.name()
    with refused(code, message):
        lab.function(**{"FunctionName": name, "Code": {"ZipFile": CODE}, **overrides})
    if "FunctionName" not in overrides:
        with refused("ResourceNotFoundException", "Function not found", 404):
            lab.client.get_function(FunctionName=name)


def test_250_mb_unzipped_are_refused(lab: Lab) -> None:
    with refused(INVALID, "Unzipped size must be smaller than 262144000 bytes"):
        lab.function(Code={"ZipFile": zip_unpacking_to(262_144_001)})


def test_a_request_of_70_mb_is_refused_by_its_size(lab: Lab) -> None:
    client = lab.server.client("lambda")
    with refused("RequestEntityTooLargeException", "Request must be smaller than 70167211 bytes", 413):
        client.create_function(
            FunctionName="huge", Runtime=lab.runtime, Handler="a.b", Role=lab.role, Code={"ZipFile": b"\0" * 52_700_000}
        )


def test_a_role_that_does_not_trust_lambda_is_refused(lab: Lab) -> None:
    role = lab.server.create_role("for-ec2", service="ec2.amazonaws.com")
    with refused(INVALID, "cannot be assumed by Lambda"):
        lab.function(Role=role)


def test_a_function_exists_once(lab: Lab) -> None:
    name = lab.function()
    with refused("ResourceConflictException", f"Function already exist: {name}", 409):
        lab.function(FunctionName=name)


def test_a_new_function_has_the_defaults_of_aws(lab: Lab) -> None:
    found = lab.client.get_function_configuration(FunctionName=lab.function())
    expected = {
        "Timeout": 3,
        "MemorySize": 128,
        "EphemeralStorage": {"Size": 512},
        "Architectures": ["x86_64"],
        "PackageType": "Zip",
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "Version": "$LATEST",
        "CodeSize": len(CODE),
        "CodeSha256": code_sha256(CODE),
        "Description": "",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{found['FunctionName']}"}
    assert {"Environment", "Layers", "KMSKeyArn", "DeadLetterConfig", "VpcConfig"}.isdisjoint(found)
    assert found["RevisionId"]
    assert found["ConfigSha256"]


def test_code_can_come_from_s3_at_an_exact_version(lab: Lab, code_bucket: str) -> None:
    s3 = lab.server.client("s3")
    old = s3.put_object(Bucket=code_bucket, Key="versioned.zip", Body=CODE)["VersionId"]
    s3.put_object(Bucket=code_bucket, Key="versioned.zip", Body=OTHER)
    newest = lab.function(Code={"S3Bucket": code_bucket, "S3Key": "versioned.zip"})
    pinned = lab.function(Code={"S3Bucket": code_bucket, "S3Key": "versioned.zip", "S3ObjectVersion": old})
    assert lab.client.get_function_configuration(FunctionName=newest)["CodeSha256"] == code_sha256(OTHER)
    assert lab.client.get_function_configuration(FunctionName=pinned)["CodeSha256"] == code_sha256(CODE)


def test_code_location_is_a_real_download(lab: Lab) -> None:
    location = lab.client.get_function(FunctionName=lab.function())["Code"]["Location"]
    assert requests.get(location, timeout=10).content == CODE


def test_a_function_is_found_by_name_partial_arn_and_arn(lab: Lab) -> None:
    name = lab.function()
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    for spelling in (name, f"123456789012:function:{name}", arn, f"{arn}:$LATEST", f"{name}:$LATEST"):
        found = lab.client.get_function_configuration(FunctionName=spelling)
        assert found["FunctionName"] == name
        assert found["FunctionArn"] == (f"{arn}:$LATEST" if spelling.endswith("$LATEST") else arn)


def test_another_region_knows_nothing_of_it(lab: Lab) -> None:
    name = lab.function()
    elsewhere = lab.server.client("lambda", region_name="eu-west-1")
    with refused("ResourceNotFoundException", f"arn:aws:lambda:eu-west-1:123456789012:function:{name}", 404):
        elsewhere.get_function(FunctionName=name)


UPDATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ephemeral storage": ({"EphemeralStorage": {"Size": 1024}}, {"EphemeralStorage": {"Size": 1024}}),
    "tracing": ({"TracingConfig": {"Mode": "Active"}}, {"TracingConfig": {"Mode": "Active"}}),
    "kms key": (
        {"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k"},
        {"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k"},
    ),
    "dead letters": (
        {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"}},
        {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"}},
    ),
    "logging": (
        {"LoggingConfig": {"LogFormat": "JSON", "LogGroup": "mine"}},
        {
            "LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": "mine",
                "ApplicationLogLevel": "INFO",
                "SystemLogLevel": "INFO",
            }
        },
    ),
    "timeout and memory": ({"Timeout": 10, "MemorySize": 512}, {"Timeout": 10, "MemorySize": 512}),
    "handler and description": ({"Handler": "a.b", "Description": "d"}, {"Handler": "a.b", "Description": "d"}),
    "environment": ({"Environment": {"Variables": {"AB": "c"}}}, {"Environment": {"Variables": {"AB": "c"}}}),
}


@pytest.mark.parametrize("case", UPDATES)
def test_an_update_changes_the_configuration(lab: Lab, case: str) -> None:
    change, expected = UPDATES[case]
    name = lab.function()
    before = lab.client.get_function_configuration(FunctionName=name)
    lab.client.update_function_configuration(FunctionName=name, **change)
    lab.settle(name)
    found = lab.client.get_function_configuration(FunctionName=name)
    assert {key: found[key] for key in expected} == expected
    assert found["RevisionId"] != before["RevisionId"]
    assert found["ConfigSha256"] != before["ConfigSha256"]
    assert found["LastModified"] > before["LastModified"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"Timeout": 901}, VALIDATION, "less than or equal to 900"),
        ({"MemorySize": 64}, VALIDATION, "'memorySize' failed to satisfy constraint"),
        ({"Runtime": "python2.7"}, INVALID, "no longer supported"),
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, INVALID, "cannot be assumed by Lambda"),
        ({"Environment": {"Variables": {"LAMBDA_TASK_ROOT": "/"}}}, INVALID, "reserved keys"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_update_is_refused_and_changes_nothing(lab: Lab, change: dict[str, Any], code: str, message: str) -> None:
    name = lab.function()
    before = lab.client.get_function_configuration(FunctionName=name)
    with refused(code, message):
        lab.client.update_function_configuration(FunctionName=name, **change)
    after = lab.client.get_function_configuration(FunctionName=name)
    assert (after["RevisionId"], after["ConfigSha256"]) == (before["RevisionId"], before["ConfigSha256"])


def test_an_empty_environment_clears_it(lab: Lab) -> None:
    name = lab.function(Environment={"Variables": {"AB": "c"}})
    lab.client.update_function_configuration(FunctionName=name, Environment={})
    assert "Environment" not in lab.client.get_function_configuration(FunctionName=name)


def test_dry_run_shows_the_new_code_and_changes_nothing(lab: Lab) -> None:
    name = lab.function()
    before = lab.client.get_function_configuration(FunctionName=name)
    shown = lab.client.update_function_code(FunctionName=name, ZipFile=OTHER, DryRun=True)
    assert shown["CodeSha256"] == code_sha256(OTHER)
    after = lab.client.get_function_configuration(FunctionName=name)
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])


def test_a_code_update_can_change_the_architecture(lab: Lab) -> None:
    name = lab.function()
    lab.client.update_function_code(FunctionName=name, ZipFile=CODE, Architectures=["arm64"])
    assert lab.client.get_function_configuration(FunctionName=name)["Architectures"] == ["arm64"]


def test_a_code_update_is_refused_like_a_creation(lab: Lab, code_bucket: str) -> None:
    name = lab.function()
    for code, message in (
        ({"ZipFile": b"junk"}, "Could not unzip"),
        ({"ZipFile": zip_of({})}, "non-empty zip"),
        ({"S3Bucket": code_bucket, "S3Key": "nope"}, "NoSuchKey"),
        ({}, "Please provide a source"),
    ):
        with refused(INVALID, message):
            lab.client.update_function_code(FunctionName=name, **code)


@pytest.mark.parametrize("operation", ["update_function_code", "update_function_configuration", "publish_version"])
def test_a_stale_revision_is_refused(lab: Lab, operation: str) -> None:
    name = lab.function()
    change: dict[str, Any] = {"ZipFile": OTHER} if operation == "update_function_code" else {"Description": "d"}
    with refused("PreconditionFailedException", "does not match the latest Revision Id", 412):
        getattr(lab.client, operation)(FunctionName=name, RevisionId="0" * 8, **change)
    revision = lab.client.get_function_configuration(FunctionName=name)["RevisionId"]
    getattr(lab.client, operation)(FunctionName=name, RevisionId=revision, **change)


def test_states_of_a_creation_and_an_update(slow_lab: Lab) -> None:
    client, name = slow_lab.client, slow_lab.function(wait=False)
    found = client.get_function(FunctionName=name)["Configuration"]
    assert (found["State"], found["StateReasonCode"]) == ("Pending", "Creating")
    with refused("ResourceConflictException", "currently in the following state: Pending", 409):
        client.update_function_configuration(FunctionName=name, Timeout=4)
    with refused("ResourceConflictException", "currently in the following state: Pending", 409):
        client.invoke(FunctionName=name)
    with refused("ResourceConflictException", "currently in the following state: Pending", 409):
        client.publish_version(FunctionName=name)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    updated = client.update_function_code(FunctionName=name, ZipFile=OTHER)
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    arn = updated["FunctionArn"]
    changes: dict[str, dict[str, Any]] = {
        "update_function_code": {"ZipFile": CODE},
        "update_function_configuration": {"Timeout": 4},
        "publish_version": {},
    }
    for operation, change in changes.items():
        with refused("ResourceConflictException", f"An update is in progress for resource: {arn}", 409):
            getattr(client, operation)(FunctionName=name, **change)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert client.publish_version(FunctionName=name)["Version"] == "1"


def test_a_deleted_function_is_gone(lab: Lab) -> None:
    name = lab.function()
    answer = lab.client.delete_function(FunctionName=name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    for operation in ("get_function", "delete_function", "publish_version", "list_aliases"):
        with refused("ResourceNotFoundException", f"function:{name}", 404):
            getattr(lab.client, operation)(FunctionName=name)


def test_functions_are_listed_page_by_page_without_state(lab: Lab) -> None:
    names = {lab.function(wait=False) for _ in range(3)}
    pages = list(lab.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    found = [function for page in pages for function in page["Functions"]]
    assert len(pages) > 1
    assert all(len(page["Functions"]) <= 2 for page in pages)
    assert names <= {function["FunctionName"] for function in found}
    assert not any("State" in function or "LastUpdateStatus" in function for function in found)


def test_all_versions_are_listed_when_asked(lab: Lab) -> None:
    name = lab.function()
    lab.client.publish_version(FunctionName=name)
    pages = lab.client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
    arns = {f["FunctionArn"] for page in pages for f in page["Functions"] if f["FunctionName"] == name}
    stem = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert arns == {f"{stem}:$LATEST", f"{stem}:1"}


def test_an_unknown_operation_says_so(lab: Lab) -> None:
    with refused("NotImplementedByLocalAws", "ListCapacityProviders is not implemented"):
        lab.client.list_capacity_providers()
