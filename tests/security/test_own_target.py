"""The builder as its own target: a caller tries to take it over, and is refused before any request to AWS."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from builder.store.values import body, value_of
from localaws.testing import zip_of
from tests.security.conftest import Lab

HANDLER = "def handler(event, context):\n    return 'ok'\n"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role"


def archive(runtime: str, function: str = "", layers: str = "", code: str = HANDLER) -> str:
    text = f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n{function}{layers}"
    return base64.b64encode(zip_of({"build.yaml": text, "app.py": code, "data/x": "x"})).decode()


def everything(lab: Lab) -> dict[str, Any]:
    """What the builder is: its code, configuration, layer versions, role."""
    client = lab.client("lambda")
    role = "lambdasmith-us-east-1"
    return {
        "function": client.get_function(FunctionName="lambdasmith")["Configuration"],
        "layer": client.list_layer_versions(LayerName="lambdasmith-layer")["LayerVersions"],
        "layers": client.list_layers()["Layers"],
        "policy": lab.client("iam").get_role_policy(RoleName=role, PolicyName="lambdasmith")["PolicyDocument"],
    }


@contextmanager
def untouched(lab: Lab) -> Iterator[None]:
    before = everything(lab)
    yield
    assert everything(lab) == before


ATTACKS: Mapping[str, dict[str, Any]] = {
    "build": {"action": "build"},
    "only a layer": {"action": "build", "components": ["layer"]},
    "plan": {"action": "plan"},
    "package": {"action": "package"},
    "the older shape": {"action": "build function dependencies"},
    "rollback": {"action": "rollback", "archive": None},
    "history": {"action": "history", "archive": None},
    "verify": {"action": "verify", "archive": None},
    "by ARN": {"action": "build", "function": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:lambdasmith"},
    "by a part of its ARN": {"action": "build", "function": f"{ACCOUNT}:function:LambdaSmith"},
    "by a version": {"action": "build", "function": "lambdasmith:1"},
    "in capitals": {"action": "build", "function": "LAMBDASMITH"},
    "the worker": {"action": "build", "function": "lambdasmith-worker"},
    "who sets it up": {"action": "build", "function": "lambdasmith-setup"},
    "the third shape": {"action": None, "function": None, "name": "lambdasmith", "architecture": "arm64"},
    "attached": {"action": "package", "function": "mine", "attached": ["lambdasmith-layer"]},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_builder_is_no_target_and_aws_is_not_asked(lab: Lab, attack: str) -> None:
    layers = "layers:\n  layer: {files: [data]}\n"
    event = {"function": "lambdasmith", "archive": archive(lab.builder.runtime, layers=layers), **ATTACKS[attack]}
    asked = len(lab.builder.aws.calls(function="lambdasmith"))
    with untouched(lab):
        reply = lab.builder.send(event)
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "own_target"), reply
    assert len(lab.builder.aws.calls(function="lambdasmith")) == asked


BUILD_FILES = {
    "its role": f"  role: {ROLE}/lambdasmith-us-east-1\n",
    "its role in another path": f"  role: {ROLE}/a/path/LambdaSmith-us-east-1\n",
    "its worker's role": f"  role: {ROLE}/lambdasmith-worker-us-east-1\n",
    "its log": "  configuration: {LoggingConfig: {LogGroup: /aws/lambda/lambdasmith}}\n",
    "its layer": f"layers:\n  theirs: arn:aws:lambda:us-east-1:{ACCOUNT}:layer:lambdasmith-layer:1\n",
}


@pytest.mark.parametrize("action", ["build", "plan", "package"])
@pytest.mark.parametrize("what", BUILD_FILES)
def test_no_build_file_names_a_part_of_the_builder(lab: Lab, what: str, action: str) -> None:
    sent = archive(lab.builder.runtime, BUILD_FILES[what])
    with untouched(lab):
        reply = lab.builder.send({"action": action, "function": "becomes-it", "archive": sent})
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "own_target"), reply
    assert lab.builder.state("becomes-it") is None


def test_a_record_that_names_the_builders_role_is_not_rolled_back_to(lab: Lab) -> None:
    name, s3 = "returns", lab.client("s3")
    for code in (HANDLER, HANDLER.replace("ok", "newer")):
        sent = archive(lab.builder.runtime, code=code)
        assert lab.builder.send({"action": "build", "function": name, "archive": sent})["statusCode"] == 200
    bucket, prefix = f"lambdasmith-{ACCOUNT}-us-east-1", f"lambdasmith/records/{name}/"
    oldest = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][-1]["Key"]
    record: dict[str, Any] = value_of(s3.get_object(Bucket=bucket, Key=oldest)["Body"].read())
    record["deployment"]["settings"]["Role"] = f"{ROLE}/lambdasmith-us-east-1"
    s3.put_object(Bucket=bucket, Key=oldest, Body=body(record))
    before = lab.builder.state(name)
    reply = lab.builder.send({"action": "rollback", "function": name})
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "own_target"), reply
    assert lab.builder.state(name) == before


def test_a_role_that_the_builder_may_not_give_is_refused_before_the_first_change(lab: Lab) -> None:
    name = "wants-more"
    assert (
        lab.builder.send({"action": "build", "function": name, "archive": archive(lab.builder.runtime)})["statusCode"]
        == 200
    )
    before = lab.builder.state(name)
    layers = f"  role: {ROLE}/admin\nlayers:\n  fresh: {{files: [data]}}\n"
    sent = archive(lab.builder.runtime, layers, code=HANDLER + "# newer\n")
    with untouched(lab):
        reply = lab.builder.send({"action": "build", "function": name, "archive": sent})
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "access_denied"), reply
    assert lab.builder.state(name) == before


def test_a_right_that_iam_has_taken_away_is_missed_before_the_first_change(lab: Lab) -> None:
    """As where an account's own rules forbid more than config.ini says."""
    name, iam = "half-allowed", lab.client("iam")
    runtime = lab.builder.runtime
    assert lab.builder.send({"action": "build", "function": name, "archive": archive(runtime)})["statusCode"] == 200
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    deny = {"Effect": "Deny", "Action": "lambda:UpdateFunctionCode", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName="lambdasmith-us-east-1", PolicyName="extra", PolicyDocument=document)
    before = lab.builder.state(name)
    try:
        changed = archive(runtime, "  memory: 512\n", "layers:\n  fresh: {files: [data]}\n", code=HANDLER + "# newer\n")
        with untouched(lab):
            reply = lab.builder.send({"action": "build", "function": name, "archive": changed})
    finally:
        iam.delete_role_policy(RoleName="lambdasmith-us-east-1", PolicyName="extra")
    assert (reply["statusCode"], reply["error"]["code"]) == (403, "access_denied"), reply
    assert lab.builder.state(name) == before


def test_another_builder_is_no_target_either(lab: Lab) -> None:
    name, client, sent = "another-smith", lab.client("lambda"), archive(lab.builder.runtime)
    assert lab.builder.send({"action": "build", "function": name, "archive": sent})["statusCode"] == 200
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"lambdasmith:owner": arn})
    before = lab.builder.state(name)
    changed = archive(lab.builder.runtime, code=HANDLER + "# newer\n")
    for event in ({"action": "build", "archive": changed}, {"action": "plan", "archive": changed}):
        reply = lab.builder.send({"function": name, **event})
        assert (reply["statusCode"], reply["error"]["code"]) == (403, "own_target"), reply
    assert lab.builder.state(name) == before
