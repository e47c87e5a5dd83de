"""Operations on a function's other settings: tags, concurrency, asynchronous invokes, and the account."""

from __future__ import annotations

from typing import Any

from localaws.lambda_.calls import Call
from localaws.lambda_.configuration import check_untenanted
from localaws.lambda_.functions import page, resolve
from localaws.lambda_.model import ACCOUNT_CONCURRENCY, LATEST, MAX_UNZIPPED_BYTES, Function, timestamp
from localaws.wire.errors import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceNotFoundException,
    ValidationException,
)
from localaws.wire.requests import Json

# Lambda keeps this much of the account's concurrency for functions without a reservation (Lambda Developer Guide,
# configuration-concurrency).
UNRESERVED_LEAST = 100
# Counted unzipped (Lambda Developer Guide, gettingstarted-limits).
_CODE_STORAGE_BYTES = 300 * 1024**3


def get_account_settings(call: Call) -> Json:
    functions = call.region.functions.values()
    packages = [version.package for f in functions for version in (f.latest, *f.versions.values())]
    packages += [version.package for layer in call.region.layers.values() for version in layer.versions.values()]
    reserved = sum(function.reserved_concurrency or 0 for function in functions)
    return {
        "AccountLimit": {
            "TotalCodeSize": _CODE_STORAGE_BYTES,
            "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
            "CodeSizeZipped": 50 * 1024 * 1024,
            "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY - reserved,
        },
        "AccountUsage": {
            "TotalCodeSize": sum(package.unzipped_bytes for package in packages),
            "FunctionCount": len(functions),
        },
    }


def list_tags(call: Call) -> Json:
    return {"Tags": dict(_tags(call))}


def tag_resource(call: Call) -> Json:
    tags = _tags(call)
    new = {**tags, **call.params["Tags"]}
    if len(new) > 50:
        raise InvalidParameterValueException("The number of tags exceeds the limit of 50.")
    tags.update(new)
    return {}


def untag_resource(call: Call) -> Json:
    tags = _tags(call)
    for key in call.params["TagKeys"]:
        tags.pop(key, None)
    return {}


def _tags(call: Call) -> dict[str, str]:
    """Return the live tags of the resource that the call names by ARN."""
    arn: str = call.params["Resource"]
    # By ARN, since event source mappings can have tags as well as functions.
    kind, name, *qualifier = arn.split(":")[5:]
    if qualifier:
        raise InvalidParameterValueException(f"Tags on function aliases and versions are not supported: {arn}")
    holder = call.region.mappings.get(name) if kind == "event-source-mapping" else call.region.functions.get(name)
    if holder is None:
        raise ResourceNotFoundException(f"Function not found: {arn}")
    return holder.tags


def put_function_concurrency(call: Call) -> Json:
    function = call.unqualified_function()
    wanted: int = call.params["ReservedConcurrentExecutions"]
    others = sum(other.reserved_concurrency or 0 for other in call.region.functions.values() if other is not function)
    if ACCOUNT_CONCURRENCY - others - wanted < UNRESERVED_LEAST:
        raise InvalidParameterValueException(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{UNRESERVED_LEAST}]."
        )
    function.reserved_concurrency = wanted
    return {"ReservedConcurrentExecutions": wanted}


def get_function_concurrency(call: Call) -> Json:
    reserved = call.unqualified_function().reserved_concurrency
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


def delete_function_concurrency(call: Call) -> Json:
    call.unqualified_function().reserved_concurrency = None
    return {}


def put_function_event_invoke_config(call: Call) -> Json:
    return _change_event_invoke(call, {})


def update_function_event_invoke_config(call: Call) -> Json:
    return _change_event_invoke(call, _event_invoke(call))


def get_function_event_invoke_config(call: Call) -> Json:
    return _event_invoke(call)


def delete_function_event_invoke_config(call: Call) -> Json:
    function, qualifier = call.function()
    _event_invoke(call)
    del function.event_invoke[qualifier or LATEST]
    return {}


def list_function_event_invoke_configs(call: Call) -> Json:
    function, _ = call.function()
    return page(call, "FunctionEventInvokeConfigs", function.event_invoke.values(), default=50)


def _event_invoke(call: Call) -> Json:
    function, qualifier = call.function()
    config = function.event_invoke.get(qualifier or LATEST)
    if config is None:
        arn = function.qualified(qualifier or LATEST)
        raise ResourceNotFoundException(f"The function {arn} doesn't have an EventInvokeConfig")
    return config


def _change_event_invoke(call: Call, base: Json) -> Json:
    function, qualifier = call.function()
    resolve(function, qualifier)
    members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    config = {
        # Put begins from nothing and update from what is there, so both end here.
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        **base,
        **{member: call.params[member] for member in members if member in call.params},
        "LastModified": call.now,
        "FunctionArn": function.qualified(qualifier or LATEST),
    }
    function.event_invoke[qualifier or LATEST] = config
    return config


def put_provisioned_concurrency_config(call: Call) -> Json:
    function, qualifier = _qualified(call)
    check_untenanted(function, "Provisioned concurrency is")
    wanted: int = call.params["ProvisionedConcurrentExecutions"]
    if function.reserved_concurrency is not None and wanted > function.reserved_concurrency:
        raise InvalidParameterValueException(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
        )
    function.provisioned[qualifier] = {
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AvailableProvisionedConcurrentExecutions": wanted,
        "AllocatedProvisionedConcurrentExecutions": wanted,
        "Status": "READY",
        "LastModified": timestamp(call.now),
    }
    return function.provisioned[qualifier]


def get_provisioned_concurrency_config(call: Call) -> Json:
    function, qualifier = _qualified(call)
    config = function.provisioned.get(qualifier)
    if config is None:
        raise ProvisionedConcurrencyConfigNotFoundException("No Provisioned Concurrency Config found for this function")
    return config


def delete_provisioned_concurrency_config(call: Call) -> Json:
    function, qualifier = _qualified(call)
    function.provisioned.pop(qualifier, None)
    return {}


def list_provisioned_concurrency_configs(call: Call) -> Json:
    function, _ = call.function()
    entries = [
        {"FunctionArn": function.qualified(qualifier), **config} for qualifier, config in function.provisioned.items()
    ]
    return page(call, "ProvisionedConcurrencyConfigs", entries, default=50)


def _qualified(call: Call) -> tuple[Function, str]:
    function, qualifier = call.function()
    if qualifier in (None, LATEST):
        raise InvalidParameterValueException(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    resolve(function, qualifier)
    return function, str(qualifier)


def put_runtime_management_config(call: Call) -> Json:
    function, qualifier = call.function()
    mode: str = call.params["UpdateRuntimeOn"]
    arn = call.params.get("RuntimeVersionArn")
    if (mode == "Manual") != bool(arn):
        raise InvalidParameterValueException(
            "You must provide RuntimeVersionArn when UpdateRuntimeOn is set to Manual, and only then."
        )
    function.runtime_management[qualifier or LATEST] = {"UpdateRuntimeOn": mode, "RuntimeVersionArn": arn}
    return _runtime_management(function, qualifier)


def get_runtime_management_config(call: Call) -> Json:
    function, qualifier = call.function()
    resolve(function, qualifier)
    return _runtime_management(function, qualifier)


def _runtime_management(function: Function, qualifier: str | None) -> Json:
    config = function.runtime_management.get(qualifier or LATEST, {"UpdateRuntimeOn": "Auto"})
    answer: dict[str, Any] = {"FunctionArn": function.qualified(qualifier), **config}
    return {key: value for key, value in answer.items() if value is not None}


def put_function_recursion_config(call: Call) -> Json:
    function = call.unqualified_function()
    if call.params["RecursiveLoop"] not in ("Allow", "Terminate"):
        raise ValidationException("RecursiveLoop has to be Allow or Terminate")
    function.recursive_loop = call.params["RecursiveLoop"]
    return {"RecursiveLoop": function.recursive_loop}


def get_function_recursion_config(call: Call) -> Json:
    return {"RecursiveLoop": call.unqualified_function().recursive_loop}


def get_function_code_signing_config(call: Call) -> Json:
    function = call.unqualified_function()
    answer: Json = {"FunctionName": function.name}
    return {**answer, "CodeSigningConfigArn": function.code_signing_arn} if function.code_signing_arn else answer


def put_function_code_signing_config(call: Call) -> Json:
    function = call.unqualified_function()
    function.code_signing_arn = call.params["CodeSigningConfigArn"]
    return {"FunctionName": function.name, "CodeSigningConfigArn": function.code_signing_arn}


def delete_function_code_signing_config(call: Call) -> Json:
    call.unqualified_function().code_signing_arn = None
    return {}
