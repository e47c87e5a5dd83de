"""Lambda functions and layers as they are now: read, waited for, never changed here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from builder.amounts import seconds
from builder.aws import aws_errors
from builder.errors import AwsRefused, FunctionBusy, FunctionMissing
from builder.publishing.steps import FunctionState

if TYPE_CHECKING:
    from types_boto3_lambda.type_defs import FunctionConfigurationTypeDef

    from builder.aws import Clients

# GetFunction has a rate of its own (100 a second), so polling it takes nothing from the 15 a second of everything else.
# Lambda applies most updates within a second: ask often at first.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.03, 1.0

# Members of a function's configuration that nobody sets, or that have calls of their own.
_NOT_SETTINGS = frozenset(
    {
        *("FunctionName", "FunctionArn", "MasterArn", "Version", "RevisionId", "LastModified", "PackageType"),
        *("CodeSize", "CodeSha256", "ConfigSha256", "Architectures", "Layers", "ResponseMetadata"),
        *("State", "StateReason", "StateReasonCode"),
        *("LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"),
        *("RuntimeVersionConfig", "SigningProfileVersionArn", "SigningJobArn", "ImageConfigResponse"),
    }
)


def read_function(clients: Clients, name: str, *, qualifier: str = "$LATEST") -> FunctionState | None:
    """The function's present state, or that of a published version; None if it does not exist.

    Raises:
        AwsRefused: AWS will not tell.
    """
    try:
        with aws_errors(f"reading function {name}"):
            answer = clients.lambda_.get_function(
                FunctionName=name, **({} if qualifier == "$LATEST" else {"Qualifier": qualifier})
            )
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
        failure=_failure(configuration),
        tags=answer.get("Tags", {}),
    )


def _failure(configuration: FunctionConfigurationTypeDef) -> str:
    """Why Lambda cannot run it or apply the last update; empty if it can."""
    if configuration.get("State") == "Failed":
        return configuration.get("StateReason") or "the function has failed"
    if configuration.get("LastUpdateStatus") == "Failed":
        return configuration.get("LastUpdateStatusReason") or "the last update has failed"
    return ""


def _settings(configuration: FunctionConfigurationTypeDef) -> dict[str, object]:
    """The settings, in the shape in which they are sent; what Lambda counts, computes or reports is left out."""
    settings: dict[str, object] = {"Description": "", "Environment": {"Variables": {}}}
    settings |= {key: value for key, value in configuration.items() if key not in _NOT_SETTINGS}
    if "SnapStart" in configuration:
        settings["SnapStart"] = {"ApplyOn": configuration["SnapStart"].get("ApplyOn", "None")}
    return settings


def wait_until_settled(clients: Clients, name: str, *, timeout_s: float, qualifier: str = "$LATEST") -> FunctionState:
    """Wait until no update is under way, or the published version can be invoked; the state then.

    Raises:
        FunctionBusy: it is still being updated after `timeout_s` seconds.
        AwsRefused: the update failed, or the function cannot be used.
    """
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        state = read_function(clients, name, qualifier=qualifier)
        if state is None:
            raise FunctionMissing(f"function {name} was deleted while it was being updated")
        if state.failure:
            raise AwsRefused(f"function {name}: Lambda could not apply the update: {state.failure}")
        if not state.busy:
            return state
        if time.monotonic() + pause > deadline:
            raise FunctionBusy(
                f"function {name} is still being updated after {seconds(timeout_s)}",
                hint="someone else is deploying it; run the same command again",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
