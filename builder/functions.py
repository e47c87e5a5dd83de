"""Lambda functions and layers as they are now: read, waited for, never changed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, FunctionBusy, FunctionMissing
from builder.plan import FunctionState

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import FunctionConfigurationTypeDef, WaiterConfigTypeDef

    from builder.aws import Clients

# GetFunction has a rate of its own (100 a second), so polling it takes nothing from the 15 a second of everything else.
_POLL_S = 0.2


def read_function(clients: Clients, name: str) -> FunctionState | None:
    """The function's present state, None if it does not exist.

    Raises:
        AwsRefused: AWS will not tell.
    """
    try:
        with aws_errors(f"reading function {name}"):
            answer = clients.lambda_.get_function(FunctionName=name)
    except FunctionMissing:
        return None
    configuration = answer["Configuration"]
    return FunctionState(
        arn=configuration["FunctionArn"],
        code_sha256=configuration["CodeSha256"],
        architecture=str(configuration.get("Architectures", ["x86_64"])[0]),
        layers=tuple(layer["Arn"] for layer in configuration.get("Layers", ())),
        settings=_settings(configuration),
        revision_id=configuration.get("RevisionId", ""),
        busy=configuration.get("State") == "Pending" or configuration.get("LastUpdateStatus") == "InProgress",
        tags=answer.get("Tags", {}),
    )


def _settings(configuration: FunctionConfigurationTypeDef) -> dict[str, object]:
    """The settings that a build file can name, in the shape in which they are sent."""
    return {
        "Runtime": configuration.get("Runtime"),
        "Handler": configuration.get("Handler"),
        "Role": configuration.get("Role"),
        "MemorySize": configuration.get("MemorySize"),
        "Timeout": configuration.get("Timeout"),
        "Description": configuration.get("Description", ""),
        "Environment": {"Variables": configuration.get("Environment", {}).get("Variables", {})},
        "EphemeralStorage": {"Size": configuration.get("EphemeralStorage", {}).get("Size", 512)},
    }


def wait_until_settled(clients: Clients, name: str, *, timeout_s: float) -> str:
    """Wait until no update is under way; the function's RevisionId then.

    Raises:
        FunctionBusy: it is still being updated after `timeout_s` seconds.
        AwsRefused: the update failed, or the function cannot be used.
    """
    from botocore.exceptions import WaiterError

    attempts = max(1, int(timeout_s / _POLL_S))
    # The model wants whole seconds; the waiter itself takes any number.
    config = cast("WaiterConfigTypeDef", {"Delay": _POLL_S, "MaxAttempts": attempts})
    try:
        clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=config)
        clients.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=config)
    except WaiterError as error:
        last = cast("Mapping[str, dict[str, str]]", error.last_response or {})
        state = last.get("Configuration", {})
        reason = state.get("LastUpdateStatusReason") or state.get("StateReason") or str(error)
        if "Max attempts exceeded" in str(error):
            raise FunctionBusy(
                f"function {name} is still being updated after {timeout_s:.0f} s",
                hint="somebody else is deploying it; run the same command again",
            ) from error
        raise AwsRefused(f"function {name}: Lambda could not apply the update: {reason}") from error
    with aws_errors(f"reading function {name}"):
        return clients.lambda_.get_function(FunctionName=name)["Configuration"].get("RevisionId", "")


def layer_version_exists(clients: Clients, arn: str) -> bool:
    """Whether the layer version can still be attached."""
    try:
        with aws_errors(f"reading layer {arn}"):
            clients.lambda_.get_layer_version_by_arn(Arn=arn)
    except FunctionMissing:
        return False
    except AwsRefused as error:
        if error_code(error) in ("InvalidParameterValueException", "404"):
            return False
        raise
    return True
