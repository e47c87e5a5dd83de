"""init, update, status and destroy against the embedded AWS, which holds the builder to its policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bootstrap.package import package
from localaws.testing import Server
from tests.bootstrap.conftest import SETUP, MakeOperator, Operator

FUNCTION = "silversmith"
SCOPE = "shop-*"


@pytest.fixture(scope="module")
def operator(enforcing_localaws: Server, make_operator: MakeOperator) -> Operator:
    return make_operator(
        enforcing_localaws, FUNCTION, LAMBDASMITH_GITHUB_GIT_TOKEN="tok-one", LAMBDASMITH_BUILDER_FUNCTIONS=SCOPE
    )


@pytest.fixture(scope="module")
def first(operator: Operator) -> Iterator[dict[str, Any]]:
    """What the first `init` said. The tests below stand on it, in any order."""
    yield operator.facts("init", "-y")
    operator.run("destroy", "-y")


def names_of(facts: dict[str, Any]) -> list[str]:
    return [step["name"] for step in facts["steps"]]


def test_init_makes_everything_and_the_builder_is_ready(operator: Operator, first: dict[str, Any]) -> None:
    assert first["changed"]
    assert set(names_of(first)) == {
        *("bucket", "lifecycle", "secret", "role", "log group", "starter layer", "function", "retries"),
        *("setup allowed", "setup", "setup ended"),
    }
    assert first["versions"]["dulwich"]
    assert first["version"]
    assert first["bucket"] == "silversmith-123456789012-us-east-1"
    assert operator.left_behind() == []
    status = operator.facts("status")
    assert status["ready"]
    assert status["pending"] == []
    assert [layer["in_use"] for layer in status["layers"]] == [True, False]


def test_a_second_init_changes_nothing_and_asks_nothing(operator: Operator, first: dict[str, Any]) -> None:
    again = operator.facts("init")
    assert (again["changed"], again["steps"]) == (False, [])
    # As the original implementation's was called.
    original = operator.facts("--init", "--region", "us-east-1", "--bucket", first["bucket"])
    assert {**original, "seconds": None} == {**again, "seconds": None}
    assert "--init together with status" in operator.run("status", "--init").stderr
    assert os.access(SETUP, os.X_OK)
    assert "nothing to do" in operator.run("update").stdout


def test_the_token_is_in_the_secret_and_nowhere_else(operator: Operator, first: dict[str, Any]) -> None:
    secret = operator.server.client("secretsmanager").get_secret_value(SecretId=first["secret"])["SecretString"]
    assert '"token": "tok-one"' in secret
    function = operator.server.client("lambda").get_function_configuration(FunctionName=FUNCTION)
    assert "tok-one" not in repr(function)
    assert function["Environment"]["Variables"]["LAMBDASMITH_GIT_SECRET"] == first["secret"]
    shown = operator.run("status")
    assert "tok-one" not in shown.stdout + shown.stderr


def test_a_rotated_token_changes_the_secret_only(operator: Operator, first: dict[str, Any]) -> None:
    token = operator.home / "token"
    token.write_text("tok-two\n")
    assert names_of(operator.facts("update", "-y", "--git-token-file", str(token))) == ["secret"]
    assert names_of(operator.facts("update", "-y")) == ["secret"]  # back to the first


def test_newer_code_and_another_memory_are_two_small_steps(operator: Operator, first: dict[str, Any]) -> None:
    lambda_ = operator.server.client("lambda")
    lambda_.update_function_configuration(FunctionName=FUNCTION, MemorySize=1024)
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=FUNCTION)
    plan = operator.facts("update", "--plan")["plan"]
    assert [step.rpartition(": ")[2] for step in plan] == ["memory"]
    assert names_of(operator.facts("update", "-y")) == ["configuration"]
    now = lambda_.get_function_configuration(FunctionName=FUNCTION)
    assert (now["MemorySize"], now["CodeSha256"]) == (2048, package().code_sha256)


def test_the_bucket_is_versioned_encrypted_and_not_public(operator: Operator, first: dict[str, Any]) -> None:
    s3 = operator.server.client("s3")
    assert s3.get_bucket_versioning(Bucket=first["bucket"])["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=first["bucket"])["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_encryption(Bucket=first["bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_lambda_never_repeats_a_build_by_itself(operator: Operator, first: dict[str, Any]) -> None:
    lambda_ = operator.server.client("lambda")
    assert lambda_.get_function_event_invoke_config(FunctionName=FUNCTION)["MaximumRetryAttempts"] == 0


def refused(error: pytest.ExceptionInfo[ClientError]) -> bool:
    return error.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "403")


def test_the_role_reaches_its_scope_and_nothing_outside(operator: Operator, first: dict[str, Any]) -> None:
    assumed = operator.server.client("sts").assume_role(RoleArn=first["role_arn"], RoleSessionName="test")[
        "Credentials"
    ]
    keys = {
        "aws_access_key_id": assumed["AccessKeyId"],
        "aws_secret_access_key": assumed["SecretAccessKey"],
        "aws_session_token": assumed["SessionToken"],
    }
    lambda_, s3 = operator.server.client("lambda", **keys), operator.server.client("s3", **keys)
    with pytest.raises(ClientError) as inside:
        lambda_.get_function(FunctionName="shop-nothing")
    assert inside.value.response["Error"]["Code"] == "ResourceNotFoundException"  # allowed, but not there
    with pytest.raises(ClientError) as version:
        lambda_.delete_function(FunctionName="shop-nothing", Qualifier="1")
    assert version.value.response["Error"]["Code"] == "ResourceNotFoundException"
    lambda_.delete_layer_version(LayerName="shop-web--layer", VersionNumber=1)
    for listing in (lambda_.list_layers, lambda_.get_account_settings):
        listing()
    lambda_.list_layer_versions(LayerName="shop-web--layer")
    outside: tuple[tuple[Callable[..., object], dict[str, object]], ...] = (
        (lambda_.get_function, {"FunctionName": "billing"}),
        (lambda_.list_functions, {}),  # it would show everybody's variables
        (lambda_.update_function_code, {"FunctionName": "billing", "ZipFile": b"x"}),
        (lambda_.update_function_code, {"FunctionName": FUNCTION, "ZipFile": b"x"}),
        (lambda_.update_function_configuration, {"FunctionName": FUNCTION, "Timeout": 3}),
        (lambda_.delete_function, {"FunctionName": "shop-nothing"}),
        (lambda_.delete_function, {"FunctionName": "billing", "Qualifier": "1"}),
        (lambda_.delete_layer_version, {"LayerName": "billing--layer", "VersionNumber": 1}),
        (s3.put_object, {"Bucket": first["bucket"], "Key": "elsewhere/x", "Body": b""}),
        (operator.server.client("secretsmanager", **keys).get_secret_value, {"SecretId": "another"}),
        (operator.server.client("iam", **keys).list_roles, {}),
    )
    for call, arguments in outside:
        with pytest.raises(ClientError) as denied:
            call(**arguments)
        assert refused(denied), denied.value
    s3.put_object(Bucket=first["bucket"], Key=f"{first['prefix']}x", Body=b"")
