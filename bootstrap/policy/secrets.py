"""Permissions to read secrets, and to log into CodeArtifact."""

from __future__ import annotations

import re

from bootstrap.names import Names
from bootstrap.policy.statements import Grant
from builder.secrets.logins import Logins
from builder.secrets.references import Reference


def read_git_token(names: Names) -> Grant:
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
