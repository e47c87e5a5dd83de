"""Layers as AWS keeps them."""

from __future__ import annotations

import pytest
import requests

from localaws.testing import zip_of
from tests.localaws.lab import INVALID, Lab, code_sha256, refused, zip_unpacking_to


def test_versions_count_up_and_are_never_reused(lab: Lab) -> None:
    name = lab.name("layer")
    arns = [lab.layer({"python/x.py": f"a = {number}"}, name) for number in range(2)]
    assert [arn.rsplit(":", 1)[-1] for arn in arns] == ["1", "2"]
    lab.client.delete_layer_version(LayerName=name, VersionNumber=2)
    assert lab.layer({"python/x.py": "a = 2"}, name).endswith(":3")


def test_the_same_content_makes_a_new_version(lab: Lab) -> None:
    name = lab.name("layer")
    assert lab.layer({"python/x.py": "a = 1"}, name) != lab.layer({"python/x.py": "a = 1"}, name)


def test_what_a_layer_version_shows(lab: Lab) -> None:
    content = zip_of({"python/x.py": "a = 1"})
    name = lab.name("layer")
    published = lab.client.publish_layer_version(
        LayerName=name,
        Content={"ZipFile": content},
        Description="d",
        LicenseInfo="MIT",
        CompatibleRuntimes=["python3.12", "python3.13"],
        CompatibleArchitectures=["arm64"],
    )
    assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
    by_name = lab.client.get_layer_version(LayerName=name, VersionNumber=1)
    by_arn = lab.client.get_layer_version_by_arn(Arn=published["LayerVersionArn"])
    for found in (published, by_name, by_arn):
        assert found["Content"]["CodeSha256"] == code_sha256(content)
        assert found["Content"]["CodeSize"] == len(content)
        assert found["LayerArn"] == f"arn:aws:lambda:us-east-1:123456789012:layer:{name}"
        assert (found["Description"], found["LicenseInfo"], found["Version"]) == ("d", "MIT", 1)
        assert found["CompatibleRuntimes"] == ["python3.12", "python3.13"]
        assert found["CompatibleArchitectures"] == ["arm64"]
    assert requests.get(by_name["Content"]["Location"], timeout=10).content == content


def test_layers_from_s3(lab: Lab) -> None:
    content = zip_of({"python/x.py": "a = 3"})
    s3 = lab.server.client("s3")
    s3.create_bucket(Bucket="layer-bucket")
    s3.put_object(Bucket="layer-bucket", Key="layer.zip", Body=content)
    found = lab.client.publish_layer_version(
        LayerName=lab.name("layer"), Content={"S3Bucket": "layer-bucket", "S3Key": "layer.zip"}
    )
    assert found["Content"]["CodeSha256"] == code_sha256(content)
    with refused(INVALID, "NoSuchKey"):
        lab.client.publish_layer_version(LayerName="l", Content={"S3Bucket": "layer-bucket", "S3Key": "nope"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "Could not unzip"),
        (zip_of({}), "non-empty zip"),
    ],
    ids=["not a zip", "empty"],
)
def test_a_layer_is_refused(lab: Lab, content: bytes, message: str) -> None:
    with refused(INVALID, message):
        lab.client.publish_layer_version(LayerName="bad", Content={"ZipFile": content})


def test_a_layer_of_250_mb_unzipped_is_refused(lab: Lab) -> None:
    with refused(INVALID, "Unzipped size must be smaller than 262144000 bytes"):
        lab.client.publish_layer_version(LayerName="big", Content={"ZipFile": zip_unpacking_to(262_144_001)})


def test_deleting_is_idempotent_and_leaves_404(lab: Lab) -> None:
    name = lab.name("layer")
    lab.layer({"x": "1"}, name)
    for _ in range(2):
        answer = lab.client.delete_layer_version(LayerName=name, VersionNumber=1)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("ResourceNotFoundException", "does not exist", 404):
        lab.client.get_layer_version(LayerName=name, VersionNumber=1)


def test_lists_filter_and_page(lab: Lab) -> None:
    name = lab.name("layer")
    for runtime in ("python3.12", "python3.13", "python3.13"):
        lab.layer({"x": runtime}, name, CompatibleRuntimes=[runtime], CompatibleArchitectures=["x86_64"])
    versions = lab.client.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in versions] == [3, 2, 1]
    old = lab.client.list_layer_versions(LayerName=name, CompatibleRuntime="python3.12")["LayerVersions"]
    assert [version["Version"] for version in old] == [1]
    assert lab.client.list_layer_versions(LayerName=name, CompatibleArchitecture="arm64")["LayerVersions"] == []
    page = lab.client.list_layer_versions(LayerName=name, MaxItems=2)
    assert len(page["LayerVersions"]) == 2
    rest = lab.client.list_layer_versions(LayerName=name, MaxItems=2, Marker=page["NextMarker"])
    assert [version["Version"] for version in rest["LayerVersions"]] == [1]
    layers = lab.client.get_paginator("list_layers").paginate(CompatibleRuntime="python3.12")
    latest = {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for p in layers for layer in p["Layers"]}
    assert latest[name] == 1


def test_a_function_takes_five_layers_and_not_six(lab: Lab) -> None:
    arns = [lab.layer({f"python/m{number}.py": ""}) for number in range(6)]
    name = lab.function(Layers=arns[:5])
    assert [layer["Arn"] for layer in lab.client.get_function_configuration(FunctionName=name)["Layers"]] == arns[:5]
    with refused(INVALID, "Cannot reference more than 5 layers"):
        lab.client.update_function_configuration(FunctionName=name, Layers=arns)


def test_a_function_takes_one_version_of_a_layer(lab: Lab) -> None:
    stem = lab.name("layer")
    first, second = (lab.layer({"x": str(number)}, stem) for number in range(2))
    with refused(INVALID, "Two different versions of the same layer are not allowed"):
        lab.function(Layers=[first, second])


def test_code_and_layers_together_stay_under_250_mb(lab: Lab) -> None:
    arns = [lab.layer({}, Content={"ZipFile": zip_unpacking_to(131_000_000)}) for _ in range(2)]
    name = lab.function(Layers=arns[:1])
    with refused(INVALID, "combined with layers exceeds the maximum allowed size of 262144000 bytes"):
        lab.client.update_function_configuration(FunctionName=name, Layers=[*arns, lab.layer({"x": b"\0" * 1_000_000})])
    with refused(INVALID, "combined with layers exceeds"):
        lab.client.update_function_code(FunctionName=name, ZipFile=zip_unpacking_to(132_000_000))


def test_a_function_keeps_a_deleted_layer_version(lab: Lab) -> None:
    stem = lab.name("layer")
    arn = lab.layer({"python/x.py": "a = 1"}, stem)
    name = lab.function(Layers=[arn])
    lab.client.delete_layer_version(LayerName=stem, VersionNumber=1)
    assert lab.client.get_function_configuration(FunctionName=name)["Layers"][0]["Arn"] == arn
    with refused(INVALID, "does not exist"):
        lab.function(Layers=[arn])


def test_layers_can_be_cleared(lab: Lab) -> None:
    name = lab.function(Layers=[lab.layer({"x": "1"})])
    lab.client.update_function_configuration(FunctionName=name, Layers=[])
    assert "Layers" not in lab.client.get_function_configuration(FunctionName=name)


def test_permissions_of_a_layer_version(lab: Lab) -> None:
    stem = lab.name("layer")
    lab.layer({"x": "1"}, stem)
    where = {"LayerName": stem, "VersionNumber": 1}
    with refused("ResourceNotFoundException", "does not exist", 404):
        lab.client.get_layer_version_policy(**where)
    grant = {"StatementId": "all", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    lab.client.add_layer_version_permission(**where, **grant)
    assert '"Sid": "all"' in lab.client.get_layer_version_policy(**where)["Policy"]
    with refused("ResourceConflictException", "already exists", 409):
        lab.client.add_layer_version_permission(**where, **grant)
    lab.client.remove_layer_version_permission(**where, StatementId="all")
    with refused("ResourceNotFoundException", "", 404):
        lab.client.get_layer_version_policy(**where)
