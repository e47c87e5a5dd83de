"""Settings of a function outside of its configuration: each has calls of its own to read and set it.

They are compared by `builder.publishing.configuration.changes`, and applied after the function itself is as wanted:

    wanted = wanted_extras(spec.function, "shop", state.settings)
    for key, value in changes(wanted, read_extras(clients, "shop", wanted)).items():
        apply_extra(clients, "shop", key, value)

Settings that the build file does not name are neither read nor set nor removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from builder.aws import aws_errors, error_code
from builder.errors import AwsRefused, FunctionBusy, FunctionMissing
from builder.spec.separate import EVENT_INVOKE
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.spec.values import FunctionSpec, UrlSpec

# Arguments that name the function: FunctionName, and Qualifier for an alias.
_Where = Mapping[str, Any]
# Further arguments of a call, by Lambda's names.
_Members = Mapping[str, Any]

# Calling a URL without credentials needs both permissions (AWS requires the second since October 2025).
_PUBLIC: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "lambda:InvokeFunction": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    "lambda:InvokeFunctionUrl": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
}
_STATEMENT_IDS = {"lambda:InvokeFunction": "lambdasmith-url-invoke", "lambda:InvokeFunctionUrl": "lambdasmith-url"}


def wanted_extras(function: FunctionSpec, name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return the wanted extras by key, in the order in which they are applied.

    Args:
        name: the function's.
        settings: its present configuration, empty if there is none: a log group chosen by hand counts.
    """
    given = function.configuration
    extras: dict[str, object] = {}
    if function.log_retention is not None:
        group = _log_group(given) or _log_group(settings) or f"/aws/lambda/{name}"
        extras["LogRetention"] = {"LogGroup": group, "RetentionInDays": function.log_retention}
    for key in ("ReservedConcurrentExecutions", "RuntimeManagementConfig", "CodeSigningConfigArn"):
        if key in given:
            extras[key] = given[key]
    event_invoke = {key: given[key] for key in EVENT_INVOKE if key in given}
    if event_invoke:
        extras["EventInvokeConfig"] = event_invoke
    if function.url is not None:
        extras["FunctionUrl"] = _wanted_url(function.url)
    return extras


def read_extras(
    clients: Clients, name: str, wanted: Mapping[str, object], *, alias: str | None = None
) -> dict[str, object]:
    """Return the present value of each of the `wanted` extras; missing ones are absent.

    Args:
        alias: the alias that is deployed to; URL and asynchronous invokes are then the alias's.

    Raises:
        AwsRefused, AccessDenied: AWS refuses to read one.
    """
    found: dict[str, object] = {}
    for key, value in wanted.items():
        try:
            with aws_errors(f"reading {key} of {name}"):
                found[key] = _READ[key](clients, _where(name, key, alias), value)
        except FunctionMissing:
            continue
    return {key: value for key, value in found.items() if value is not None}


def apply_extra(clients: Clients, name: str, key: str, value: object, *, alias: str | None = None) -> str:
    """Set one extra to its wanted value; setting it again changes nothing. Returns the function's URL if it sets that.

    Raises:
        AwsRefused, AccessDenied, FunctionBusy, FunctionMissing: with AWS's words.
    """
    with aws_errors(f"setting {key} of {name}"):
        return _APPLY[key](clients, _where(name, key, alias), value) or ""


def _where(name: str, key: str, alias: str | None) -> _Where:
    qualified = alias is not None and key in ("FunctionUrl", "EventInvokeConfig")
    return {"FunctionName": name, "Qualifier": alias} if qualified else {"FunctionName": name}


# --- log retention --------------------------------------------------------------------------------------------------


def _log_group(settings: Mapping[str, object]) -> str:
    logging = settings.get("LoggingConfig")
    return str(logging.get("LogGroup", "")) if isinstance(logging, Mapping) else ""


def _read_retention(clients: Clients, where: _Where, wanted: object) -> object:
    name = Fields(wanted).text("LogGroup")
    # Answers are sorted, so the group itself comes before all that begin with its name.
    for group in clients.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        if group.get("logGroupName") == name:
            return {"LogGroup": name, "RetentionInDays": group.get("retentionInDays")}
    return None


def _apply_retention(clients: Clients, where: _Where, value: object) -> None:
    wanted = Fields(value)
    group, days = wanted.text("LogGroup"), wanted.count("RetentionInDays")
    try:
        with aws_errors(f"making log group {group}"):
            # Lambda would make it at the first invoke, without retention.
            clients.logs.create_log_group(logGroupName=group)
    except AwsRefused as error:
        if error_code(error) != "ResourceAlreadyExistsException":
            raise
    clients.logs.put_retention_policy(logGroupName=group, retentionInDays=days)


# --- concurrency, runtime updates, code signing, asynchronous invokes -----------------------------------------------


def _read_concurrency(clients: Clients, where: _Where, wanted: object) -> object:
    return clients.lambda_.get_function_concurrency(**where).get("ReservedConcurrentExecutions")


def _apply_concurrency(clients: Clients, where: _Where, value: int) -> None:
    clients.lambda_.put_function_concurrency(**where, ReservedConcurrentExecutions=value)


def _read_runtime_management(clients: Clients, where: _Where, wanted: object) -> object:
    return clients.lambda_.get_runtime_management_config(**where)


def _apply_runtime_management(clients: Clients, where: _Where, members: _Members) -> None:
    clients.lambda_.put_runtime_management_config(**where, **members)


def _read_code_signing(clients: Clients, where: _Where, wanted: object) -> object:
    return clients.lambda_.get_function_code_signing_config(**where).get("CodeSigningConfigArn")


def _apply_code_signing(clients: Clients, where: _Where, value: object) -> None:
    clients.lambda_.put_function_code_signing_config(**where, CodeSigningConfigArn=str(value))


def _read_event_invoke(clients: Clients, where: _Where, wanted: object) -> object:
    return clients.lambda_.get_function_event_invoke_config(**where)


def _apply_event_invoke(clients: Clients, where: _Where, members: _Members) -> None:
    try:
        with aws_errors("updating"):
            # Put would remove settings that the build file does not name.
            clients.lambda_.update_function_event_invoke_config(**where, **members)
    except FunctionMissing:
        clients.lambda_.put_function_event_invoke_config(**where, **members)


# --- URL ------------------------------------------------------------------------------------------------------------


def _wanted_url(url: UrlSpec) -> dict[str, object]:
    wanted: dict[str, object] = {"AuthType": "NONE" if url.auth == "none" else "AWS_IAM"}
    if url.invoke_mode:
        wanted["InvokeMode"] = url.invoke_mode.upper()
    if url.cors is not None:
        wanted["Cors"] = dict(url.cors)
    return {**wanted, "OpenToAll": sorted(_PUBLIC) if url.auth == "none" else []}


def _read_url(clients: Clients, where: _Where, wanted: object) -> object:
    answer = clients.lambda_.get_function_url_config(**where)
    return {**answer, "OpenToAll": sorted({action for action, _ in _public_statements(clients, where)[0]})}


def _apply_url(clients: Clients, where: _Where, wanted: _Members) -> str:
    members = {key: item for key, item in wanted.items() if key != "OpenToAll"}
    try:
        with aws_errors("updating"):
            url = clients.lambda_.update_function_url_config(**where, **members)["FunctionUrl"]
    except FunctionMissing:
        url = clients.lambda_.create_function_url_config(**where, **members)["FunctionUrl"]
    for action, statement_id in _public_statements(clients, where)[0]:
        if action not in wanted["OpenToAll"]:
            revision = _public_statements(clients, where)[1]
            clients.lambda_.remove_permission(**where, StatementId=statement_id, **revision)
    for action in wanted["OpenToAll"]:
        present, revision = _public_statements(clients, where)
        if action not in dict(present):
            _open_to_all(clients, where, action, revision)
    return url


def _open_to_all(clients: Clients, where: _Where, action: str, revision: _Where) -> None:
    conditions: dict[str, Any] = {"InvokedViaFunctionUrl": True}
    if action == "lambda:InvokeFunctionUrl":
        conditions = {"FunctionUrlAuthType": "NONE"}
    conditions |= revision
    try:
        with aws_errors("opening the URL to everyone"):
            clients.lambda_.add_permission(
                **where, StatementId=_STATEMENT_IDS[action], Action=action, Principal="*", **conditions
            )
    except FunctionBusy:
        # This error also means that the first call succeeded but its response was lost.
        if action not in dict(_public_statements(clients, where)[0]):
            raise


def _public_statements(clients: Clients, where: _Where) -> tuple[list[tuple[str, str]], _Where]:
    """Return action and id of the policy's statements that let everyone call the URL, and the policy's revision."""
    try:
        with aws_errors("reading the policy"):
            answer = clients.lambda_.get_policy(**where)
    except FunctionMissing:
        return [], {}
    found = []
    for statement in json.loads(answer["Policy"])["Statement"]:
        action, condition = statement.get("Action"), statement.get("Condition")
        everybody = statement.get("Principal") in ("*", {"AWS": "*"})
        if everybody and statement.get("Effect") == "Allow" and action in _PUBLIC and condition == _PUBLIC[action]:
            found.append((action, statement["Sid"]))
    return found, {"RevisionId": answer["RevisionId"]} if "RevisionId" in answer else {}


_READ: Mapping[str, Callable[[Clients, _Where, object], object]] = {
    "LogRetention": _read_retention,
    "ReservedConcurrentExecutions": _read_concurrency,
    "RuntimeManagementConfig": _read_runtime_management,
    "CodeSigningConfigArn": _read_code_signing,
    "EventInvokeConfig": _read_event_invoke,
    "FunctionUrl": _read_url,
}
_APPLY: Mapping[str, Callable[[Clients, _Where, Any], str | None]] = {
    "LogRetention": _apply_retention,
    "ReservedConcurrentExecutions": _apply_concurrency,
    "RuntimeManagementConfig": _apply_runtime_management,
    "CodeSigningConfigArn": _apply_code_signing,
    "EventInvokeConfig": _apply_event_invoke,
    "FunctionUrl": _apply_url,
}
