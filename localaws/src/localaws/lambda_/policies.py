"""Operations on resource policies: permissions of others to invoke a function or use a layer."""

from __future__ import annotations

import json

from localaws.lambda_.calls import Call
from localaws.lambda_.functions import resolve
from localaws.lambda_.layers import existing_version, layer_name
from localaws.lambda_.model import LATEST, Policy, new_revision
from localaws.wire.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    ResourceConflictException,
    ResourceNotFoundException,
    stale_revision,
)
from localaws.wire.requests import Json

MAX_POLICY_BYTES = 20 * 1024


def add_permission(call: Call) -> Json:
    function, qualifier = call.function()
    resolve(function, qualifier)
    if qualifier == LATEST:
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
    policy = function.policies.setdefault(qualifier or LATEST, Policy())
    statement = _statement(call.params, function.qualified(qualifier), _service_or_account(call.params["Principal"]))
    if conditions := _conditions(call.params):
        statement["Condition"] = conditions
    return _added(call, policy, statement)


def remove_permission(call: Call) -> Json:
    function, qualifier = call.function()
    _remove(call, function.policies.get(qualifier or LATEST))
    return {}


def get_policy(call: Call) -> Json:
    function, qualifier = call.function()
    resolve(function, qualifier)
    return _shown(function.policies.get(qualifier or LATEST))


def add_layer_version_permission(call: Call) -> Json:
    layer, version = existing_version(call, layer_name(call), call.params["VersionNumber"])
    who = call.params["Principal"]
    principal: str | Json = "*" if who == "*" else {"AWS": f"arn:aws:iam::{who}:root" if who.isdigit() else who}
    statement = _statement(call.params, version.arn, principal)
    if "OrganizationId" in call.params:
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": call.params["OrganizationId"]}}
    return _added(call, layer.policies.setdefault(version.number, Policy()), statement)


def remove_layer_version_permission(call: Call) -> Json:
    layer, version = existing_version(call, layer_name(call), call.params["VersionNumber"])
    _remove(call, layer.policies.get(version.number))
    return {}


def get_layer_version_policy(call: Call) -> Json:
    layer, version = existing_version(call, layer_name(call), call.params["VersionNumber"])
    return _shown(layer.policies.get(version.number))


def _statement(params: Json, resource: str, principal: str | Json) -> Json:
    return {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": params["Action"],
        "Resource": resource,
    }


def _service_or_account(principal: str) -> str | Json:
    if principal == "*":
        return "*"
    if principal.endswith((".amazonaws.com", ".amazon.com")):
        return {"Service": principal}
    return {"AWS": f"arn:aws:iam::{principal}:root" if principal.isdigit() else principal}


def _conditions(params: Json) -> Json:
    conditions: Json = {}
    for member, operator, key in (
        ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
        ("SourceArn", "ArnLike", "AWS:SourceArn"),
        ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
        ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
        ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
    ):
        if member in params:
            value = params[member]
            conditions.setdefault(operator, {})[key] = str(value).lower() if isinstance(value, bool) else value
    return conditions


def _added(call: Call, policy: Policy, statement: Json) -> Json:
    with call.region.lock:
        # Compared under the lock: of two callers with the same revision one must lose.
        if call.params.get("RevisionId", policy.revision) != policy.revision:
            raise stale_revision()
        if any(other["Sid"] == statement["Sid"] for other in policy.statements):
            raise ResourceConflictException(
                f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement."
            )
        if len(_document([*policy.statements, statement])) > MAX_POLICY_BYTES:
            raise PolicyLengthExceededException("The final policy size is bigger than the limit (20480).")
        policy.statements.append(statement)
        policy.revision = new_revision()
    return {"Statement": json.dumps(statement), "RevisionId": policy.revision}


def _remove(call: Call, policy: Policy | None) -> None:
    sid = call.params["StatementId"]
    with call.region.lock:
        kept = [statement for statement in policy.statements if statement["Sid"] != sid] if policy else []
        if policy is None or len(kept) == len(policy.statements):
            raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
        if call.params.get("RevisionId", policy.revision) != policy.revision:
            raise stale_revision()
        policy.statements[:] = kept
        policy.revision = new_revision()


def _shown(policy: Policy | None) -> Json:
    if policy is None or not policy.statements:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": _document(policy.statements), "RevisionId": policy.revision}


def _document(statements: list[Json]) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements})
