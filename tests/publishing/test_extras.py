"""Configurations and extras through the embedded AWS: what was set is what is read, and is never set twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from builder.aws import Clients, connect
from builder.errors import AccessDenied
from builder.publishing.configuration import changes, differences, settings
from builder.publishing.extras import apply_extra, read_extras, wanted_extras
from builder.publishing.functions import read_function
from builder.runtimes import RUNTIMES, Target
from builder.spec.values import FunctionSpec
from localaws.testing import Server
from tests.localaws.lab import Lab, make_lab
from tests.spec.reading import read_build_file

SOURCE = "def handler(event, context):\n    return {'greeting': 'hello'}\n"


@pytest.fixture(scope="module")
def lab(localaws: Server) -> Lab:
    return make_lab(localaws)


@pytest.fixture
def clients(localaws: Server, monkeypatch: pytest.MonkeyPatch) -> Clients:
    for name, value in localaws.env.items():
        monkeypatch.setenv(name, value)
    return connect()


def function(lab: Lab, text: str) -> FunctionSpec:
    """The function of a build file, whose keys below `function` are `text`."""
    lines = [f"  runtimes: [{lab.runtime}]", "  handler: app.handler", *(f"  {line}" for line in text.splitlines())]
    spec = read_build_file("function:\n" + "\n".join(lines), file="build.yaml")
    assert spec.function
    return spec.function


class Deployer:
    """Does with a function's configuration and extras what a deployment does, and tells what it has done."""

    def __init__(self, lab: Lab, clients: Clients, name: str, alias: str | None = None) -> None:
        self.lab, self.clients, self.name, self.alias = lab, clients, name, alias
        self.url = ""

    def deploy(self, text: str) -> list[str]:
        """Make it so; the sentences of all differences."""
        spec = function(self.lab, text)
        state = read_function(self.clients, self.name)
        assert state
        wanted = settings(spec, Target(runtime=RUNTIMES[self.lab.runtime], architecture="x86_64"))
        told = [difference.sentence for difference in differences(wanted, state.settings)]
        if changed := changes(wanted, state.settings):
            update: Any = self.clients.lambda_.update_function_configuration
            update(FunctionName=self.name, **changed)
            self.lab.settle(self.name)
        extras = wanted_extras(spec, self.name, {**state.settings, **wanted})
        present = read_extras(self.clients, self.name, extras, alias=self.alias)
        told += [difference.sentence for difference in differences(extras, present)]
        for key, value in changes(extras, present).items():
            self.url = apply_extra(self.clients, self.name, key, value, alias=self.alias) or self.url
        return told

    def twice(self, text: str) -> list[str]:
        """As `deploy`; the same again finds nothing to do."""
        told = self.deploy(text)
        assert self.deploy(text) == []
        return told


@pytest.fixture
def deployer(lab: Lab, clients: Clients) -> Deployer:
    return Deployer(lab, clients, lab.function(SOURCE))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("memory: 256", "MemorySize: 128 → 256"),
        ("timeout: 9", "Timeout: 3 → 9"),
        ("description: Greets", "Description: '' → Greets"),
        ("ephemeral_storage: 1024", "EphemeralStorage.Size: 512 → 1024"),
        ("environment: {LEVEL: info}", "Environment.Variables.LEVEL: added"),
        ("configuration: {TracingConfig: {Mode: Active}}", "TracingConfig.Mode: PassThrough → Active"),
        ("configuration: {SnapStart: {ApplyOn: PublishedVersions}}", "SnapStart.ApplyOn: None → PublishedVersions"),
        (
            "configuration: {VpcConfig: {SubnetIds: [subnet-b, subnet-a], SecurityGroupIds: [sg-1]}}",
            "VpcConfig.SubnetIds: not set → [subnet-b, subnet-a]",
        ),
        (
            "configuration: {DeadLetterConfig: {TargetArn: 'arn:aws:sqs:us-east-1:123456789012:dead'}}",
            "DeadLetterConfig.TargetArn: not set → arn:aws:sqs:us-east-1:123456789012:dead",
        ),
        (
            "configuration: {KMSKeyArn: 'arn:aws:kms:us-east-1:123456789012:key/a'}",
            "KMSKeyArn: not set → arn:aws:kms:us-east-1:123456789012:key/a",
        ),
        ("configuration: {LoggingConfig: {LogFormat: JSON}}", "LoggingConfig.LogFormat: Text → JSON"),
        ("configuration: {DurableConfig: {ExecutionTimeout: 60}}", "DurableConfig.ExecutionTimeout: not set → 60"),
        ("configuration: {ReservedConcurrentExecutions: 0}", "ReservedConcurrentExecutions: not set → 0"),
        ("configuration: {MaximumRetryAttempts: 0}", "EventInvokeConfig.MaximumRetryAttempts: not set → 0"),
        (
            "configuration: {RuntimeManagementConfig: {UpdateRuntimeOn: FunctionUpdate}}",
            "RuntimeManagementConfig.UpdateRuntimeOn: Auto → FunctionUpdate",
        ),
        (
            "configuration: {CodeSigningConfigArn: "
            "'arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdef0'}",
            "CodeSigningConfigArn: not set → "
            "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdef0",
        ),
        ("log_retention: 14", "LogRetention.RetentionInDays: not set → 14"),
        ("url: true", "FunctionUrl.AuthType: not set → AWS_IAM"),
    ],
)
def test_each_setting_arrives_once_and_is_left_alone_then(deployer: Deployer, text: str, told: str) -> None:
    assert told in deployer.twice(text)
    assert deployer.deploy("license: MIT") == [], "what the file no longer names stays as it is"
    assert deployer.deploy(text) == []


def test_drift_made_by_hand_is_told_and_taken_back(deployer: Deployer) -> None:
    text = "memory: 256\nenvironment: {LEVEL: info}\nconfiguration: {ReservedConcurrentExecutions: 5}"
    deployer.twice(text)
    by_hand = {"MemorySize": 128, "Environment": {"Variables": {"LEVEL": "info", "MINE": "secret"}}}
    deployer.lab.client.update_function_configuration(FunctionName=deployer.name, Timeout=77, **by_hand)
    deployer.lab.client.put_function_concurrency(FunctionName=deployer.name, ReservedConcurrentExecutions=6)
    deployer.lab.settle(deployer.name)
    assert deployer.twice(text) == [
        "MemorySize: 128 → 256",
        "Environment.Variables.MINE: removed",
        "ReservedConcurrentExecutions: 6 → 5",
    ]
    found = deployer.lab.client.get_function_configuration(FunctionName=deployer.name)
    assert found["Timeout"] == 77, "what the file does not name is left as it is"


def test_a_public_url_answers_everybody_until_it_is_closed(deployer: Deployer) -> None:
    cors = "cors: {AllowOrigins: ['https://a.example', 'https://b.example'], MaxAge: 60}"
    told = deployer.twice(f"url: {{auth: none, invoke_mode: response_stream, {cors}}}")
    assert "FunctionUrl.OpenToAll: not set → [lambda:InvokeFunction, lambda:InvokeFunctionUrl]" in told
    url = deployer.url
    assert requests.get(url, timeout=20).json() == {"greeting": "hello"}
    found = deployer.lab.client.get_function_url_config(FunctionName=deployer.name)
    assert found["InvokeMode"] == "RESPONSE_STREAM"
    deployer.lab.client.remove_permission(FunctionName=deployer.name, StatementId="lambdasmith-url-invoke")
    assert requests.get(url, timeout=20).status_code == 403
    assert deployer.twice("url: {auth: none}") == [
        "FunctionUrl.OpenToAll: [lambda:InvokeFunctionUrl] → [lambda:InvokeFunction, lambda:InvokeFunctionUrl]"
    ]
    assert requests.get(url, timeout=20).status_code == 200
    assert "FunctionUrl.AuthType: NONE → AWS_IAM" in deployer.twice("url: true")
    assert requests.get(url, timeout=20).status_code == 403
    closed = deployer.lab.client.get_function_url_config(FunctionName=deployer.name)
    assert closed["Cors"] == found["Cors"], "what the file does not name is left as it is"
    assert deployer.url == url


def test_permissions_of_others_stay_and_a_lost_answer_does_no_harm(deployer: Deployer) -> None:
    others = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "StatementId": "bucket"}
    deployer.lab.client.add_permission(FunctionName=deployer.name, **others)
    deployer.deploy("url: {auth: none}")
    value = {"AuthType": "NONE", "OpenToAll": ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"]}
    apply_extra(deployer.clients, deployer.name, "FunctionUrl", value)
    deployer.deploy("url: {auth: iam}")
    policy = json.loads(deployer.lab.client.get_policy(FunctionName=deployer.name)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["bucket"]


def test_an_alias_has_a_url_and_asynchronous_settings_of_its_own(lab: Lab, clients: Clients) -> None:
    name = lab.function(SOURCE)
    deployer = Deployer(lab, clients, name, alias="live")
    lab.client.publish_version(FunctionName=name)
    lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    deployer.twice("url: {auth: none}\nconfiguration: {MaximumEventAgeInSeconds: 60}")
    assert requests.get(deployer.url, timeout=20).json() == {"greeting": "hello"}
    of_alias = lab.client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")
    assert of_alias["MaximumEventAgeInSeconds"] == 60
    for read in (lab.client.get_function_url_config, lab.client.get_function_event_invoke_config):
        with pytest.raises(lab.client.exceptions.ResourceNotFoundException):
            read(FunctionName=name)


def test_asynchronous_settings_keep_what_the_file_does_not_name(deployer: Deployer) -> None:
    queue = "arn:aws:sqs:us-east-1:123456789012:failed"
    by_hand = {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": {"Destination": queue}}}
    deployer.lab.client.put_function_event_invoke_config(FunctionName=deployer.name, **by_hand)
    deployer.twice("configuration: {MaximumRetryAttempts: 0}")
    found = deployer.lab.client.get_function_event_invoke_config(FunctionName=deployer.name)
    assert (found["MaximumRetryAttempts"], found["DestinationConfig"]["OnFailure"]) == (0, {"Destination": queue})


@pytest.mark.parametrize(
    ("configuration", "group"),
    [("{}", "/aws/lambda/{name}"), ("{LoggingConfig: {LogGroup: /shop/logs}}", "/shop/logs")],
)
def test_logs_are_kept_as_long_as_the_file_says_in_the_group_that_is_used(
    deployer: Deployer, localaws: Server, configuration: str, group: str
) -> None:
    wanted = group.format(name=deployer.name)
    logs = localaws.client("logs")
    logs.create_log_group(logGroupName=f"{wanted}-2")
    logs.put_retention_policy(logGroupName=f"{wanted}-2", retentionInDays=30)
    deployer.twice(f"log_retention: 30\nconfiguration: {configuration}")
    assert deployer.twice(f"log_retention: 60\nconfiguration: {configuration}") == [
        "LogRetention.RetentionInDays: 30 → 60"
    ]
    groups = logs.describe_log_groups(logGroupNamePrefix=wanted)["logGroups"]
    assert {found["logGroupName"]: found.get("retentionInDays") for found in groups} == {
        wanted: 60,
        f"{wanted}-2": 30,
    }


def test_nothing_is_asked_that_the_file_does_not_name(deployer: Deployer) -> None:
    deployer.deploy("license: MIT")
    assert dict(deployer.clients.calls.counts) == {("lambda", "GetFunction"): 1}


def test_a_function_that_does_not_exist_yet_has_no_extras(lab: Lab, clients: Clients) -> None:
    text = (
        "url: {auth: none}\nlog_retention: 7\nconfiguration: {ReservedConcurrentExecutions: 1, MaximumRetryAttempts: 0}"
    )
    wanted = wanted_extras(function(lab, text), "no-such-function", {})
    assert read_extras(clients, "no-such-function", wanted) == {}
    assert list(changes(wanted, {})) == list(wanted)


def test_what_aws_denies_says_which_setting_it_was(enforcing_localaws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = enforcing_localaws.client("iam")
    keys.create_user(UserName="nobody")
    key = keys.create_access_key(UserName="nobody")["AccessKey"]
    for name, value in enforcing_localaws.env.items():
        monkeypatch.setenv(name, value)
    nobody = connect(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
    with pytest.raises(AccessDenied, match="setting ReservedConcurrentExecutions of shop"):
        apply_extra(nobody, "shop", "ReservedConcurrentExecutions", 1)
