"""Resources that a request to one of moto's JSON or query services concerns, where policies usually name one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from localaws.iam.conditions import Value, tag_keys

Params = Mapping[str, Any]
_Resources = Callable[[Params, str, str], list[str]]  # parameters, region, account

# Signing names that differ from the prefix of IAM actions.
ACTION_PREFIXES = {"eventbridge": "events", "monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}


def resources(service: str, params: Params, region: str, account: str) -> list[str]:
    """Return the ARNs that must all be allowed. Where AWS accepts two spellings, both are joined by `|`."""
    found = _RESOURCES[service](params, region, account) if service in _RESOURCES else []
    return found or ["*"]


def context(service: str, operation: str, params: Params, account: str) -> dict[str, Value]:
    """Return the condition keys of the request: tags that it changes, and for IAM the policies that it names."""
    keys: dict[str, Value] = {}
    if tags := _tags(params):
        keys |= dict(tag_keys("aws:RequestTag", tags))
    if names := (*tags, *_several(params, "TagKeys")):
        keys["aws:TagKeys"] = names
    if service == "iam":
        if "PolicyArn" in params:
            keys["iam:PolicyARN"] = params["PolicyArn"]
        role = _role(params, account)
        boundary = params.get("PermissionsBoundary") or (role.permissions_boundary_arn if role else None)
        if boundary and not operation.startswith(("Get", "List")):
            keys["iam:PermissionsBoundary"] = boundary
    return keys


def passed_roles(service: str, params: Params) -> list[tuple[str, str]]:
    """Yield (role, receiving service) for every role that the request passes to a service."""
    found = [(params[member], to) for member, to in _PASSED.get(service, ()) if params.get(member)]
    targets = params.get("Targets") if service == "events" else None
    roles = [target.get("RoleArn") for target in targets or () if isinstance(target, dict)]
    return [*found, *((role, "events.amazonaws.com") for role in roles if role)]


_PASSED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "states": (("roleArn", "states.amazonaws.com"),),
    "events": (("RoleArn", "events.amazonaws.com"),),
}


def _several(params: Params, member: str) -> tuple[str, ...]:
    """Return the values of a list in JSON, or in a form with one field per value."""
    found = params.get(member)
    if isinstance(found, list):
        return tuple(map(str, found))
    return tuple(value for name, value in params.items() if re.fullmatch(rf"{member}\.member\.\d+", name))


def _tags(params: Params) -> dict[str, str]:
    """Return the tags in a request, in any of the shapes that services use."""
    found = params.get("Tags") or params.get("tags")
    if isinstance(found, dict):
        return {str(key): str(value) for key, value in found.items()}
    if isinstance(found, list):
        pairs = [{name.lower(): value for name, value in tag.items()} for tag in found if isinstance(tag, dict)]
        return {str(tag["key"]): str(tag.get("value", "")) for tag in pairs if "key" in tag}
    fields = {name: value for name, value in params.items() if re.fullmatch(r"Tags?\.(member\.)?\d+\.Key", name)}
    return {str(key): str(params.get(f"{name.removesuffix('Key')}Value", "")) for name, key in fields.items()}


def _role(params: Params, account: str) -> Any:
    """Return moto's role that an IAM request names; None if there is none."""
    from moto.iam.models import iam_backends

    name = params.get("RoleName")
    return next((role for role in iam_backends[account]["aws"].roles.values() if role.name == name), None)


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
    named = [params[key] for key in _MACHINE_MEMBERS if key in params]
    if not named and "definition" in params:  # CreateStateMachine
        return [f"arn:aws:states:{region}:{account}:stateMachine:{params.get('name', '*')}"]
    return named


_MACHINE_MEMBERS = ("stateMachineArn", "executionArn", "mapRunArn", "stateMachineAliasArn", "resourceArn")


def _identities(params: Params, region: str, account: str) -> list[str]:
    if role := _role(params, account):
        return [role.arn]
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
