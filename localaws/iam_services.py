"""Which resource a request to one of moto's JSON or query services is about, as far as policies usually name one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Params = Mapping[str, Any]
_Resources = Callable[[Params, str, str], list[str]]  # parameters, region, account

# Signing names that differ from the prefix of IAM actions.
ACTION_PREFIXES = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}


def resources(service: str, params: Params, region: str, account: str) -> list[str]:
    """ARNs that all have to be allowed; where AWS accepts two spellings, one ARN with both joined by `|`."""
    found = _RESOURCES[service](params, region, account) if service in _RESOURCES else []
    return found or ["*"]


def _logs(params: Params, region: str, account: str) -> list[str]:
    group = params.get("logGroupName") or ""
    stream = params.get("logStreamName") or ""
    identifier = params.get("logGroupIdentifier") or ""
    if identifier.startswith("arn:"):
        return [identifier]
    arn = f"arn:aws:logs:{region}:{account}:log-group:{group or identifier}"
    return [f"{arn}:log-stream:{stream}" + ("" if stream else f"|{arn}")]


def _secrets(params: Params, region: str, account: str) -> list[str]:
    from moto.secretsmanager.models import secretsmanager_backends

    wanted = params.get("SecretId") or params.get("Name")
    if not wanted:
        return []
    if wanted.startswith("arn:"):
        return [wanted]
    for secret in secretsmanager_backends[account][region].secrets.values():
        if secret.name == wanted:
            return [secret.arn]
    return [f"arn:aws:secretsmanager:{region}:{account}:secret:{wanted}-??????"]


def _parameters(params: Params, region: str, account: str) -> list[str]:
    names = params.get("Names") or [name for name in (params.get("Name"), params.get("Path")) if name]
    return [f"arn:aws:ssm:{region}:{account}:parameter/{name.lstrip('/')}" for name in names]


def _queues(params: Params, region: str, account: str) -> list[str]:
    name = params.get("QueueName") or (params.get("QueueUrl") or "").rsplit("/", 1)[-1]
    return [f"arn:aws:sqs:{region}:{account}:{name}"] if name else []


def _topics(params: Params, region: str, account: str) -> list[str]:
    arn = params.get("TopicArn") or params.get("TargetArn")
    return [arn or f"arn:aws:sns:{region}:{account}:{params.get('Name', '*')}"]


def _tables(params: Params, region: str, account: str) -> list[str]:
    name = params.get("TableName")
    return [f"arn:aws:dynamodb:{region}:{account}:table/{name}"] if name else []


def _machines(params: Params, region: str, account: str) -> list[str]:
    return [params[key] for key in ("stateMachineArn", "executionArn", "resourceArn") if key in params]


def _identities(params: Params, region: str, account: str) -> list[str]:
    for member, kind in (("RoleName", "role"), ("UserName", "user"), ("GroupName", "group")):
        if member in params:
            return [f"arn:aws:iam::{account}:{kind}{params.get('Path', '/')}{params[member]}"]
    if "PolicyName" in params:
        return [f"arn:aws:iam::{account}:policy{params.get('Path', '/')}{params['PolicyName']}"]
    return [params["PolicyArn"]] if "PolicyArn" in params else []


def _roles(params: Params, region: str, account: str) -> list[str]:
    return [params["RoleArn"]] if "RoleArn" in params else []


_RESOURCES: Mapping[str, _Resources] = {
    "logs": _logs,
    "secretsmanager": _secrets,
    "ssm": _parameters,
    "sqs": _queues,
    "sns": _topics,
    "dynamodb": _tables,
    "states": _machines,
    "iam": _identities,
    "sts": _roles,
}
