"""Sessions of roles: who may begin one, and what the session's policies and the role's boundary leave of its rights."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.testing import Server
from tests.localaws.lab import Lab, make_lab

ACCOUNT = "123456789012"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def deny(actions: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": actions, "Resource": resource, **more}


class House:
    """An account in which roles and users are made by what they may do."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.server: Server = lab.server
        self.iam = self.server.client("iam")

    def role(self, *statements: dict[str, Any], trusts: Any = ROOT, boundary: Any = None, **more: Any) -> str:
        name = self.lab.name("role")
        trust = {"Effect": "Allow", "Principal": {"AWS": trusts}, "Action": "sts:AssumeRole", **more}
        given = {"PermissionsBoundary": boundary} if boundary else {}
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust), **given)["Role"]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        return str(made["Arn"])

    def user(self, *statements: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """A user's ARN and keys."""
        name = self.lab.name("user")
        arn = str(self.iam.create_user(UserName=name)["User"]["Arn"])
        self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return arn, {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def policy(self, *statements: dict[str, Any]) -> str:
        made = self.iam.create_policy(PolicyName=self.lab.name("policy"), PolicyDocument=document(*statements))
        return str(made["Policy"]["Arn"])

    def session(self, role: str, keys: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
        """Keys of a new session of a role, begun by the operator if not by somebody else."""
        request = {"RoleArn": role, "RoleSessionName": "me", **more}
        found = self.server.client("sts", **(keys or {})).assume_role(**request)["Credentials"]
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }

    def may(self, keys: dict[str, str], service: str, operation: str, **parameters: Any) -> bool:
        try:
            getattr(self.server.client(service, **keys), operation)(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException", "403"):
                raise
            return False
        return True

    def reads(self, keys: dict[str, str], key: str) -> bool:
        return self.may(keys, "s3", "get_object", Bucket="sessions", Key=key)


@pytest.fixture(scope="module")
def house(enforcing_localaws: Server) -> House:
    house = House(make_lab(enforcing_localaws))
    s3 = house.server.client("s3")
    s3.create_bucket(Bucket="sessions")
    for key in ("a/1", "b/1"):
        s3.put_object(Bucket="sessions", Key=key, Body=b"x")
    return house


READS = allow("s3:GetObject", "arn:aws:s3:::sessions/*")
READS_A = allow("s3:GetObject", "arn:aws:s3:::sessions/a/*")


def test_a_session_policy_narrows_the_role(house: House) -> None:
    role = house.role(READS)
    whole, narrow = house.session(role), house.session(role, Policy=document(READS_A))
    assert [house.reads(whole, key) for key in ("a/1", "b/1")] == [True, True]
    assert [house.reads(narrow, key) for key in ("a/1", "b/1")] == [True, False]


def test_a_session_policy_gives_nothing_that_the_role_has_not(house: House) -> None:
    keys = house.session(house.role(READS_A), Policy=document(allow("*")))
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]
    assert not house.may(keys, "lambda", "list_functions")


@pytest.mark.parametrize("where", ["role", "session"])
def test_a_deny_wins_on_either_side(house: House, where: str) -> None:
    ban = deny("s3:GetObject", "arn:aws:s3:::sessions/b/*")
    role = house.role(READS, *([ban] if where == "role" else []))
    keys = house.session(role, Policy=document(allow("s3:*"), *([ban] if where == "session" else [])))
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]


def test_managed_policies_narrow_a_session_too(house: House) -> None:
    arns = [{"arn": house.policy(READS_A)}]
    keys = house.session(house.role(allow("*")), PolicyArns=arns)
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]
    both = house.session(
        house.role(allow("*")), PolicyArns=arns, Policy=document(allow("s3:GetObject", "arn:aws:s3:::sessions/b/*"))
    )
    assert [house.reads(both, key) for key in ("a/1", "b/1")] == [True, True]
    assert not house.may(both, "lambda", "list_functions")


def test_a_session_of_a_narrow_session_is_as_the_second_says(house: House) -> None:
    second = house.role(READS_A)
    first = house.session(house.role(allow("sts:AssumeRole"), READS), Policy=document(allow("sts:AssumeRole")))
    assert not house.reads(first, "a/1")
    assert house.reads(house.session(second, first), "a/1")


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("{", "MalformedPolicyDocument"),
        ('{"Statement": [{"Effect": "Allow", "Action": "*"}]}', "MalformedPolicyDocument"),
        (document(allow("s3:GetObject", "arn:aws:s3:::" + "x" * 2048)), "PackedPolicyTooLarge"),
    ],
)
def test_what_is_no_session_policy_is_refused(house: House, policy: str, code: str) -> None:
    role = house.role(READS)
    with pytest.raises(ClientError) as caught:
        house.session(role, Policy=policy)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def assumes(house: House, keys: dict[str, str], role: str, **more: Any) -> bool:
    return house.may(keys, "sts", "assume_role", RoleArn=role, RoleSessionName="me", **more)


def test_assuming_needs_the_right_and_the_trust(house: House) -> None:
    trusting = house.role(READS)
    trusting_nobody = house.role(READS, trusts="arn:aws:iam::210987654321:root")
    _, may = house.user(allow("sts:AssumeRole"))
    _, may_not = house.user(allow("s3:*"))
    assert assumes(house, may, trusting)
    assert not assumes(house, may_not, trusting)
    assert not assumes(house, may, trusting_nobody)
    assert not assumes(house, may, f"arn:aws:iam::{ACCOUNT}:role/absent")


def test_a_role_for_lambda_is_nobody_elses(house: House) -> None:
    _, may = house.user(allow("sts:AssumeRole"))
    assert not assumes(house, may, house.lab.role)


def test_a_trust_that_names_the_caller_is_a_grant_unless_denied(house: House) -> None:
    arn, keys = house.user(allow("s3:ListAllMyBuckets"))
    banned, banned_keys = house.user(deny("sts:*"))
    role = house.role(READS, trusts=[arn, banned])
    _, stranger = house.user(allow("s3:*"))
    assert assumes(house, keys, role)
    assert not assumes(house, banned_keys, role)
    assert not assumes(house, stranger, role)


def test_a_trust_in_a_role_is_one_in_its_sessions_as_far_as_they_go(house: House) -> None:
    first = house.role(allow("s3:ListAllMyBuckets"))
    second = house.role(READS, trusts=first)
    assert assumes(house, house.session(first), second)
    assert not assumes(house, house.session(first, Policy=document(READS)), second)


def test_the_resource_of_the_right_is_the_role(house: House) -> None:
    one, other = house.role(READS), house.role(READS)
    _, keys = house.user(allow("sts:AssumeRole", one))
    assert [assumes(house, keys, role) for role in (one, other)] == [True, False]


def test_conditions_of_a_trust_hold(house: House) -> None:
    _, keys = house.user(allow("sts:AssumeRole"))
    role = house.role(READS, Condition={"StringEquals": {"sts:ExternalId": "word"}})
    assert not assumes(house, keys, role)
    assert not assumes(house, keys, role, ExternalId="other")
    assert assumes(house, keys, role, ExternalId="word")


def test_a_boundary_given_at_creation_narrows(house: House) -> None:
    keys = house.session(house.role(READS, allow("lambda:*"), boundary=house.policy(READS_A)))
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]
    assert not house.may(keys, "lambda", "list_functions")


def test_a_boundary_counts_from_when_it_is_put_until_it_is_taken_away(house: House) -> None:
    role = house.role(READS)
    keys, name = house.session(role), role.rsplit("/", 1)[-1]
    house.iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=house.policy(READS_A))
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]
    house.iam.delete_role_permissions_boundary(RoleName=name)
    assert house.reads(keys, "b/1")


def test_a_boundary_gives_nothing_and_a_deny_in_it_wins(house: House) -> None:
    bounds = house.policy(allow("*"), deny("s3:GetObject", "arn:aws:s3:::sessions/b/*"))
    keys = house.session(house.role(READS, boundary=bounds))
    assert [house.reads(keys, key) for key in ("a/1", "b/1")] == [True, False]
    assert not house.may(keys, "lambda", "list_functions")


def test_roles_are_made_with_the_boundary_that_a_policy_asks_for(house: House) -> None:
    wanted, other = house.policy(READS), house.policy(READS)
    condition = {"StringEquals": {"iam:PermissionsBoundary": wanted}}
    _, keys = house.user(
        allow(["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"], Condition=condition)
    )
    trust = document({"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"})

    def creates(**boundary: str) -> bool:
        name = house.lab.name("bounded")
        request = {"RoleName": name, "AssumeRolePolicyDocument": trust, **boundary}
        return house.may(keys, "iam", "create_role", **request)

    assert creates(PermissionsBoundary=wanted)
    assert not creates(PermissionsBoundary=other)
    assert not creates()
    bounded, free = (house.role(READS, boundary=one).rsplit("/", 1)[-1] for one in (wanted, None))
    policy = {"PolicyName": "q", "PolicyDocument": document(allow("*"))}
    assert house.may(keys, "iam", "put_role_policy", RoleName=bounded, **policy)
    assert not house.may(keys, "iam", "put_role_policy", RoleName=free, **policy)
    lifted = {"RoleName": bounded, "PermissionsBoundary": other}
    assert not house.may(keys, "iam", "put_role_permissions_boundary", **lifted)
    assert not house.may(keys, "iam", "delete_role_permissions_boundary", RoleName=bounded)


def test_a_role_below_a_path_is_named_with_it(house: House) -> None:
    trust = document({"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"})
    name = house.lab.name("below")
    house.iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=trust)
    _, keys = house.user(allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/team/*"))
    assert house.may(keys, "iam", "get_role", RoleName=name)
    _, others = house.user(allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/{name}"))
    assert not house.may(others, "iam", "get_role", RoleName=name)


def test_a_role_for_a_state_machine_has_to_be_passed(house: House) -> None:
    condition = {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    role = house.server.create_role(house.lab.name("states"), READS, service="states.amazonaws.com")
    request = {"definition": definition, "roleArn": role}
    _, may = house.user(allow("states:CreateStateMachine"), allow("iam:PassRole", role, Condition=condition))
    _, may_not = house.user(allow("states:CreateStateMachine"))
    assert house.may(may, "stepfunctions", "create_state_machine", name=house.lab.name("m"), **request)
    assert not house.may(may_not, "stepfunctions", "create_state_machine", name=house.lab.name("m"), **request)
    arn = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:own-*"
    _, own = house.user(allow("states:CreateStateMachine", arn), allow("iam:PassRole"))
    assert house.may(own, "stepfunctions", "create_state_machine", name="own-1", **request)
    assert not house.may(own, "stepfunctions", "create_state_machine", name="other-1", **request)
