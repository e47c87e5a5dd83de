"""Conditions of policies: every operator in its forms, and the keys that requests to Lambda, S3 and IAM have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.iam.conditions import Context
from localaws.iam.policies import decide
from localaws.testing import Server
from tests.localaws.lab import CODE, make_lab
from tests.localaws.test_iam_sessions import ACCOUNT, House, allow, deny

FUNCTIONS = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function"
ANY = allow("*")


def holds(condition: dict[str, Any], context: Context, effect: str = "Allow") -> bool:
    """Whether a statement with the condition counts."""
    statement = {**ANY, "Effect": effect, "Condition": condition}
    allowed = decide([ANY, statement] if effect == "Deny" else [statement], "s3:GetObject", "arn:aws:s3:::b/k", context)
    return allowed != (effect == "Deny")


SEVERAL = ("a", "b")
OPERATORS: dict[str, tuple[dict[str, Any], Context, bool]] = {
    "any of several values": ({"ForAnyValue:StringEquals": {"k": ["b", "z"]}}, {"k": SEVERAL}, True),
    "none of several values": ({"ForAnyValue:StringEquals": {"k": ["z"]}}, {"k": SEVERAL}, False),
    "any value of an absent key": ({"ForAnyValue:StringEquals": {"k": "a"}}, {}, False),
    "any value of an absent key, if it exists": ({"ForAnyValue:StringEqualsIfExists": {"k": "a"}}, {}, True),
    "all of several values": ({"ForAllValues:StringEquals": {"k": ["a", "b", "c"]}}, {"k": SEVERAL}, True),
    "not all of several values": ({"ForAllValues:StringEquals": {"k": ["a", "z"]}}, {"k": SEVERAL}, False),
    "all values of an absent key": ({"ForAllValues:StringEquals": {"k": "a"}}, {}, True),
    "all like": ({"ForAllValues:StringLike": {"k": "team-*"}}, {"k": ("team-a", "team-b")}, True),
    "one not like": ({"ForAllValues:StringLike": {"k": "team-*"}}, {"k": ("team-a", "b")}, False),
    "all unlike": ({"ForAllValues:StringNotEquals": {"k": ["z"]}}, {"k": SEVERAL}, True),
    "any unlike": ({"ForAnyValue:StringNotEquals": {"k": ["a"]}}, {"k": SEVERAL}, True),
    "any unlike of an absent key": ({"ForAnyValue:StringNotEquals": {"k": ["a"]}}, {}, False),
    "several values, no quantifier": ({"StringEquals": {"k": "a"}}, {"k": SEVERAL}, True),
    "several values, no quantifier, negated": ({"StringNotEquals": {"k": "a"}}, {"k": SEVERAL}, False),
    "not like": ({"StringNotLike": {"k": "t-*"}}, {"k": "t-1"}, False),
    "ignoring case": ({"StringEqualsIgnoreCase": {"k": "ABC"}}, {"k": "abc"}, True),
    "not, ignoring case": ({"StringNotEqualsIgnoreCase": {"k": "ABC"}}, {"k": "abc"}, False),
    "a star is no wildcard": ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
    "ARN by parts": ({"ArnLike": {"k": "arn:aws:lambda:*:*:function:shop-*"}}, {"k": f"{FUNCTIONS}:shop-1:live"}, True),
    "ARN of another kind": ({"ArnLike": {"k": "arn:aws:*:function:shop"}}, {"k": f"{FUNCTIONS}:shop"}, False),
    "ARN, not": ({"ArnNotLike": {"k": f"{FUNCTIONS}:*"}}, {"k": f"{FUNCTIONS}:a"}, False),
    "null, present": ({"Null": {"k": "false"}}, {"k": "x"}, True),
    "null, absent": ({"Null": {"k": False}}, {}, False),
    "bool as JSON has it": ({"Bool": {"k": True}}, {"k": "true"}, True),
    "no number": ({"NumericEquals": {"k": "1"}}, {"k": "x"}, False),
    "date": ({"DateGreaterThan": {"k": "2026-01-01T00:00:00Z"}}, {"k": "2026-02-01T00:00:00Z"}, True),
    "address": ({"IpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, True),
    "address, not": ({"NotIpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, False),
    "two keys, one missed": ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a", "l": "c"}, False),
    "a variable": ({"StringEquals": {"k": "x-${aws:username}"}}, {"k": "x-ann", "aws:username": "ann"}, True),
    "a variable that is absent": ({"StringLike": {"k": "${aws:username}"}}, {"k": "ann"}, False),
    "a variable with a default": ({"StringEquals": {"k": "${aws:username, 'nobody'}"}}, {"k": "nobody"}, True),
    "a star that is meant": ({"StringLike": {"k": "a${*}"}}, {"k": "ab"}, False),
    "a star in a variable": ({"StringLike": {"k": "${aws:username}"}}, {"k": "ann", "aws:username": "*"}, False),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_an_operator(case: str) -> None:
    condition, context, expected = OPERATORS[case]
    assert holds(condition, context) is expected
    assert holds(condition, context, "Deny") is expected


def test_what_is_not_understood_grants_nothing_and_denies() -> None:
    for operator in ("Odd", "ForSomeValues:StringEquals", "BinaryEquals"):
        assert not holds({operator: {"k": "a"}}, {"k": "a"})
        assert holds({operator: {"k": "a"}}, {"k": "a"}, "Deny")


@given(
    st.dictionaries(st.sampled_from("kl"), st.text(max_size=3) | st.tuples(st.text(max_size=2)), max_size=2), st.data()
)
def test_a_negation_is_the_opposite_where_the_key_is_there(context: dict[str, Any], data: st.DataObject) -> None:
    expected = data.draw(st.lists(st.text(max_size=2), min_size=1, max_size=2))
    for name in ("StringEquals", "StringLike", "StringEqualsIgnoreCase"):
        negation = name.replace("String", "StringNot", 1)
        found = holds({name: {"k": expected}}, context), holds({negation: {"k": expected}}, context)
        assert found[0] != found[1]


DENIALS: dict[str, tuple[dict[str, Any], str, str, bool]] = {
    "a deny of everything but": (deny([]) | {"NotAction": "s3:*"}, "lambda:Invoke", "arn:x", False),
    "what it leaves out": (deny([]) | {"NotAction": "s3:*"}, "s3:GetObject", "arn:x", True),
    "a deny everywhere but": (deny("*") | {"NotResource": "arn:x"}, "s3:GetObject", "arn:y", False),
    "where it does not hold": (deny("*") | {"NotResource": "arn:x"}, "s3:GetObject", "arn:x", True),
    "both": (deny([]) | {"NotAction": "s3:*", "NotResource": "arn:x"}, "iam:GetRole", "arn:y", False),
    "both, one left out": (deny([]) | {"NotAction": "s3:*", "NotResource": "arn:x"}, "s3:GetObject", "arn:y", True),
}


@pytest.mark.parametrize("case", DENIALS)
def test_a_deny_with_exceptions(case: str) -> None:
    statement, action, resource, expected = DENIALS[case]
    if "NotAction" in statement:
        del statement["Action"]
    if "NotResource" in statement:
        del statement["Resource"]
    assert decide([ANY, statement], action, resource, {}) is expected


@pytest.fixture(scope="module")
def house(enforcing_localaws: Server) -> House:
    return House(make_lab(enforcing_localaws))


def creation(house: House, **more: Any) -> dict[str, Any]:
    return {
        "FunctionName": house.lab.name("tagged"),
        "Runtime": house.lab.runtime,
        "Handler": "app.handler",
        "Role": house.lab.role,
        "Code": {"ZipFile": CODE},
        **more,
    }


def team(**more: Any) -> dict[str, Any]:
    return {"StringEquals": {"aws:ResourceTag/team": "shop"}, **more}


def test_functions_are_changed_by_their_tags(house: House) -> None:
    mine, theirs, bare = (house.lab.function(Tags=tags) for tags in ({"team": "shop"}, {"team": "x"}, None))
    _, keys = house.user(allow(["lambda:Update*", "lambda:InvokeFunction", "lambda:GetFunction"], Condition=team()))
    for operation, more in (
        ("update_function_configuration", {"Timeout": 4}),
        ("get_function", {}),
        ("invoke", {}),
        ("invoke", {"Qualifier": "$LATEST"}),
    ):
        found = [house.may(keys, "lambda", operation, FunctionName=name, **more) for name in (mine, theirs, bare)]
        assert found == [True, False, False], operation
    assert house.may(keys, "lambda", "get_function", FunctionName=f"{FUNCTIONS}:{mine}")
    assert not house.may(keys, "lambda", "get_function", FunctionName=f"{FUNCTIONS}:{theirs}")
    assert not house.may(keys, "lambda", "get_function", FunctionName="absent")


def test_tags_are_given_as_a_policy_asks(house: House) -> None:
    request = {
        "StringEquals": {"aws:RequestTag/team": "shop"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "stage"]},
    }
    _, keys = house.user(
        allow(["lambda:CreateFunction", "lambda:TagResource"], Condition=request), allow("iam:PassRole", house.lab.role)
    )
    for tags, expected in (
        ({"team": "shop"}, True),
        ({"team": "shop", "stage": "prod"}, True),
        ({"team": "shop", "admin": "yes"}, False),
        ({"team": "other"}, False),
        ({}, False),
    ):
        assert house.may(keys, "lambda", "create_function", **creation(house, Tags=tags)) is expected, tags
        arn = f"{FUNCTIONS}:{house.lab.function()}"
        assert house.may(keys, "lambda", "tag_resource", Resource=arn, Tags=tags) is expected, tags


def test_a_tag_cannot_be_taken_to_get_at_a_function(house: House) -> None:
    name = house.lab.function(Tags={"team": "theirs"})
    _, keys = house.user(allow(["lambda:TagResource", "lambda:UntagResource"], Condition=team()))
    arn = f"{FUNCTIONS}:{name}"
    assert not house.may(keys, "lambda", "tag_resource", Resource=arn, Tags={"team": "shop"})
    assert not house.may(keys, "lambda", "untag_resource", Resource=arn, TagKeys=["team"])
    keep = {"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}}
    _, others = house.user(allow("lambda:UntagResource"), deny("lambda:UntagResource", Condition=keep))
    assert not house.may(others, "lambda", "untag_resource", Resource=arn, TagKeys=["a", "team"])
    assert house.may(others, "lambda", "untag_resource", Resource=arn, TagKeys=["a"])


def test_creating_with_tags_needs_the_right_to_tag(house: House) -> None:
    _, keys = house.user(allow("lambda:CreateFunction"), allow("iam:PassRole", house.lab.role))
    assert house.may(keys, "lambda", "create_function", **creation(house))
    assert not house.may(keys, "lambda", "create_function", **creation(house, Tags={"a": "b"}))


def test_whom_a_statement_lets_in_can_be_limited(house: House) -> None:
    name = house.lab.function()
    s3 = {"StringEquals": {"lambda:Principal": ["s3.amazonaws.com", "111111111111"]}}
    _, keys = house.user(allow(["lambda:AddPermission", "lambda:RemovePermission"], Condition=s3))
    grant = {"FunctionName": name, "Action": "lambda:InvokeFunction"}
    for sid, principal, expected in (
        ("a", "s3.amazonaws.com", True),
        ("b", "111111111111", True),
        ("c", "*", False),
        ("d", "222222222222", False),
    ):
        request = {**grant, "StatementId": sid, "Principal": principal}
        assert house.may(keys, "lambda", "add_permission", **request) is expected, principal
        if not expected:
            house.lab.client.add_permission(**request)
        taken = house.may(keys, "lambda", "remove_permission", FunctionName=name, StatementId=sid)
        assert taken is expected, principal


def test_how_urls_are_opened_can_be_limited(house: House) -> None:
    name = house.lab.function(Publish=True)
    house.lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    closed = {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
    actions = ["CreateFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig", "AddPermission"]
    _, keys = house.user(allow([f"lambda:{action}" for action in actions], Condition=closed))

    def may(operation: str, **more: Any) -> bool:
        return house.may(keys, "lambda", operation, FunctionName=name, **more)

    assert not may("create_function_url_config", AuthType="NONE")
    assert may("create_function_url_config", AuthType="AWS_IAM")
    assert may("create_function_url_config", AuthType="AWS_IAM", Qualifier="live")
    assert not may("update_function_url_config", AuthType="NONE")
    assert may("update_function_url_config", InvokeMode="BUFFERED")
    grant = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
    assert not may("add_permission", StatementId="a", FunctionUrlAuthType="NONE", **grant)
    assert may("add_permission", StatementId="b", FunctionUrlAuthType="AWS_IAM", **grant)
    house.lab.client.update_function_url_config(FunctionName=name, AuthType="NONE")
    assert not may("delete_function_url_config")
    assert house.may(keys, "lambda", "delete_function_url_config", FunctionName=f"{name}:live")


def test_which_layers_are_used_can_be_limited(house: House) -> None:
    ours, other = house.lab.layer({"python/a.py": ""}, "ours"), house.lab.layer({"python/b.py": ""}, "foreign")
    name = house.lab.function()
    only = {"ForAllValues:StringLike": {"lambda:Layer": f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:ours:*"}}
    _, keys = house.user(allow("lambda:UpdateFunctionConfiguration", Condition=only), allow("lambda:GetLayerVersion"))
    for layers, expected in (([ours], True), ([], True), ([ours, other], False), ([other], False)):
        house.lab.settle(name)
        request = {"FunctionName": name, "Layers": layers}
        assert house.may(keys, "lambda", "update_function_configuration", **request) is expected, layers


def test_mappings_are_limited_by_the_function(house: House) -> None:
    house.server.client("sqs").create_queue(QueueName="limited")
    mine, theirs = house.lab.function(), house.lab.function()
    only = {"ArnLike": {"lambda:FunctionArn": f"{FUNCTIONS}:{mine}"}}
    actions = ["lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:GetEventSourceMapping"]
    _, keys = house.user(allow(actions, Condition=only))
    source = {"EventSourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:limited", "Enabled": False}
    assert house.may(keys, "lambda", "create_event_source_mapping", FunctionName=mine, **source)
    assert not house.may(keys, "lambda", "create_event_source_mapping", FunctionName=theirs, **source)
    other = house.lab.client.create_event_source_mapping(FunctionName=theirs, **source)["UUID"]
    assert not house.may(keys, "lambda", "delete_event_source_mapping", UUID=other)


def test_a_listing_is_limited_by_its_prefix(house: House) -> None:
    house.server.client("s3").create_bucket(Bucket="prefixes")
    under = {"StringLike": {"s3:prefix": ["lambdasmith/*", "lambdasmith"]}}
    _, keys = house.user(allow("s3:ListBucket", "arn:aws:s3:::prefixes", Condition=under))
    for operation in ("list_objects_v2", "list_objects"):
        for prefix, expected in (("lambdasmith/x", True), ("lambdasmith", True), ("lambda", False), ("", False)):
            request = {"Bucket": "prefixes", "Prefix": prefix}
            assert house.may(keys, "s3", operation, **request) is expected, prefix
        assert not house.may(keys, "s3", operation, Bucket="prefixes")


def test_roles_are_passed_to_the_service_that_a_policy_names(house: House) -> None:
    for service, expected in (("lambda.amazonaws.com", True), ("ec2.amazonaws.com", False)):
        condition = {"StringEquals": {"iam:PassedToService": service}}
        _, keys = house.user(allow("lambda:CreateFunction"), allow("iam:PassRole", house.lab.role, Condition=condition))
        assert house.may(keys, "lambda", "create_function", **creation(house)) is expected


def test_attaching_is_limited_by_the_policy(house: House) -> None:
    wanted, other = house.policy(ANY), house.policy(ANY)
    name = house.role().rsplit("/", 1)[-1]
    _, keys = house.user(allow("iam:AttachRolePolicy", Condition={"ArnEquals": {"iam:PolicyARN": wanted}}))
    found = [house.may(keys, "iam", "attach_role_policy", RoleName=name, PolicyArn=arn) for arn in (wanted, other)]
    assert found == [True, False]


def test_secure_transport_is_taken_for_granted(house: House) -> None:
    insecure = deny("*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    _, keys = house.user(allow("lambda:ListFunctions"), insecure)
    assert house.may(keys, "lambda", "list_functions")


def test_a_role_of_a_function_is_held_to_its_tags(house: House) -> None:
    source = (
        "import boto3\ndef handler(e, c): return boto3.client('lambda').get_function(**e)['Configuration']['State']\n"
    )
    role = house.lab.server.create_role(house.lab.name("abac"), allow("lambda:GetFunction", Condition=team()))
    name = house.lab.function(source, Role=role, Timeout=30, MemorySize=512)
    for tags, expected in (({"team": "shop"}, None), ({}, "Unhandled")):
        event = json.dumps({"FunctionName": house.lab.function(Tags=tags)}).encode()
        assert house.lab.client.invoke(FunctionName=name, Payload=event).get("FunctionError") == expected
