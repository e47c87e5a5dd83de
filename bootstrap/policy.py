"""The builder's role: what it may do, on what, and why. `python -m bootstrap.policy` prints docs/iam.md's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bootstrap.names import Names, Place, names_for

Json: TypeAlias = "str | bool | int | Sequence[Json] | Mapping[str, Json]"
Document: TypeAlias = Mapping[str, Json]

POLICY_NAME = "lambdasmith"
TRUST: Document = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One statement of the policy. `why` maps every action to the reason for it.

    `forbids`: nobody may do it on anything but `resources`, whatever other statements say.
    """

    sid: str
    why: Mapping[str, str]
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, str]] | None = None
    forbids: bool = False

    def statement(self) -> Document:
        """As IAM wants it."""
        plain: dict[str, Json] = {
            "Sid": self.sid,
            "Effect": "Deny" if self.forbids else "Allow",
            "Action": list(self.why),
            "NotResource" if self.forbids else "Resource": list(self.resources),
        }
        return plain | {"Condition": self.condition} if self.condition else plain


def policy(names: Names, *, functions: Sequence[str], roles: Sequence[str]) -> Document:
    """The inline policy of the builder's role.

    Args:
        functions: names or patterns of the functions that the builder may deploy.
        roles: names, ARNs or patterns of the roles that it may give to functions it creates.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [grant.statement() for grant in grants(names, functions=functions, roles=roles)],
    }


def grants(names: Names, *, functions: Sequence[str], roles: Sequence[str]) -> tuple[Grant, ...]:
    """Everything the builder may do; nothing is granted that its code does not call."""
    granted = [
        _functions(names, functions),
        _no_whole_function(names),
        _account(),
        _itself(names),
        _layers(names, functions),
        _layer_versions(names),
        _objects(names),
        _leases(names),
        _listing(names),
        _secret(names),
        _logs(names),
        _log_groups(names, functions),
        _log_group_names(names),
    ]
    if roles:
        granted.append(_pass_role(names, roles))
    return tuple(granted)


# What the build file may name that is not part of a function's configuration.
_EXTRAS = {
    "lambda:GetFunctionUrlConfig": "`url`: compare",
    "lambda:CreateFunctionUrlConfig": "`url`: make it",
    "lambda:UpdateFunctionUrlConfig": "`url`: change it",
    "lambda:GetPolicy": "`url`: see whom it lets in",
    "lambda:AddPermission": "`url` with `auth: none`: let everybody in",
    "lambda:RemovePermission": "`url` with `auth: iam`: let nobody in without credentials",
    "lambda:GetFunctionConcurrency": "`ReservedConcurrentExecutions`: compare",
    "lambda:PutFunctionConcurrency": "and set it",
    "lambda:GetFunctionEventInvokeConfig": "`MaximumRetryAttempts`, `DestinationConfig` …: compare",
    "lambda:UpdateFunctionEventInvokeConfig": "change what the build file names of them",
    "lambda:PutFunctionEventInvokeConfig": "set them where there are none",
    "lambda:GetRuntimeManagementConfig": "`RuntimeManagementConfig`: compare",
    "lambda:PutRuntimeManagementConfig": "and set it",
    "lambda:GetFunctionCodeSigningConfig": "`CodeSigningConfigArn`: compare",
    "lambda:PutFunctionCodeSigningConfig": "and set it",
}


def _functions(names: Names, functions: Sequence[str]) -> Grant:
    return Grant(
        sid="DeployFunctions",
        why={
            "lambda:GetFunction": "compare code and configuration before changing anything; wait for states",
            "lambda:CreateFunction": "first deployment of a function whose build file names a role",
            "lambda:UpdateFunctionCode": "deploy",
            "lambda:UpdateFunctionConfiguration": "attach layers; memory, timeout, environment of the build file",
            "lambda:PublishVersion": "`version: true`",
            "lambda:GetAlias": "compare before moving it",
            "lambda:CreateAlias": "first deployment with an alias",
            "lambda:UpdateAlias": "move the alias to the new version",
            "lambda:TagResource": "`tags` of the build file",
            "lambda:ListTags": "without it GetFunction leaves the tags out",
            "lambda:ListVersionsByFunction": "`keep`: find old versions",
            "lambda:ListAliases": "and see which of them serve",
            "lambda:DeleteFunction": "and remove the others",
            "lambda:InvokeFunction": "`invoke`: try a version before an alias serves it",
            **_EXTRAS,
        },
        resources=tuple(
            names.arn_in("lambda", f"function:{name}{qualifier}")
            for name in functions
            for qualifier in (("",) if name.endswith("*") else ("", ":*"))
        ),
    )


def _no_whole_function(names: Names) -> Grant:
    return Grant(
        sid="RemoveNoFunction",
        forbids=True,
        why={"lambda:DeleteFunction": "a version may go, never a function: its ARN ends with its name"},
        resources=(names.arn_in("lambda", "function:*:*"),),
    )


def _account() -> Grant:
    return Grant(
        sid="LookThroughAccount",
        why={
            "lambda:ListFunctions": "remove no layer version that a function has; `status`",
            "lambda:ListLayers": "`status`: which layers are there",
            "lambda:ListLayerVersions": "find layer versions that nobody needs; `status`",
            "lambda:GetAccountSettings": "`status`: how much code storage is in use",
        },
        resources=("*",),  # IAM knows no narrower resource for these
    )


def _itself(names: Names) -> Grant:
    return Grant(
        sid="PointItselfAtItsLayer",
        why={
            "lambda:GetFunction": "wait until the change has arrived",
            "lambda:GetFunctionConfiguration": "read its own runtime and layers",
            "lambda:UpdateFunctionConfiguration": "`setup` attaches the layer it has built",
        },
        resources=(names.function_arn,),
    )


def _layer_names(names: Names, functions: Sequence[str]) -> tuple[str, ...]:
    """Layers are named FUNCTION-LAYER, so a function's pattern covers its layers."""
    patterns = [name if name.endswith("*") else f"{name}-*" for name in functions]
    return tuple(dict.fromkeys([*patterns, names.layer]))


def _layers(names: Names, functions: Sequence[str]) -> Grant:
    return Grant(
        sid="PublishLayers",
        why={
            "lambda:PublishLayerVersion": "publish a layer whose content changed",
            "lambda:DeleteLayerVersion": "remove versions that nobody needs",
        },
        resources=tuple(names.arn_in("lambda", f"layer:{name}") for name in _layer_names(names, functions)),
    )


def _layer_versions(names: Names) -> Grant:
    return Grant(
        sid="ReadLayers",
        why={"lambda:GetLayerVersion": "see that a version is still there; Lambda asks for it when one is attached"},
        # Build files name layers of others, too, whose accounts decide who may read them.
        resources=(f"arn:{names.place.partition}:lambda:{names.place.region}:*:layer:*",),
    )


def _objects(names: Names) -> Grant:
    return Grant(
        sid="KeepBuilds",
        why={
            "s3:GetObject": "read artifacts, locks and records; Lambda reads the code with it",
            "s3:PutObject": "store them",
            "s3:AbortMultipartUpload": "give up a large upload that failed",
        },
        resources=(f"arn:{names.place.partition}:s3:::{names.bucket}/{names.prefix}*",),
    )


def _leases(names: Names) -> Grant:
    return Grant(
        sid="GiveLeasesBack",
        why={"s3:DeleteObject": "let the next build of a function begin"},
        resources=(f"arn:{names.place.partition}:s3:::{names.bucket}/{names.prefix}leases/*",),
    )


def _listing(names: Names) -> Grant:
    return Grant(
        sid="ListBuilds",
        why={"s3:ListBucket": "tell a missing object from a forbidden one; list the last builds"},
        resources=(f"arn:{names.place.partition}:s3:::{names.bucket}",),
        # IfExists: S3 also asks for this permission, and then without a prefix, to answer 404 instead of 403.
        condition={"StringLikeIfExists": {"s3:prefix": f"{names.prefix}*"}},
    )


def _secret(names: Names) -> Grant:
    return Grant(
        sid="ReadGitToken",
        why={"secretsmanager:GetSecretValue": "fetch from private repositories"},
        # Secrets Manager ends every ARN with six random characters.
        resources=(names.arn_in("secretsmanager", f"secret:{names.secret}-??????"),),
    )


def _logs(names: Names) -> Grant:
    return Grant(
        sid="WriteLogs",
        why={
            "logs:CreateLogStream": "Lambda opens a stream per execution environment",
            "logs:PutLogEvents": "and writes to it; `init` makes the group",
        },
        resources=(names.arn_in("logs", f"log-group:{names.log_group}:*"),),
    )


def _log_groups(names: Names, functions: Sequence[str]) -> Grant:
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


def _log_group_names(names: Names) -> Grant:
    return Grant(
        sid="ListLogGroups",
        why={"logs:DescribeLogGroups": "`log_retention`: compare; logs knows no narrower resource for it"},
        resources=(names.arn_in("logs", "log-group:*"),),
    )


def _pass_role(names: Names, roles: Sequence[str]) -> Grant:
    return Grant(
        sid="GiveRolesToFunctions",
        why={"iam:PassRole": "create a function with one of the roles in `[builder] role` and `roles`"},
        resources=tuple(dict.fromkeys(names.role_arn_of(role) for role in roles)),
        condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    )


def table() -> str:
    """The actions as a Markdown table, for the builder `lambdasmith` with the functions `shop-*`."""
    place = Place(partition="aws", account="123456789012", region="us-east-1")
    names = names_for(function="lambdasmith", bucket=None, place=place)
    lines = ["| statement | action | on | why |", "|---|---|---|---|"]
    for grant in grants(names, functions=("shop-*",), roles=("shop-role",)):
        where = ("forbidden on all but " if grant.forbids else "") + "<br>".join(
            f"`{each}`" for each in grant.resources
        )
        if grant.condition:
            where += "".join(
                f"<br>if `{key}` is `{value}`" for test in grant.condition.values() for key, value in test.items()
            )
        lines += [f"| {grant.sid} | `{action}` | {where} | {why} |" for action, why in grant.why.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
