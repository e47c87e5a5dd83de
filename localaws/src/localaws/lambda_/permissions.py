"""Permissions that a Lambda request needs: IAM action, resource ARN, condition keys."""

from __future__ import annotations

import re

from localaws.iam.conditions import Value, tag_keys
from localaws.lambda_.calls import Call, split_function
from localaws.lambda_.model import LATEST, Function
from localaws.wire.requests import Json, Operation

# Operations whose permission has another name.
_ACTIONS = {
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
    "ListProvisionedConcurrencyConfigs": "ListProvisionedConcurrencyConfigs",
}


def action(operation: Operation) -> str:
    return f"lambda:{_ACTIONS.get(operation.name, operation.name)}"


def resource(call: Call) -> str:
    """Return the ARN that policies must name; `*` for operations without a resource."""
    params, region = call.params, call.region
    prefix = f"arn:aws:lambda:{region.name}:{region.account}"
    if "LayerName" in params:
        # LayerName may be an ARN as well (Lambda API, PublishLayerVersion).
        name = params["LayerName"].rsplit(":", 1)[-1]
        number = f":{params['VersionNumber']}" if "VersionNumber" in params else ""
        return f"{prefix}:layer:{name}{number}"
    if "UUID" in params:
        return f"{prefix}:event-source-mapping:{params['UUID']}"
    arn = params.get("Arn") or params.get("Resource")
    if isinstance(arn, str):
        return arn
    if "FunctionName" in params and "EventSourceArn" not in params:
        name, derived = split_function(params["FunctionName"], region)
        qualifier = params.get("Qualifier") or derived
        return f"{prefix}:function:{name}" + (f":{qualifier}" if qualifier else "")
    return "*"


def context(call: Call) -> dict[str, Value]:
    """Return the condition keys of the request."""
    params, function = call.params, _function(call)
    keys: dict[str, Value] = {"aws:RequestedRegion": call.region.name, "aws:ResourceAccount": call.region.account}
    if params.get("Layers"):
        keys["lambda:Layer"] = tuple(params["Layers"])
    if "CodeSigningConfigArn" in params:
        keys["lambda:CodeSigningConfigArn"] = params["CodeSigningConfigArn"]
    if "FunctionName" in params:
        keys["lambda:FunctionArn"] = call.function_arn(split_function(params["FunctionName"], call.region)[0])
    elif mapping := call.region.mappings.get(params.get("UUID", "")):
        keys["lambda:FunctionArn"] = mapping.function_arn
    return {**keys, **_tag_keys(call, function), **_grant_keys(call, function)}


def _function(call: Call) -> Function | None:
    """Return the function that a request concerns, if it exists."""
    name = call.params.get("FunctionName")
    if name is None and isinstance(arn := call.params.get("Resource"), str) and ":function:" in arn:
        name = arn
    return call.region.functions.get(split_function(name, call.region)[0]) if name else None


def _tag_keys(call: Call, function: Function | None) -> dict[str, Value]:
    given = call.params.get("Tags") or {}
    names = (*given, *(call.params.get("TagKeys") or ()))
    keys: dict[str, Value] = dict(tag_keys("aws:RequestTag", given))
    if names:
        keys["aws:TagKeys"] = names
    if function is not None:
        keys |= dict(tag_keys("aws:ResourceTag", function.tags))
    return keys


def _grant_keys(call: Call, function: Function | None) -> dict[str, Value]:
    """Return the keys of a permission: the principal of the statement, and the URL's authentication."""
    params, keys = call.params, dict[str, Value]()
    derived = split_function(params["FunctionName"], call.region)[1] if "FunctionName" in params else None
    qualifier = params.get("Qualifier") or derived or LATEST
    if "FunctionName" in params and "Principal" in params:
        keys["lambda:Principal"] = params["Principal"]
    # A removal names only the statement: its principal is what was granted then.
    elif function is not None and "StatementId" in params:
        policy = function.policies.get(qualifier)
        for statement in policy.statements if policy else ():
            if statement["Sid"] == params["StatementId"]:
                keys["lambda:Principal"] = _principal(statement["Principal"])
    url = function.urls.get(qualifier) if function else None
    auth_type = params.get("FunctionUrlAuthType") or params.get("AuthType") or (url.auth_type if url else None)
    if auth_type:
        keys["lambda:FunctionUrlAuthType"] = auth_type
    return keys


def _principal(principal: str | Json) -> str:
    """Return a statement's principal, as written in the request that added it."""
    if isinstance(principal, str):
        return principal
    name = str(next(iter(principal.values())))
    root = re.fullmatch(r"arn:aws:iam::(\d{12}):root", name)
    return root[1] if root else name
