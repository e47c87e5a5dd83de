"""Permissions for the functions that the builder deploys, with their layers and log groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bootstrap.names import Names
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import Grant
from builder.spec.layer_names import layer_pattern

# Settings in a build file that are not part of a function's configuration.
_EXTRAS = {
    "lambda:GetFunctionUrlConfig": "`url`: compare",
    "lambda:CreateFunctionUrlConfig": "`url`: make it",
    "lambda:UpdateFunctionUrlConfig": "`url`: change it",
    "lambda:GetPolicy": "`url`: see whom it lets in",
    "lambda:AddPermission": "`url` with `auth: none`: let everyone in",
    "lambda:RemovePermission": "`url` with `auth: iam`: let no one in without credentials",
    "lambda:GetFunctionConcurrency": "`ReservedConcurrentExecutions`: compare",
    "lambda:PutFunctionConcurrency": "and set it",
    "lambda:GetFunctionEventInvokeConfig": "`MaximumRetryAttempts`, `DestinationConfig` …: compare",
    "lambda:UpdateFunctionEventInvokeConfig": "change what the build file names of them",
    "lambda:PutFunctionEventInvokeConfig": "set them where there are none",
    "lambda:GetRuntimeManagementConfig": "`RuntimeManagementConfig`: compare",
    "lambda:PutRuntimeManagementConfig": "and set it",
}
_LOOKING = {
    "lambda:GetFunction": "compare code and configuration before changing anything; wait for states",
    "lambda:ListTags": "without it GetFunction leaves the tags out",
}
_CREATING = {"lambda:CreateFunction": "first deployment of a function whose build file names a role"}
_SIGNING = {
    "lambda:GetFunctionCodeSigningConfig": "`CodeSigningConfigArn`: compare",
    "lambda:PutFunctionCodeSigningConfig": "and set it",
}


def deploying(names: Names, scope: Scope) -> list[Grant]:
    """Yield the grants for functions; with a tag, for those that have it, and for new ones that get it."""
    resources = _function_arns(names, scope.functions)
    deploy = _functions(resources)
    granted = [replace(deploy, why={**_LOOKING, **_CREATING, **deploy.why})]
    if scope.tag:
        name, value = scope.tag
        has = {"StringEquals": {f"aws:ResourceTag/{name}": value}}
        # A missing function has no tags, but the builder must learn that it is missing.
        looks = {"StringEqualsIfExists": {f"aws:ResourceTag/{name}": value}}
        gets = {"StringEquals": {f"aws:RequestTag/{name}": value}}
        tagging = {"lambda:TagResource": "a function is created with its tags"}
        granted = [
            replace(deploy, condition=has),
            Grant(sid="LookAtFunctions", why=_LOOKING, resources=resources, condition=looks),
            # By the request's tag: a function that does not exist has none of its own. CreateFunction with tags is also
            # checked as TagResource.
            Grant(sid="CreateFunctions", why={**_CREATING, **tagging}, resources=resources, condition=gets),
        ]
    if scope.code_signing:
        # IfExists: GetFunctionCodeSigningConfig has no such key, and would not be allowed.
        condition = {"ArnLikeIfExists": {"lambda:CodeSigningConfigArn": [*scope.code_signing]}}
        granted.append(Grant(sid="SignCode", why=_SIGNING, resources=resources, condition=condition))
    return granted


def _function_arns(names: Names, functions: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        names.arn_in("lambda", f"function:{name}{qualifier}")
        for name in functions
        # `*` also matches the colon of a qualifier, so a pattern needs no second ARN (IAM User Guide,
        # reference_policies_elements_resource).
        for qualifier in (("",) if name.endswith("*") else ("", ":*"))
    )


def _functions(resources: tuple[str, ...]) -> Grant:
    return Grant(
        sid="DeployFunctions",
        why={
            "lambda:UpdateFunctionCode": "deploy",
            "lambda:UpdateFunctionConfiguration": "attach layers; memory, timeout, environment of the build file",
            "lambda:PublishVersion": "`version: true`",
            "lambda:GetAlias": "compare before moving it",
            "lambda:CreateAlias": "first deployment with an alias",
            "lambda:UpdateAlias": "move the alias to the new version",
            "lambda:TagResource": "`tags` of the build file",
            "lambda:ListVersionsByFunction": "`keep`: find old versions, and who has a layer version; `status`",
            "lambda:ListAliases": "and see which of them serve",
            "lambda:DeleteFunction": "and remove the others",
            "lambda:InvokeFunction": "`invoke`: try a version before an alias serves it",
            **_EXTRAS,
        },
        resources=resources,
    )


def look_through_account() -> Grant:
    return Grant(
        sid="LookThroughAccount",
        why={
            "lambda:ListLayers": "`status`: which layers are there",
            "lambda:ListLayerVersions": "find layer versions that have a content, or that no one needs; `status`",
            "lambda:GetAccountSettings": "`status`: how much code storage is in use",
        },
        resources=("*",),  # IAM knows no narrower resource for these
    )


def look_at_stacks(names: Names) -> Grant:
    return Grant(
        sid="LookAtStacks",
        why={"cloudformation:ListStackResources": "`stack`: what its functions are called"},
        resources=(names.arn_in("cloudformation", "stack/*"),),
    )


def publish_layers(names: Names, functions: Sequence[str]) -> Grant:
    return Grant(
        sid="PublishLayers",
        why={
            "lambda:PublishLayerVersion": "publish a layer whose content changed",
            "lambda:DeleteLayerVersion": "remove versions that no one needs",
        },
        resources=tuple(dict.fromkeys(names.arn_in("lambda", f"layer:{layer_pattern(name)}") for name in functions)),
    )


def read_layers(names: Names) -> Grant:
    return Grant(
        sid="ReadLayers",
        why={
            "lambda:GetLayerVersion": "see what a version has and who made it; Lambda asks for it when one is attached"
        },
        # Build files may also name layers of other accounts, which decide who may read them.
        resources=(f"arn:{names.place.partition}:lambda:{names.place.region}:*:layer:*",),
    )


def keep_logs(names: Names, functions: Sequence[str]) -> Grant:
    return Grant(
        sid="KeepLogs",
        why={
            "logs:CreateLogGroup": "`log_retention`: the group has to be there before the first invoke",
            "logs:PutRetentionPolicy": "`log_retention`",
        },
        resources=tuple(
            names.arn_in("logs", f"log-group:/aws/lambda/{name}" + ("" if name.endswith("*") else ":*"))
            for name in functions
        ),
    )


def list_log_groups(names: Names) -> Grant:
    return Grant(
        sid="ListLogGroups",
        why={"logs:DescribeLogGroups": "`log_retention`: compare; logs knows no narrower resource for it"},
        resources=(names.arn_in("logs", "log-group:*"),),
    )


def give_roles(names: Names, roles: Sequence[str]) -> Grant:
    return Grant(
        sid="GiveRolesToFunctions",
        why={"iam:PassRole": "create a function with one of the roles in `[builder] role` and `roles`"},
        resources=tuple(dict.fromkeys(names.role_arn_of(role) for role in roles)),
        condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    )
