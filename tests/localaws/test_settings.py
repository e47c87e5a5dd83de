"""Everything that hangs on a function: concurrency, tags, policies, asynchronous settings, URLs, the account."""

from __future__ import annotations

import json

from tests.localaws.lab import INVALID, Lab, refused


def test_account_settings(lab: Lab) -> None:
    found = lab.client.get_account_settings()
    assert found["AccountLimit"]["CodeSizeUnzipped"] == 262_144_000
    assert found["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert found["AccountUsage"]["FunctionCount"] >= 0


def test_reserved_concurrency(lab: Lab) -> None:
    name = lab.function()
    assert "ReservedConcurrentExecutions" not in lab.client.get_function_concurrency(FunctionName=name)
    lab.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    assert lab.client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert lab.client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    with refused(INVALID, "UnreservedConcurrentExecution below its minimum value of [100]"):
        lab.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=950)
    lab.client.delete_function_concurrency(FunctionName=name)
    assert "Concurrency" not in lab.client.get_function(FunctionName=name)


def test_no_concurrency_means_429(lab: Lab) -> None:
    name = lab.function()
    lab.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with refused("TooManyRequestsException", "Rate Exceeded", 429):
        lab.client.invoke(FunctionName=name)


def test_tags(lab: Lab) -> None:
    name = lab.function(Tags={"a": "1"})
    arn = lab.client.get_function_configuration(FunctionName=name)["FunctionArn"]
    lab.client.tag_resource(Resource=arn, Tags={"b": "2"})
    assert lab.client.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "2"}
    assert lab.client.get_function(FunctionName=name)["Tags"] == {"a": "1", "b": "2"}
    lab.client.untag_resource(Resource=arn, TagKeys=["a"])
    assert lab.client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def test_resource_policy(lab: Lab) -> None:
    name = lab.function()
    with refused("ResourceNotFoundException", "does not exist", 404):
        lab.client.get_policy(FunctionName=name)
    grant = {
        "StatementId": "s3",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::b",
        "SourceAccount": "123456789012",
    }
    added = lab.client.add_permission(FunctionName=name, **grant)
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    found = lab.client.get_policy(FunctionName=name)
    statement = json.loads(found["Policy"])["Statement"][0]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"]["ArnLike"] == {"AWS:SourceArn": "arn:aws:s3:::b"}
    with refused("ResourceConflictException", "already exists", 409):
        lab.client.add_permission(FunctionName=name, **grant)
    with refused("PreconditionFailedException", "", 412):
        lab.client.remove_permission(FunctionName=name, StatementId="s3", RevisionId="old")
    lab.client.remove_permission(FunctionName=name, StatementId="s3", RevisionId=found["RevisionId"])
    with refused("ResourceNotFoundException", "is not found in resource policy", 404):
        lab.client.remove_permission(FunctionName=name, StatementId="s3")


def test_event_invoke_config(lab: Lab) -> None:
    client, name = lab.client, lab.function()
    with refused("ResourceNotFoundException", "doesn't have an EventInvokeConfig", 404):
        client.get_function_event_invoke_config(FunctionName=name)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    found = client.get_function_event_invoke_config(FunctionName=name)
    assert found["MaximumRetryAttempts"] == 0
    assert "MaximumEventAgeInSeconds" not in found
    client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=90)
    found = client.get_function_event_invoke_config(FunctionName=name)
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (0, 90)
    assert len(client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]) == 1
    with refused("ValidationException", "less than or equal to 2"):
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=3)
    client.delete_function_event_invoke_config(FunctionName=name)
    with refused("ResourceNotFoundException", "", 404):
        client.get_function_event_invoke_config(FunctionName=name)


def test_provisioned_concurrency(lab: Lab) -> None:
    name = lab.function()
    with refused(INVALID, "cannot be applied to unpublished function versions"):
        lab.client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
    lab.client.publish_version(FunctionName=name)
    where = {"FunctionName": name, "Qualifier": "1"}
    with refused("ProvisionedConcurrencyConfigNotFoundException", "", 404):
        lab.client.get_provisioned_concurrency_config(**where)
    lab.client.put_provisioned_concurrency_config(**where, ProvisionedConcurrentExecutions=2)
    assert lab.client.get_provisioned_concurrency_config(**where)["Status"] == "READY"
    assert len(lab.client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]) == 1
    lab.client.delete_provisioned_concurrency_config(**where)


def test_runtime_management(lab: Lab) -> None:
    name = lab.function()
    assert lab.client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    lab.client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert lab.client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    with refused(INVALID, "RuntimeVersionArn"):
        lab.client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual")


def test_recursion_and_code_signing(lab: Lab) -> None:
    name = lab.function()
    assert lab.client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    lab.client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert lab.client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert "CodeSigningConfigArn" not in lab.client.get_function_code_signing_config(FunctionName=name)


def test_function_url_config(lab: Lab) -> None:
    name = lab.function()
    with refused("ResourceNotFoundException", "does not exist", 404):
        lab.client.get_function_url_config(FunctionName=name)
    created = lab.client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    with refused("ResourceConflictException", "FunctionUrlConfig exists", 409):
        lab.client.create_function_url_config(FunctionName=name, AuthType="NONE")
    lab.client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    found = lab.client.get_function_url_config(FunctionName=name)
    assert (found["AuthType"], found["FunctionUrl"]) == ("AWS_IAM", created["FunctionUrl"])
    assert len(lab.client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]) == 1
    assert lab.client.delete_function_url_config(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_event_source_mappings(lab: Lab) -> None:
    sqs, name = lab.server.client("sqs"), lab.function()
    url = sqs.create_queue(QueueName=f"mapped-{name}")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:mapped-{name}"
    created = lab.client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, Enabled=False)
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert created["BatchSize"] == 10
    with refused("ResourceConflictException", created["UUID"], 409):
        lab.client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
    with refused(INVALID, "Maximum batch window in seconds must be greater than 0"):
        lab.client.update_event_source_mapping(UUID=created["UUID"], BatchSize=11)
    with refused(INVALID, "NonExistentQueue"):
        lab.client.create_event_source_mapping(FunctionName=name, EventSourceArn=f"{arn}-not")
    slow = lab.function(Timeout=31)
    with refused(INVALID, "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"):
        lab.client.create_event_source_mapping(FunctionName=slow, EventSourceArn=arn)
    assert len(lab.client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]) == 1
    assert lab.client.delete_event_source_mapping(UUID=created["UUID"])["State"] == "Deleting"
    with refused("ResourceNotFoundException", "", 404):
        lab.client.get_event_source_mapping(UUID=created["UUID"])
    sqs.delete_queue(QueueUrl=url)
