"""What a Lambda request needs permission for: IAM action, resource ARN, condition keys."""

from __future__ import annotations

from localaws.lambda_calls import Call, split_function
from localaws.lambda_requests import Operation

# Operations whose permission is named otherwise.
_ACTIONS = {
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
    "ListProvisionedConcurrencyConfigs": "ListProvisionedConcurrencyConfigs",
}


def action(operation: Operation) -> str:
    return f"lambda:{_ACTIONS.get(operation.name, operation.name)}"


def resource(call: Call) -> str:
    """The ARN that policies have to name; `*` for operations without a resource."""
    params, region = call.params, call.region
    prefix = f"arn:aws:lambda:{region.name}:{region.account}"
    if "LayerName" in params:
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


def context(call: Call) -> dict[str, str]:
    """Condition keys of the request."""
    keys = {"aws:RequestedRegion": call.region.name}
    if call.params.get("Layers"):
        keys["lambda:Layer"] = call.params["Layers"][0]
    if "FunctionName" in call.params:
        keys["lambda:FunctionArn"] = call.function_arn(split_function(call.params["FunctionName"], call.region)[0])
    return keys
