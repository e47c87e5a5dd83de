"""Stacks with versions and aliases: published, replaced and refused as by CloudFormation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localaws.stacks import Stack, StackFailed
from localaws.testing import zip_of
from tests.localaws.lab import Lab

BUCKET = "stacks-code"


@pytest.fixture
def stack(lab: Lab) -> Iterator[Stack]:
    s3 = lab.server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for n in (1, 2, 3):
        code = zip_of({"app.py": f"def handler(event, context):\n    return {n}\n"})
        s3.put_object(Bucket=BUCKET, Key=f"{n}.zip", Body=code)
    stack = Stack(lab.server, "versions")
    yield stack
    stack.delete()


def template(lab: Lab, n: int, **version: str) -> dict[str, Any]:
    function = {
        "FunctionName": "stacked",
        "Runtime": lab.runtime,
        "Handler": "app.handler",
        "Role": lab.role,
        "Code": {"S3Bucket": BUCKET, "S3Key": f"{n}.zip"},
    }
    alias = {
        "FunctionName": {"Ref": "Function"},
        "Name": "live",
        "FunctionVersion": {"Fn::GetAtt": ["Version", "Version"]},
    }
    return {
        "Resources": {
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
            "Version": {
                "Type": "AWS::Lambda::Version",
                "Properties": {"FunctionName": {"Ref": "Function"}, **version},
            },
            "Alias": {"Type": "AWS::Lambda::Alias", "Properties": alias},
        },
        "Outputs": {"Alias": {"Value": {"Ref": "Alias"}}},
    }


def test_an_alias_follows_versions_that_are_replaced(lab: Lab, stack: Stack) -> None:
    def served() -> object:
        return json.loads(lab.client.invoke(FunctionName=stack.outputs["Alias"])["Payload"].read())

    stack.deploy(template(lab, 1, Description="one"))
    assert (served(), stack.outputs["Alias"].rpartition(":")[2]) == (1, "live")
    stack.deploy(template(lab, 2, Description="one"))
    assert served() == 1, "the version is what it was, whatever the function is now"
    stack.deploy(template(lab, 2, Description="two"))
    assert served() == 2
    assert stack.attributes("Version")["Version"] == "2"
    versions = lab.client.list_versions_by_function(FunctionName="stacked")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "2"], "what was replaced is deleted"

    with pytest.raises(StackFailed, match=r"A version for this Lambda function exists \( 2 \)"):
        stack.deploy(template(lab, 2, Description="three"))
    assert (served(), stack.status) == (2, "UPDATE_ROLLBACK_COMPLETE")

    # The way back from an update that published a version already.
    broken = template(lab, 3, Description="three")
    broken["Resources"]["Alias"]["Properties"]["FunctionVersion"] = "99"
    broken["Resources"]["Alias"]["DependsOn"] = "Version"
    with pytest.raises(StackFailed):
        stack.deploy(broken)
    assert served() == 2
    assert stack.attributes("Version")["Version"] == "2"

    unknown = template(lab, 2, Description="two")
    unknown["Resources"]["Alias"]["Properties"]["ProvisionedConcurrencyConfig"] = {"ProvisionedConcurrentExecutions": 1}
    with pytest.raises(StackFailed, match="ProvisionedConcurrencyConfig: not supported here"):
        stack.deploy(unknown)
