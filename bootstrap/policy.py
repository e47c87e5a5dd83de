"""Permissions of the builder's roles: actions, resources and reasons.

`python -m bootstrap.policy` prints the tables of docs/iam.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from bootstrap.names import Names, Place, names_for
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule
from builder.secrets.references import Reference
from builder.spec.layer_names import layer_pattern
from builder.trust.reach import OWNER_TAG

Json: TypeAlias = "str | bool | int | Sequence[Json] | Mapping[str, Json]"
Document: TypeAlias = Mapping[str, Json]

POLICY_NAME = "lambdasmith"
NO_LOGINS = Logins()
TRUST: Document = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def store_trust(names: Names) -> Document:
    """Return the trust policy of the store role: only the builder may assume it."""
    builder: Document = {"Effect": "Allow", "Principal": {"AWS": names.role_arn}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [builder]}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One statement of the policy. `why` maps every action to the reason for it.

    `forbids` makes it a Deny: "here" of the actions on `resources`, "elsewhere" of the actions on anything but
    `resources`, "all else" of anything but the actions on `resources`.
    """

    sid: str
    why: Mapping[str, str]
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, str | Sequence[str]]] | None = None
    forbids: Literal["", "here", "elsewhere", "all else"] = ""

    def statement(self) -> Document:
        """Return the statement in IAM's format."""
        plain: dict[str, Json] = {
            "Sid": self.sid,
            "Effect": "Deny" if self.forbids else "Allow",
            "NotAction" if self.forbids == "all else" else "Action": list(self.why),
            "NotResource" if self.forbids == "elsewhere" else "Resource": list(self.resources),
        }
        return plain | {"Condition": self.condition} if self.condition else plain


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Scope of the builder's permissions, from config.ini.

    Args:
        functions: names or patterns of the functions that the builder may deploy.
        roles: names, ARNs or patterns of the roles that it may give to functions.
        logins: name the secrets that it reads.
        code_signing: ARNs or patterns of the code signing configurations that it may give to functions.
        tag: name and value of a tag that functions must have, and get when the builder creates them.
        split: whether foreign code runs in the worker.
    """

    functions: tuple[str, ...]
    roles: tuple[str, ...] = ()
    logins: Logins = NO_LOGINS
    code_signing: tuple[str, ...] = ()
    tag: tuple[str, str] | None = None
    split: bool = False


def policy(names: Names, scope: Scope, *, setting_up: bool = False) -> Document:
    """Return the inline policy of the builder's role.

    Args:
        setting_up: the policy while setup.py lets the builder make and attach its own layer.
    """
    return document(grants(names, scope, setting_up=setting_up))


def document(granted: Sequence[Grant]) -> Document:
    """Return the grants as one policy."""
    return {"Version": "2012-10-17", "Statement": [grant.statement() for grant in granted]}


def grants(names: Names, scope: Scope, *, setting_up: bool = False) -> tuple[Grant, ...]:
    """Return everything that the builder may do; nothing is granted that its code does not call."""
    functions = scope.functions
    deploying = [*_deploying(names, scope), _layers(names, functions), _log_groups(names, functions)]
    granted = [
        *(deploying if functions else []),
        _no_whole_function(names),
        *_open_urls_alone(names),
        _account(),
        *([_set_up_itself(names), _set_up_its_layer(names)] if setting_up else []),
        _itself(names),
        _never_itself(names, setting_up),
        _never_another_builder(names, setting_up),
        _never_its_layer(names, setting_up),
        _never_its_logs(names),
        _never_its_roles(names),
        _layer_versions(names),
        _objects(names, scope.split),
        *([_worker(names), _lend(names)] if scope.split else []),
        _leases(names),
        _listing(names),
        _secret(names),
        _logs(names, names.log_group),
        _log_group_names(names),
    ]
    if scope.roles:
        granted.append(_pass_role(names, scope.roles))
    granted += secret_grants(names, scope.logins)
    return tuple(granted)


def worker_grants(names: Names) -> tuple[Grant, ...]:
    """Return everything that the worker's own role may do: almost nothing, as foreign code may get hold of it."""
    return (
        _logs(names, names.worker_log_group),
        Grant(
            sid="KnowOrders",
            why={"s3:GetObject": "compare an order with what the builder has written of it"},
            resources=(_stored(names, "orders/*"),),
        ),
    )


def store_grants(names: Names) -> tuple[Grant, ...]:
    """Return the most that the builder can lend to the worker; each order gets only its own trust domain's part."""
    return (
        Grant(
            sid="KeepOfDomains",
            why={
                "s3:GetObject": "read what the domain's builds have made; the session has one domain's folder",
                "s3:PutObject": "store it",
            },
            resources=(_stored(names, "domains/*"),),
        ),
        Grant(
            sid="ReadWhatIsGiven",
            why={
                "s3:GetObject": "read what is known of runtimes, and the archive that an order is about",
                "s3:GetObjectVersion": "in the version that an event names",
            },
            resources=tuple(_stored(names, f"{folder}/*") for folder in ("baselines", "uploads", "sources")),
        ),
    )


def _stored(names: Names, what: str) -> str:
    return f"arn:{names.place.partition}:s3:::{names.bucket}/{names.prefix}{what}"


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


def _deploying(names: Names, scope: Scope) -> list[Grant]:
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
            Grant(sid="CreateFunctions", why={**_CREATING, **tagging}, resources=resources, condition=gets),
        ]
    if scope.code_signing:
        condition = {"ArnLikeIfExists": {"lambda:CodeSigningConfigArn": [*scope.code_signing]}}
        granted.append(Grant(sid="SignCode", why=_SIGNING, resources=resources, condition=condition))
    return granted


def _function_arns(names: Names, functions: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        names.arn_in("lambda", f"function:{name}{qualifier}")
        for name in functions
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


def _open_urls_alone(names: Names) -> list[Grant]:
    """Return the condition that a permission is only for a URL without credentials."""
    why = {"lambda:AddPermission": "no other account or service is let in, and no URL that wants credentials"}
    everything = (names.arn_in("lambda", "function:*"),)
    return [
        Grant(
            sid="LetNobodyElseIn",
            forbids="here",
            why=why,
            resources=everything,
            condition={"StringNotEquals": {"lambda:Principal": "*"}},
        ),
        Grant(
            sid="LetNobodyIntoIamUrls",
            forbids="here",
            why=why,
            resources=everything,
            condition={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        ),
    ]


def _no_whole_function(names: Names) -> Grant:
    return Grant(
        sid="RemoveNoFunction",
        forbids="elsewhere",
        why={"lambda:DeleteFunction": "a version may go, never a function: its ARN ends with its name"},
        resources=(names.arn_in("lambda", "function:*:*"),),
    )


def _account() -> Grant:
    return Grant(
        sid="LookThroughAccount",
        why={
            "lambda:ListLayers": "`status`: which layers are there",
            "lambda:ListLayerVersions": "find layer versions that have a content, or that no one needs; `status`",
            "lambda:GetAccountSettings": "`status`: how much code storage is in use",
        },
        resources=("*",),  # IAM knows no narrower resource for these
    )


def _itself(names: Names) -> Grant:
    return Grant(
        sid="GoOnInAnotherInvocation",
        why={"lambda:InvokeFunction": "a custom resource's build that runs out of time goes on in another invocation"},
        resources=(names.function_arn,),
    )


# A Deny cannot be overruled, so the actions of `setup` are left out of it while setup.py runs that.
_SETUP = {
    "lambda:GetFunction": "wait until the change has arrived",
    "lambda:GetFunctionConfiguration": "read its own layers",
    "lambda:UpdateFunctionConfiguration": "`setup` attaches the layer it has built",
}
_LOOKING_AT_ITS_LAYER = {
    "lambda:GetLayerVersion": "to read it changes nothing",
    "lambda:ListLayerVersions": "nor does this: `status` goes through all layers",
}
_SETUP_LAYER = {"lambda:PublishLayerVersion": "`setup` publishes the layer it has built"}


def _set_up_itself(names: Names) -> Grant:
    return Grant(sid="SetItselfUp", why=_SETUP, resources=(names.function_arn,))


def _set_up_its_layer(names: Names) -> Grant:
    return Grant(sid="PublishItsLayer", why=_SETUP_LAYER, resources=(names.layer_arn,))


_LOOKING_AT_BUILDERS = {
    "lambda:GetFunction": "to look at a builder changes nothing",
    "lambda:GetFunctionConfiguration": "nor does this",
    "lambda:InvokeFunction": "nor to go on in another invocation",
}


def _never_another_builder(names: Names, setting_up: bool) -> Grant:
    """Forbid access to other builders: all have a tag, whichever tool has set them up."""
    return Grant(
        sid="NeverChangeBuilders",
        forbids="all else",
        why=_LOOKING_AT_BUILDERS | (_SETUP if setting_up else {}),
        resources=(names.arn_in("lambda", "function:*"),),
        condition={"Null": {f"aws:ResourceTag/{OWNER_TAG}": "false"}},
    )


def _never_itself(names: Names, setting_up: bool) -> Grant:
    return Grant(
        sid="NeverChangeItself",
        forbids="all else",
        why=_LOOKING_AT_BUILDERS | (_SETUP if setting_up else {}),
        resources=tuple(
            names.arn_in("lambda", f"function:{name}{end}") for name in names.own_functions for end in ("", ":*")
        ),
    )


def _never_its_layer(names: Names, setting_up: bool) -> Grant:
    return Grant(
        sid="NeverChangeItsLayer",
        forbids="all else",
        why=_LOOKING_AT_ITS_LAYER | (_SETUP_LAYER if setting_up else {}),
        resources=(names.layer_arn, f"{names.layer_arn}:*"),
    )


def _never_its_logs(names: Names) -> Grant:
    return Grant(
        sid="NeverChangeItsLogs",
        forbids="all else",
        why={
            "logs:CreateLogStream": "Lambda opens a stream per execution environment",
            "logs:PutLogEvents": "and writes to it",
            "logs:DescribeLogGroups": "to look changes nothing",
        },
        resources=tuple(
            names.arn_in("logs", f"log-group:/aws/lambda/{name}{end}")
            for name in names.own_functions
            for end in ("", ":*")
        ),
    )


def _never_its_roles(names: Names) -> Grant:
    return Grant(
        sid="NeverGiveItsRoles",
        forbids="here",
        why={"iam:PassRole": "a function with the builder's role could do all that the builder can"},
        resources=names.own_role_arns,
    )


def _layers(names: Names, functions: Sequence[str]) -> Grant:
    return Grant(
        sid="PublishLayers",
        why={
            "lambda:PublishLayerVersion": "publish a layer whose content changed",
            "lambda:DeleteLayerVersion": "remove versions that no one needs",
        },
        resources=tuple(dict.fromkeys(names.arn_in("lambda", f"layer:{layer_pattern(name)}") for name in functions)),
    )


def _layer_versions(names: Names) -> Grant:
    return Grant(
        sid="ReadLayers",
        why={
            "lambda:GetLayerVersion": "see what a version has and who made it; Lambda asks for it when one is attached"
        },
        # Build files may also name layers of other accounts, which decide who may read them.
        resources=(f"arn:{names.place.partition}:lambda:{names.place.region}:*:layer:*",),
    )


def _objects(names: Names, split: bool) -> Grant:
    archives = {"s3:GetObjectVersion": "read an archive in the version that an event names"}
    return Grant(
        sid="KeepBuilds",
        why={
            "s3:GetObject": "read artifacts, locks and records; Lambda reads the code with it",
            **({} if split else archives),  # the worker reads them, with lent credentials
            "s3:PutObject": "store them",
        },
        resources=(_stored(names, "*"),),
    )


def _worker(names: Names) -> Grant:
    return Grant(
        sid="OrderFromWorker",
        why={"lambda:InvokeFunction": "have the worker make what is to be deployed"},
        resources=(names.arn_in("lambda", f"function:{names.worker}"),),
    )


def _lend(names: Names) -> Grant:
    return Grant(
        sid="LendStoreToWorker",
        why={"sts:AssumeRole": "give the worker one trust domain's part of the store, for the time of a build"},
        resources=(names.role_arn_of(names.store_role),),
    )


def _leases(names: Names) -> Grant:
    return Grant(
        sid="GiveLeasesBack",
        why={"s3:DeleteObject": "let the next build of a function begin"},
        resources=(_stored(names, "leases/*"),),
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
        # Secrets Manager appends six random characters to every ARN.
        resources=(names.arn_in("secretsmanager", f"secret:{names.secret}-??????"),),
    )


def secret_grants(names: Names, logins: Logins) -> list[Grant]:
    """Yield grants to read the secrets that config.ini names, and those that its patterns allow to projects."""
    own = [Reference.parse(text) for text in logins.references()]
    allowed = [pattern.partition("#")[0] for rule in logins.projects for pattern in rule.allow]
    places = dict.fromkeys([*(f"{one.service}:{one.name}" for one in own), *allowed])
    secrets = [
        arn
        for place in places
        if place.startswith("secretsmanager:")
        for arn in _secret_arns(names, place.partition(":")[2])
    ]
    parameters = [_parameter_arn(names, place.partition(":")[2]) for place in places if place.startswith("ssm:")]
    granted = []
    if secrets:
        why = {"secretsmanager:GetSecretValue": "`[git …]`, `[index …]` and `[project …]` of config.ini"}
        granted.append(Grant(sid="ReadSecrets", why=why, resources=tuple(dict.fromkeys(secrets))))
    if parameters:
        why = {"ssm:GetParameter": "the same, in Parameter Store"}
        granted.append(Grant(sid="ReadParameters", why=why, resources=tuple(dict.fromkeys(parameters))))
    return granted + _codeartifact(names, logins)


def _secret_arns(names: Names, name: str) -> tuple[str, ...]:
    """Return the ARNs of a secret: Secrets Manager appends six random characters, which the given one may lack."""
    arn = name if name.startswith("arn:") else names.arn_in("secretsmanager", f"secret:{name}")
    if arn.endswith("*"):
        return (arn,)
    # the six letters of `…-secret` may be the random ones, or not
    whole = name.startswith("arn:") and re.search(r"-[A-Za-z0-9]{6}$", name)
    return (arn, f"{arn}-??????") if whole else (f"{arn}-??????",)


def _parameter_arn(names: Names, name: str) -> str:
    return name if name.startswith("arn:") else names.arn_in("ssm", f"parameter/{name.lstrip('/')}")


def _codeartifact(names: Names, logins: Logins) -> list[Grant]:
    domains, repositories = [], []
    for index in logins.indexes:
        if index.password.startswith("codeartifact:"):
            account, _, domain = index.password.removeprefix("codeartifact:").partition("/")
            arn = f"arn:{names.place.partition}:codeartifact:{names.place.region}:{account}"
            domains.append(f"{arn}:domain/{domain}")
            repositories.append(f"{arn}:repository/{domain}/{index.url.split('/pypi/')[1].split('/')[0]}")
    if not domains:
        return []
    return [
        Grant(
            sid="LogIntoCodeArtifact",
            why={"codeartifact:GetAuthorizationToken": "a password for `[index …]` with `url = codeartifact:…`"},
            resources=tuple(dict.fromkeys(domains)),
        ),
        Grant(
            sid="ReadCodeArtifact",
            why={"codeartifact:ReadFromRepository": "what that password is used for"},
            resources=tuple(dict.fromkeys(repositories)),
        ),
        Grant(
            sid="GetCodeArtifactsPassword",
            why={"sts:GetServiceBearerToken": "GetAuthorizationToken asks for it; IAM knows no resource for it"},
            resources=("*",),
            condition={"StringEquals": {"sts:AWSServiceName": "codeartifact.amazonaws.com"}},
        ),
    ]


def _logs(names: Names, group: str) -> Grant:
    return Grant(
        sid="WriteLogs",
        why={
            "logs:CreateLogStream": "Lambda opens a stream per execution environment",
            "logs:PutLogEvents": "and writes to it; `init` makes the group",
        },
        resources=(names.arn_in("logs", f"log-group:{group}:*"),),
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


# The scope that docs/iam.md shows.
EXAMPLE = Logins(
    git=(GitLogin(base="https://git.example.com", token="ssm:/shop/git"),),  # noqa: S106  # a reference
    indexes=(
        IndexLogin(
            name="shop",
            url="https://shop-123456789012.d.codeartifact.us-east-1.amazonaws.com/pypi/python/simple",
            password="codeartifact:123456789012/shop",  # noqa: S106  # says by whom, not what
        ),
    ),
    projects=(ProjectRule(pattern="shop-*", allow=("secretsmanager:shop/*", "ssm:/shop/*")),),
)


_FORBIDS = {
    "": "",
    "here": "forbidden on ",
    "elsewhere": "forbidden on all but ",
    "all else": "all other actions forbidden on ",
}


_HEAD = ("| statement | action | on | why |", "|---|---|---|---|")


def table() -> str:
    """Return the actions as a Markdown table, for the builder `lambdasmith` with the functions `shop-*`.

    Permissions that hold only while `setup` runs, or with `isolation = split`, come last.
    """
    names, lines = _example(), [*_HEAD]
    listed: set[tuple[str, str]] = set()
    for when, setting_up, split in (("", False, False), ("during `setup`", True, False), ("`split`", False, True)):
        scope = Scope(functions=("shop-*",), roles=("shop-role",), logins=EXAMPLE, split=split)
        granted = grants(names, scope, setting_up=setting_up)
        for grant in granted:
            title = f"{grant.sid}, {when}" if when else grant.sid
            new = {action: why for action, why in grant.why.items() if (grant.sid, action) not in listed}
            listed |= {(grant.sid, action) for action in new}
            lines += [f"| {title} | `{action}` | {_on(grant)} | {why} |" for action, why in new.items()]
    return "\n".join(lines) + "\n"


def split_table() -> str:
    """Return the same table for the two roles that `isolation = split` adds."""
    names, lines = _example(), ["| role | statement | action | on | why |", "|---|---|---|---|---|"]
    for role, granted in ((names.worker_role, worker_grants(names)), (names.store_role, store_grants(names))):
        for grant in granted:
            lines += [
                f"| {role} | {grant.sid} | `{action}` | {_on(grant)} | {why} |" for action, why in grant.why.items()
            ]
    return "\n".join(lines) + "\n"


def _example() -> Names:
    place = Place(partition="aws", account="123456789012", region="us-east-1")
    return names_for(function="lambdasmith", bucket=None, place=place)


def _on(grant: Grant) -> str:
    conditions = [(test, key, value) for test, keys in (grant.condition or {}).items() for key, value in keys.items()]
    return (
        _FORBIDS[grant.forbids]
        + "<br>".join(f"`{each}`" for each in grant.resources)
        + "".join(f"<br>if `{key}` is {'not ' if 'Not' in test else ''}`{value}`" for test, key, value in conditions)
    )


if __name__ == "__main__":
    print(table(), split_table(), sep="\n", end="")
