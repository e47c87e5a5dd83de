"""With enforcement, policies decide: for functions, for users, by resource, in each service's own words."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from localaws.iam.policies import decide
from localaws.testing import Server, zip_of
from tests.localaws.lab import Lab, make_lab

FUNCTIONS = "arn:aws:lambda:us-east-1:123456789012:function"

# What the function under test does: any operation of any service, with its role's own credentials.
AGENT = """
import boto3
def handler(event, context):
    client = boto3.client(event["service"])
    try:
        answer = getattr(client, event["operation"])(**event["parameters"])
        return {"ok": True, "status": answer["ResponseMetadata"]["HTTPStatusCode"]}
    except client.exceptions.ClientError as error:
        return {"ok": False, "code": error.response["Error"]["Code"],
                "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                "message": error.response["Error"]["Message"]}
"""

Agent = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]


def allow(actions: str | list[str], resource: str | list[str], **condition: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


@pytest.fixture(scope="module")
def guarded(enforcing_localaws: Server) -> Lab:
    lab = make_lab(enforcing_localaws)
    for name in ("mine", "theirs"):
        lab.function(FunctionName=name)
        s3 = lab.server.client("s3")
        s3.create_bucket(Bucket=f"{name}-bucket")
        s3.put_object(Bucket=f"{name}-bucket", Key="code.zip", Body=zip_of({"app.py": "def handler(e, c): return 3\n"}))
        lab.server.client("secretsmanager").create_secret(Name=name, SecretString="hush")
        lab.server.client("logs").create_log_group(logGroupName=f"/{name}")
    return lab


@pytest.fixture(scope="module")
def agent(guarded: Lab) -> Agent:
    """Runs an operation inside a function whose role may touch only what is called `mine`."""
    role = guarded.server.create_role(
        "agent-role",
        allow(
            ["lambda:InvokeFunction", "lambda:GetFunction", "lambda:Update*"],
            [f"{FUNCTIONS}:mine", f"{FUNCTIONS}:mine:*"],
        ),
        allow("lambda:ListLayers", "*"),
        allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::mine-bucket/*"),
        allow("s3:ListBucket", "arn:aws:s3:::mine-bucket", StringLike={"s3:prefix": "open/*"}),
        allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-*"),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], "arn:aws:logs:us-east-1:123456789012:log-group:/mine:*"),
        allow("iam:PassRole", guarded.role, StringEquals={"iam:PassedToService": "lambda.amazonaws.com"}),
        allow("lambda:CreateFunction", f"{FUNCTIONS}:made-*"),
        {"Effect": "Deny", "Action": "lambda:UpdateFunctionCode", "Resource": f"{FUNCTIONS}:mine", "Condition": {}},
    )
    name = guarded.function(AGENT, Role=role, Timeout=30, MemorySize=512)

    def act(service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        event = {"service": service, "operation": operation, "parameters": dict(parameters)}
        answer = guarded.client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "ok" in found, found
        return found

    return act


ALLOWED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "invoke mine": ("lambda", "invoke", {"FunctionName": "mine"}),
    "get mine by ARN": ("lambda", "get_function", {"FunctionName": f"{FUNCTIONS}:mine"}),
    "wildcard action": ("lambda", "update_function_configuration", {"FunctionName": "mine", "Timeout": 4}),
    "action without resource": ("lambda", "list_layers", {}),
    "read my object": ("s3", "get_object", {"Bucket": "mine-bucket", "Key": "code.zip"}),
    "head my object": ("s3", "head_object", {"Bucket": "mine-bucket", "Key": "code.zip"}),
    "write my object": ("s3", "put_object", {"Bucket": "mine-bucket", "Key": "a b/ü", "Body": "x"}),
    "list under a prefix": ("s3", "list_objects_v2", {"Bucket": "mine-bucket", "Prefix": "open/x"}),
    "my secret": ("secretsmanager", "get_secret_value", {"SecretId": "mine"}),
    "my log stream": ("logs", "create_log_stream", {"logGroupName": "/mine", "logStreamName": "s"}),
    "who am I": ("sts", "get_caller_identity", {}),
}

DENIED: dict[str, tuple[str, str, dict[str, Any], str, int]] = {
    "invoke theirs": ("lambda", "invoke", {"FunctionName": "theirs"}, "AccessDeniedException", 403),
    "get theirs": ("lambda", "get_function", {"FunctionName": "theirs"}, "AccessDeniedException", 403),
    "action not granted": ("lambda", "delete_function", {"FunctionName": "mine"}, "AccessDeniedException", 403),
    "explicit deny": (
        "lambda",
        "update_function_code",
        {"FunctionName": "mine", "S3Bucket": "mine-bucket", "S3Key": "code.zip"},
        "AccessDeniedException",
        403,
    ),
    "read their object": ("s3", "get_object", {"Bucket": "theirs-bucket", "Key": "code.zip"}, "AccessDenied", 403),
    "delete my object": ("s3", "delete_object", {"Bucket": "mine-bucket", "Key": "code.zip"}, "AccessDenied", 403),
    "list everything": ("s3", "list_objects_v2", {"Bucket": "mine-bucket"}, "AccessDenied", 403),
    "an absent object without the right to list": (
        "s3",
        "get_object",
        {"Bucket": "mine-bucket", "Key": "absent"},
        "AccessDenied",
        403,
    ),
    "copy from theirs": (
        "s3",
        "copy_object",
        {"Bucket": "mine-bucket", "Key": "copy", "CopySource": "theirs-bucket/code.zip"},
        "AccessDenied",
        403,
    ),
    "their secret": ("secretsmanager", "get_secret_value", {"SecretId": "theirs"}, "AccessDeniedException", 400),
    "their log stream": (
        "logs",
        "create_log_stream",
        {"logGroupName": "/theirs", "logStreamName": "s"},
        "AccessDeniedException",
        400,
    ),
    "iam": ("iam", "create_user", {"UserName": "eve"}, "AccessDenied", 403),
    "sqs": ("sqs", "create_queue", {"QueueName": "q"}, "AccessDeniedException", 400),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_role_may(agent: Agent, case: str) -> None:
    assert agent(*ALLOWED[case])["ok"]


@pytest.mark.parametrize("case", DENIED)
def test_a_role_may_not(agent: Agent, case: str) -> None:
    service, operation, parameters, code, status = DENIED[case]
    found = agent(service, operation, parameters)
    assert (found["ok"], found.get("code"), found["status"]) == (False, code, status)


def test_a_lambda_denial_is_worded_as_on_aws(agent: Agent) -> None:
    found = agent("lambda", "get_function", {"FunctionName": "theirs"})
    assert "assumed-role/agent-role/" in found["message"]
    assert f"is not authorized to perform: lambda:GetFunction on resource: {FUNCTIONS}:theirs" in found["message"]


def creation(guarded: Lab, role: str, **overrides: Any) -> dict[str, Any]:
    code = {"S3Bucket": "mine-bucket", "S3Key": "code.zip"}
    return {
        "FunctionName": guarded.name("made"),
        "Runtime": guarded.runtime,
        "Handler": "app.handler",
        "Role": role,
        "Code": code,
        **overrides,
    }


def test_passing_a_role_needs_permission(guarded: Lab, agent: Agent) -> None:
    assert agent("lambda", "create_function", creation(guarded, guarded.role))["ok"]
    other = guarded.server.create_role("not-to-be-passed")
    found = agent("lambda", "create_function", creation(guarded, other))
    assert "iam:PassRole on resource: " + other in found["message"]


def test_code_in_s3_has_to_be_readable_by_the_caller(guarded: Lab, agent: Agent) -> None:
    code = {"S3Bucket": "theirs-bucket", "S3Key": "code.zip"}
    found = agent("lambda", "create_function", creation(guarded, guarded.role, Code=code))
    assert (found["code"], "denied by S3" in found["message"]) == ("AccessDeniedException", True)


def test_layers_have_to_be_readable_by_the_caller(guarded: Lab, agent: Agent) -> None:
    layer = guarded.layer({"python/x.py": ""})
    found = agent("lambda", "create_function", creation(guarded, guarded.role, Layers=[layer]))
    assert f"lambda:GetLayerVersion on resource: {layer}" in found["message"]


def test_a_policy_counts_from_the_moment_it_changes(guarded: Lab) -> None:
    role = guarded.server.create_role("changing")
    name = guarded.function(AGENT, Role=role, Timeout=30, MemorySize=512)
    event = json.dumps({"service": "lambda", "operation": "list_functions", "parameters": {}}).encode()

    def allowed() -> bool:
        return bool(json.load(guarded.client.invoke(FunctionName=name, Payload=event)["Payload"])["ok"])

    assert not allowed()
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("lambda:ListFunctions", "*")})
    guarded.server.client("iam").put_role_policy(RoleName="changing", PolicyName="p", PolicyDocument=document)
    assert allowed()


def test_managed_policies_and_boundaries(guarded: Lab) -> None:
    iam = guarded.server.client("iam")
    role = guarded.server.create_role("managed")
    iam.attach_role_policy(RoleName="managed", PolicyArn="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
    name = guarded.function(AGENT, Role=role, Timeout=30, MemorySize=512)
    event = json.dumps({"service": "lambda", "operation": "list_functions", "parameters": {}}).encode()

    def allowed() -> bool:
        return bool(json.load(guarded.client.invoke(FunctionName=name, Payload=event)["Payload"])["ok"])

    assert allowed()
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:*", "*")})
    boundary = iam.create_policy(PolicyName="only-s3", PolicyDocument=document)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="managed", PermissionsBoundary=boundary)
    assert not allowed()


def test_users_are_held_to_their_policies(guarded: Lab) -> None:
    iam = guarded.server.client("iam")
    iam.create_user(UserName="ann")
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:GetObject", "arn:aws:s3:::mine-bucket/*")})
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    s3 = guarded.server.client("s3", **keys)
    assert s3.get_object(Bucket="mine-bucket", Key="code.zip")["ContentLength"] > 0
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_buckets()
    for signature in ("s3", "s3v4"):
        signer = guarded.server.client("s3", **keys, config=Config(signature_version=signature))
        status = {}
        for bucket in ("mine-bucket", "theirs-bucket"):
            url = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "code.zip"})
            status[bucket] = requests.get(url, timeout=10).status_code
        assert status == {"mine-bucket": 200, "theirs-bucket": 403}


def test_several_deletions_need_the_right_for_each_object_and_version(guarded: Lab) -> None:
    iam, operator = guarded.server.client("iam"), guarded.server.client("s3")
    operator.create_bucket(Bucket="several")
    operator.put_bucket_versioning(Bucket="several", VersioningConfiguration={"Status": "Enabled"})
    iam.create_user(UserName="several")
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:DeleteObject", "arn:aws:s3:::several/a/*")})
    iam.put_user_policy(UserName="several", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="several")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    s3 = guarded.server.client("s3", **keys)
    versions = {
        name: operator.put_object(Bucket="several", Key=name, Body=b"x")["VersionId"]
        for name in ("a/1&<>", "a/2", "b/1")
    }

    def delete(*objects: dict[str, str]) -> None:
        s3.delete_objects(Bucket="several", Delete={"Objects": list(objects)})

    for refused_objects in (
        [{"Key": "b/1"}],
        [{"Key": "a/2"}, {"Key": "b/1"}],
        [{"Key": "a/2", "VersionId": versions["a/2"]}],
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            delete(*refused_objects)
    url = f"{guarded.server.endpoint_url}/several?delete"
    scope = f"AWS4-HMAC-SHA256 Credential={key['AccessKeyId']}/20260101/us-east-1/s3/aws4_request, Signature=0"
    for body in ("<Delete><Object><Key >b/1</Key ></Object></Delete>", "<Delete>", "<Delete/>"):
        answer = requests.post(url, body, headers={"Authorization": scope, "Content-Type": "text/xml"}, timeout=10)
        assert answer.status_code == 403, body
    delete({"Key": "a/1&<>"}, {"Key": "a/2"})
    assert [one["Key"] for one in operator.list_objects_v2(Bucket="several")["Contents"]] == ["b/1"]
    assert len(operator.list_object_versions(Bucket="several")["Versions"]) == 3


def test_a_request_is_checked_as_what_it_is_carried_out(guarded: Lab) -> None:
    """However it is written, one that may only ask who it is does nothing else."""
    iam = guarded.server.client("iam")
    iam.create_user(UserName="writer")
    key = iam.create_access_key(UserName="writer")["AccessKey"]["AccessKeyId"]
    document = {
        "Version": "2012-10-17",
        "Statement": allow(["iam:GetUser", "sqs:SendMessage", "s3:ListAllMyBuckets"], "*"),
    }
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=json.dumps(document))

    def scope(service: str, algorithm: str = "AWS4-HMAC-SHA256 ") -> str:
        return f"{algorithm}Credential={key}/20260101/us-east-1/{service}/aws4_request, Signature=0"

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    create, get = "Action=CreateUser&UserName=eve&Version=2010-05-08", "Action=GetUser&UserName=eve&Version=2010-05-08"
    target = {"X-Amz-Target": "X.GetUser"}
    packed = {"Content-Encoding": "gzip"}
    bucket = "/mine-bucket/code.zip"
    query = f"X-Amz-Credential={key}/20260101/us-east-1/{{}}/aws4_request"
    other = f"AWS4-HMAC-SHA256 Credential={key}/2026/us-east-1/s3/aws4_request, {scope('sts', '')}"
    attempts: list[tuple[str, str, dict[str, str], bytes]] = [
        ("POST", "/", {"Authorization": scope("iam"), **form}, create.encode()),
        ("POST", "/", {"Authorization": scope("IAM"), **form}, create.encode()),
        ("POST", "/", {"Authorization": scope("iam"), **form, **target}, create.encode()),
        ("POST", "/", {"Authorization": scope("iam"), **target}, create.encode()),
        ("POST", f"/?{create}", {"Authorization": scope("iam"), **target}, b""),
        ("POST", f"/?{create}", {"Authorization": scope("iam"), **form}, get.encode()),
        ("POST", f"/?{get}", {"Authorization": scope("iam"), **form}, create.encode()),
        ("POST", "/", {"Authorization": scope("iam"), **target, "Action": "CreateUser", "UserName": "eve"}, b""),
        ("POST", "/", {"Authorization": scope("iam"), **form, **packed, **target}, gzip.compress(create.encode())),
        ("GET", f"{bucket}?{query.format('s3')}", {}, b""),
        ("GET", f"{bucket}?Action=GetCallerIdentity&{query.format('sts')}", {}, b""),
        ("GET", f"{bucket}?Action=GetCallerIdentity", {"Authorization": other}, b""),
        ("GET", bucket, {"Authorization": scope("S3")}, b""),
        (
            "POST",
            "/",
            {"Authorization": scope("sqs"), "X-Amz-Target": "AmazonSQS.SendMessage"},
            b'{"QueueUrl": "q", "MessageBody": "&Action=CreateQueue&QueueName=eve&"}',
        ),
    ]
    for method, path, headers, body in attempts:
        url = f"{guarded.server.endpoint_url}{path}"
        answer = requests.request(method, url, data=body, headers=headers, timeout=10)
        assert answer.status_code in (400, 403), (method, path, headers, answer.text)
        assert "denied" in answer.text.lower() or "not authorized" in answer.text or "than one way" in answer.text, (
            answer.text
        )
    assert "eve" not in {user["UserName"] for user in iam.list_users()["Users"]}
    assert "QueueUrls" not in guarded.server.client("sqs").list_queues(QueueNamePrefix="eve")


def test_keys_that_nobody_issued_are_refused(guarded: Lab) -> None:
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x"}
    for service, operation, code in (
        ("lambda", "list_functions", "UnrecognizedClientException"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("logs", "describe_log_groups", "UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(guarded.server.client(service, **keys), operation)()
        assert caught.value.response["Error"]["Code"] == code, service
    assert requests.get(f"{guarded.server.endpoint_url}/mine-bucket/code.zip", timeout=10).status_code == 403


def test_without_the_right_to_log_there_are_no_logs(guarded: Lab) -> None:
    name = guarded.function(Role=guarded.server.create_role("silent"))
    guarded.client.invoke(FunctionName=name)
    groups = guarded.server.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert groups == []


def test_without_enforcement_anybody_may_do_anything(lab: Lab) -> None:
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x"}
    lab.server.client("lambda", **keys).list_functions()


ANY = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DECISIONS: dict[str, tuple[list[dict[str, Any]], dict[str, str], bool]] = {
    "nothing is granted": ([], {}, False),
    "everything is": ([ANY], {}, True),
    "a deny wins": ([ANY, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}], {}, False),
    "action in another case": ([{**ANY, "Action": "S3:getobject"}], {}, True),
    "question mark": ([{**ANY, "Resource": "arn:aws:s3:::b/ke?"}], {}, True),
    "a longer name does not match": ([{**ANY, "Resource": "arn:aws:s3:::b/k"}], {}, False),
    "not action": ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], {}, True),
    "not resource": ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}], {}, False),
    "condition met": ([{**ANY, "Condition": {"StringEquals": {"aws:X": ["1", "2"]}}}], {"aws:x": "2"}, True),
    "condition missed": ([{**ANY, "Condition": {"StringEquals": {"aws:X": "1"}}}], {"aws:x": "2"}, False),
    "key absent": ([{**ANY, "Condition": {"StringEquals": {"aws:X": "1"}}}], {}, False),
    "if exists": ([{**ANY, "Condition": {"StringEqualsIfExists": {"aws:X": "1"}}}], {}, True),
    "not equals, absent": ([{**ANY, "Condition": {"StringNotEquals": {"aws:X": "1"}}}], {}, True),
    "like": ([{**ANY, "Condition": {"ArnLike": {"aws:X": "arn:*:me"}}}], {"aws:x": "arn:aws:me"}, True),
    "null": ([{**ANY, "Condition": {"Null": {"aws:X": "true"}}}], {}, True),
    "bool": ([{**ANY, "Condition": {"Bool": {"aws:X": "true"}}}], {"aws:x": "false"}, False),
    "numeric": ([{**ANY, "Condition": {"NumericLessThanEquals": {"s3:max-keys": "10"}}}], {"s3:max-keys": "9"}, True),
    "variable": ([{**ANY, "Resource": "arn:aws:s3:::b/${aws:username}"}], {"aws:username": "key"}, True),
    "unknown operator": ([{**ANY, "Condition": {"Odd": {"aws:X": "1"}}}], {"aws:x": "1"}, False),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_a_decision(case: str) -> None:
    statements, context, expected = DECISIONS[case]
    assert decide(statements, "s3:GetObject", "arn:aws:s3:::b/key", context) is expected
