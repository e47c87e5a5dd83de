"""The role's policy: exactly what the builder's code calls, on its own resources, as docs/iam.md says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from bootstrap.names import Names, Place, names_for
from bootstrap.policy.__main__ import EXAMPLE, fan_out_table, split_table, table
from bootstrap.policy.roles import grants, policy
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import Grant
from builder.secrets.logins import Logins, ProjectRule
from localaws.iam.policies import decide

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = Place(partition="aws", account="123456789012", region="eu-central-1")

# boto3's method → the IAM actions that AWS checks for it, where they are not named alike.
ACTIONS = {
    "s3.copy_object": {"s3:GetObject", "s3:PutObject"},
    "s3.download_file": {"s3:GetObject", "s3:GetObjectVersion"},
    "s3.head_object": {"s3:GetObject"},
    "s3.list_objects_v2": {"s3:ListBucket"},
    "s3.upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "lambda_.get_function": {"lambda:GetFunction", "lambda:ListTags"},
    "lambda_.get_layer_version_by_arn": {"lambda:GetLayerVersion"},
    "lambda_patient.invoke": {"lambda:InvokeFunction"},
    "lambda_.invoke": {"lambda:InvokeFunction"},
    "lambda_.get_paginator": set(),  # its operation is looked at instead
    "lambda_.get_waiter": {"lambda:GetFunction"},
    "s3.get_paginator": set(),
    "lambda_.create_function": {"lambda:CreateFunction", "iam:PassRole", "lambda:TagResource"},
}
# Actions that IAM does not let anybody narrow down to a resource: they list, or read sums.
WITHOUT_RESOURCE = {f"lambda:{name}" for name in ("ListLayers", "ListLayerVersions", "GetAccountSettings")}
# Called by methods of our own, because there are no types for them.
UNTYPED = {
    "cloudformation:ListStackResources",
    "codeartifact:GetAuthorizationToken",
    "codeartifact:ReadFromRepository",
    "sts:GetServiceBearerToken",
}
# Lambda itself writes the logs with the function's role.
BY_LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents"}


def called() -> set[str]:
    """The IAM actions behind every AWS call in builder/."""
    found: set[str] = set()
    for path in (ROOT / "builder").rglob("*.py"):
        for service, method in re.findall(r"clients\.(?!calls\.)(\w+)\.([a-z_0-9]+)\(", path.read_text()):
            found |= actions(service, method)
        for service, method in re.findall(r'clients\.(\w+)\.get_paginator\("(\w+)"\)', path.read_text()):
            found |= actions(service, method)
    return found


def actions(service: str, method: str) -> set[str]:
    camel = "".join(part.capitalize() for part in method.split("_"))
    return ACTIONS.get(f"{service}.{method}", {f"{service.strip('_')}:{camel}"})


def names() -> Names:
    return names_for(function="lambdasmith", bucket=None, place=PLACE)


def test_grants_exactly_what_the_builder_calls() -> None:
    granted = {
        action
        for grant in grants(
            names(), Scope(functions=("*",), roles=("r",), logins=EXAMPLE, code_signing=("arn",)), setting_up=True
        )
        for action in grant.why
    }
    assert granted - BY_LAMBDA - UNTYPED == called(), "bring bootstrap/policy/ and the calls in builder/ together"


def test_no_wildcard_in_actions_and_none_alone_in_resources() -> None:
    for grant in grants(names(), Scope(functions=("shop-*",), roles=("r",))):
        assert not any("*" in action for action in grant.why)
        if grant.resources == ("*",):
            assert set(grant.why) == WITHOUT_RESOURCE
            continue
        for resource in grant.resources:
            assert resource.startswith("arn:aws:")
            assert grant.forbids == "elsewhere" or not resource.endswith(":*:*")


def test_scope_covers_the_functions_their_layers_and_nothing_else() -> None:
    text = json.dumps(policy(names(), Scope(functions=("orders", "shop-*"), roles=())))
    resources = set(re.findall(r'"(arn:aws:lambda:[^"]+)"', text))
    base = "arn:aws:lambda:eu-central-1:123456789012:"
    assert resources == {
        f"{base}{rest}"
        for rest in (
            "function:orders",
            "function:orders:*",
            "function:shop-*",
            *(f"function:lambdasmith{end}" for end in ("", ":*", "-worker", "-worker:*", "-setup", "-setup:*")),
            "function:*:*",
            "function:*",  # forbidden there
            "layer:orders--*",
            "layer:shop-*--*",
            "layer:lambdasmith-layer",
            "layer:lambdasmith-layer:*",
        )
    } | {"arn:aws:lambda:eu-central-1:*:layer:*"}


@pytest.mark.parametrize("pattern", ["*", "shop-*", "shop-web"])
def test_versions_can_be_deleted_and_functions_cannot(pattern: str) -> None:
    deleting = [g for g in grants(names(), Scope(functions=(pattern,), roles=())) if "lambda:DeleteFunction" in g.why]
    [allowed], [forbidden] = [g for g in deleting if not g.forbids], [g for g in deleting if g.forbids]
    assert forbidden.statement().keys() == {"Sid", "Effect", "Action", "NotResource"}
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:shop-web"
    assert any(fnmatchcase(f"{arn}:7", resource) for resource in allowed.resources)
    assert fnmatchcase(f"{arn}:7", forbidden.resources[0])
    assert not fnmatchcase(arn, forbidden.resources[0])


def test_pass_role_is_absent_without_roles_and_bound_to_lambda_with_them() -> None:
    def passing(*roles: str) -> list[Grant]:
        given = grants(names(), Scope(functions=("*",), roles=roles))
        return [grant for grant in given if "iam:PassRole" in grant.why and not grant.forbids]

    assert passing() == []
    arn = "arn:aws:iam::999999999999:role/other"
    [grant] = passing("app", arn)
    assert grant.resources == ("arn:aws:iam::123456789012:role/app", arn)
    assert grant.condition == {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


def test_fits_into_an_inline_policy() -> None:
    many = tuple(f"function-number-{number}" for number in range(12))
    assert (
        len(json.dumps(policy(names(), Scope(functions=many, roles=many), setting_up=True)).replace(" ", "")) < 10_240
    )


WIDEST = Scope(functions=("*",), roles=("*",))


def allowed(
    action: str,
    resource: str,
    scope: Scope = WIDEST,
    *,
    setting_up: bool = False,
    given: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Whether the builder may do it, with the widest configuration that there is if no other is given."""
    document = policy(names(), scope, setting_up=setting_up)
    statements = cast("list[Mapping[str, Any]]", document["Statement"])
    return decide(statements, action, resource, {key.lower(): value for key, value in given.items()})


LAMBDA, ROLE = "arn:aws:lambda:eu-central-1:123456789012", "arn:aws:iam::123456789012:role"
CHANGING = (
    *("UpdateFunctionCode", "UpdateFunctionConfiguration", "CreateFunction", "DeleteFunction", "PublishVersion"),
    *("CreateAlias", "UpdateAlias", "AddPermission", "RemovePermission", "TagResource", "CreateFunctionUrlConfig"),
    *("PutFunctionConcurrency", "PutFunctionEventInvokeConfig", "PutRuntimeManagementConfig"),
)


@pytest.mark.parametrize("setting_up", [False, True])
@pytest.mark.parametrize("name", ["lambdasmith", "lambdasmith-worker", "lambdasmith-setup"])
def test_the_builder_never_changes_itself_whatever_its_configuration_says(name: str, setting_up: bool) -> None:
    # The one right that `setup` has: to attach a layer.
    attaching = {"UpdateFunctionConfiguration"} if setting_up else set()
    for qualifier in ("", ":1", ":live", ":$LATEST"):
        for action in {*CHANGING} - attaching:
            arn = f"{LAMBDA}:function:{name}{qualifier}"
            assert not allowed(f"lambda:{action}", arn, setting_up=setting_up), (action, arn)
    service = {"iam:PassedToService": "lambda.amazonaws.com"}
    assert not allowed("iam:PassRole", f"{ROLE}/{name}-eu-central-1", setting_up=setting_up, given=service)
    for action in ("PutRetentionPolicy", "CreateLogGroup"):
        group = f"arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/{name}"
        assert not allowed(f"logs:{action}", group, setting_up=setting_up)
        assert not allowed(f"logs:{action}", f"{group}:*", setting_up=setting_up)
    assert allowed("lambda:InvokeFunction", f"{LAMBDA}:function:{name}")


def test_other_builders_are_not_changed_either() -> None:
    other = {"aws:ResourceTag/lambdasmith:owner": "arn:aws:lambda:eu-central-1:123456789012:function:smith-arm64"}
    for action in CHANGING:
        arn = f"{LAMBDA}:function:smith-arm64"
        assert not allowed(f"lambda:{action}", arn, given=other), action
    assert allowed("lambda:UpdateFunctionCode", f"{LAMBDA}:function:shop", given={"aws:ResourceTag/team": "shop"})


def test_only_setup_publishes_and_attaches_the_builders_layer() -> None:
    own, itself = f"{LAMBDA}:layer:lambdasmith-layer", f"{LAMBDA}:function:lambdasmith"
    for setting_up in (False, True):
        assert allowed("lambda:PublishLayerVersion", own, setting_up=setting_up) is setting_up
        assert allowed("lambda:UpdateFunctionConfiguration", itself, setting_up=setting_up) is setting_up
        assert not allowed("lambda:DeleteLayerVersion", f"{own}:1", setting_up=setting_up)
        assert allowed("lambda:GetLayerVersion", f"{own}:1", setting_up=setting_up)
        # `status` lists the versions of every layer; without its own, nothing is told of the storage that is in use.
        assert allowed("lambda:ListLayerVersions", own, setting_up=setting_up)
        assert allowed("lambda:UpdateFunctionCode", f"{LAMBDA}:function:other", setting_up=setting_up)
        assert allowed(
            "iam:PassRole", f"{ROLE}/app", setting_up=setting_up, given={"iam:PassedToService": "lambda.amazonaws.com"}
        )


def test_documentation_has_the_present_table() -> None:
    text = (ROOT / "docs" / "iam.md").read_text()
    assert table() in text, "run: python -m bootstrap.policy, and paste it into docs/iam.md"
    assert fan_out_table() in text, "run: python -m bootstrap.policy, and paste it into docs/iam.md"
    assert split_table() in text, "run: python -m bootstrap.policy, and paste it into docs/iam.md"


@pytest.mark.parametrize(
    ("function", "bucket"),
    [
        ("lambdasmith", "lambdasmith-123456789012-eu-central-1"),
        ("My_Builder", "my-builder-123456789012-eu-central-1"),
        ("__", "lambdasmith-123456789012-eu-central-1"),
    ],
)
def test_default_bucket_names_are_valid(function: str, bucket: str) -> None:
    assert names_for(function=function, bucket=None, place=PLACE).bucket == bucket


def test_long_names_stay_within_limits_and_apart() -> None:
    one, two = (names_for(function="f" * 63 + end, bucket=None, place=PLACE) for end in "ab")
    for made in (one, two):
        assert len(made.role) <= 64
        assert len(made.bucket) <= 63
    assert one.role != two.role
    assert one.bucket != two.bucket


def test_a_permission_lets_in_everybody_by_an_open_url_and_nobody_else() -> None:
    def opens(principal: str, auth: str = "") -> bool:
        keys = {"lambda:Principal": principal} | ({"lambda:FunctionUrlAuthType": auth} if auth else {})
        return allowed("lambda:AddPermission", f"{LAMBDA}:function:shop", given=keys)

    assert opens("*", "NONE")
    assert opens("*")  # lambda:InvokeFunction, through the URL
    assert not opens("*", "AWS_IAM")
    assert not opens("999999999999")
    assert not opens("s3.amazonaws.com")


def test_code_is_signed_only_where_the_configuration_says_so() -> None:
    arn = "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-1"
    shop, scope = f"{LAMBDA}:function:shop", Scope(functions=("shop",), code_signing=(arn,))
    given = {"lambda:CodeSigningConfigArn": arn}
    for action in ("Get", "Put"):
        assert not allowed(f"lambda:{action}FunctionCodeSigningConfig", shop, given=given)
    assert allowed("lambda:PutFunctionCodeSigningConfig", shop, scope, given=given)
    assert allowed("lambda:GetFunctionCodeSigningConfig", shop, scope)
    other = {"lambda:CodeSigningConfigArn": arn.replace("csc-1", "csc-2")}
    assert not allowed("lambda:PutFunctionCodeSigningConfig", shop, scope, given=other)
    assert not allowed("lambda:PutFunctionCodeSigningConfig", f"{LAMBDA}:function:other", scope, given=given)


def test_with_a_tag_only_functions_that_have_it_are_deployed() -> None:
    scope, shop = Scope(functions=("*",), tag=("team", "shop")), f"{LAMBDA}:function:web"
    ours, theirs = {"aws:ResourceTag/team": "shop"}, {"aws:ResourceTag/team": "billing"}
    for action in ("UpdateFunctionCode", "GetAlias", "TagResource", "InvokeFunction"):
        assert allowed(f"lambda:{action}", shop, scope, given=ours)
        for tags in (theirs, {}):
            assert not allowed(f"lambda:{action}", shop, scope, given=tags)
    assert allowed("lambda:GetFunction", shop, scope)  # there may be none yet
    assert not allowed("lambda:GetFunction", shop, scope, given=theirs)
    assert allowed("lambda:CreateFunction", shop, scope, given={"aws:RequestTag/team": "shop"})
    assert not allowed("lambda:CreateFunction", shop, scope, given={"aws:RequestTag/team": "billing"})
    assert not allowed("lambda:CreateFunction", shop, scope)


@pytest.mark.parametrize(
    ("name", "covered", "others"),
    [
        ("corp", ["corp-AbCdEf"], ["corp", "corp-AbCdEf-AbCdEf", "corporate-AbCdEf", "corp-two-AbCdEf"]),
        ("corp-AbCdEf", ["corp-AbCdEf", "corp-AbCdEf-GhIjKl"], ["corp-GhIjKl", "corp-AbCdEfG"]),
        ("corp-secret", ["corp-secret", "corp-secret-AbCdEf"], ["corp-secrets-AbCdEf"]),
        ("team/*", ["team/a-AbCdEf"], ["teams/a-AbCdEf"]),
    ],
)
def test_an_arn_covers_the_one_secret_with_or_without_its_random_end(
    name: str, covered: list[str], others: list[str]
) -> None:
    base = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
    rule = ProjectRule(pattern="*", allow=(f"secretsmanager:{base}{name}",))
    scope = Scope(functions=(), logins=Logins(projects=(rule,)))
    for secret in covered:
        assert allowed("secretsmanager:GetSecretValue", base + secret, scope), secret
    for secret in others:
        assert not allowed("secretsmanager:GetSecretValue", base + secret, scope), secret
