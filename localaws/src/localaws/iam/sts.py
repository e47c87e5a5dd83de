"""Assuming a role: the callers that its trust policy admits, and the permissions that session policies leave."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from localaws.iam.conditions import Context, listed, lowered
from localaws.iam.policies import Principal, decide, managed_statements
from localaws.wire.errors import AccessDeniedException, LambdaError
from localaws.wire.wsgi import Environ

__all__ = ["check_assume_role", "keep_session_policies", "service_may_assume"]

MAX_POLICY_LENGTH = 2048  # of the JSON text; AWS also limits an undocumented packed form


class MalformedPolicyDocument(LambdaError):
    pass


class PackedPolicyTooLarge(LambdaError):
    pass


def check_assume_role(caller: Principal, params: Mapping[str, Any], context: Context) -> None:
    """Raise AccessDeniedException unless the role trusts the caller and the caller may assume it.

    A trust policy that names the caller itself is a grant; one that names the account leaves it to the caller's own
    policies, across accounts both are needed.
    """
    role_arn = str(params.get("RoleArn", ""))
    facts = {**context, "sts:RoleSessionName": str(params.get("RoleSessionName", ""))}
    if "ExternalId" in params:
        facts["sts:ExternalId"] = str(params["ExternalId"])
    role = _role(role_arn)
    trust = listed(_document(role).get("Statement", [])) if role else []
    given = lowered(caller.context, facts)
    named = _names(caller)
    direct = _trusts(trust, role_arn, named, given)
    # The account's root stands for everyone in it whom the account allows it.
    account = f"arn:aws:iam::{caller.account}:root"
    by_account = direct or _trusts(trust, role_arn, {*named, account, caller.account}, given)
    at_home = role_arn.split(":")[4:5] == [caller.account]
    # Named in the trust policy of a role of the same account: no permission of the caller's own is needed, but a Deny
    # counts (IAM User Guide, reference_policies_evaluation-logic).
    if direct and at_home and not caller.denies("sts:AssumeRole", role_arn, facts):
        return
    if by_account:
        caller.require("sts:AssumeRole", role_arn, facts)
        return
    raise AccessDeniedException(
        f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
    )


def service_may_assume(role_arn: str, service: str) -> bool:
    """Return whether a role exists and trusts a service like `lambda.amazonaws.com`."""
    role = _role(role_arn)
    if role is None:
        return False
    trusting = [
        # A trust policy has no Resource: the role itself is meant.
        {**statement, "Resource": "*"}
        for statement in listed(_document(role).get("Statement", []))
        if _names_service(statement.get("Principal"), service)
    ]
    return decide(trusting, "sts:AssumeRole", role_arn, {"aws:sourceaccount": role_arn.split(":")[4]})


def _names_service(principal: object, service: str) -> bool:
    if not isinstance(principal, dict):
        return principal == "*"
    return service in listed(principal.get("Service", []))


def _role(arn: str) -> Any:
    """Return moto's role; None if there is none."""
    from moto.iam.models import iam_backends

    parts = arn.split(":")
    if len(parts) != 6 or not re.fullmatch(r"\d{12}", parts[4]):
        return None
    return next((role for role in iam_backends[parts[4]]["aws"].roles.values() if role.arn == arn), None)


def _document(role: Any) -> Mapping[str, Any]:
    trust = role.assume_role_policy_document
    document: Mapping[str, Any] = json.loads(trust) if isinstance(trust, str) else trust
    return document


def _names(caller: Principal) -> set[str]:
    """Return the ARNs by which a policy can name the caller: its own, and that of the role behind a session."""
    role = caller.context.get("aws:PrincipalArn")
    return {"*", caller.arn, *([role] if isinstance(role, str) else [])}


def _trusts(statements: list[Any], role_arn: str, names: set[str], context: Context) -> bool:
    """Return whether a trust policy admits one of the names and denies none."""
    concerned = []
    for statement in statements:
        principal = statement.get("Principal")
        who = listed(principal.get("AWS", [])) if isinstance(principal, dict) else [principal]
        if names.intersection(who):
            concerned.append({**statement, "Resource": "*"})
    return decide(concerned, "sts:AssumeRole", role_arn, context)


def keep_session_policies(environ: Environ, params: Mapping[str, Any], account: str) -> None:
    """Check the session policies of an AssumeRole, and merge them into one inline policy, which moto stores.

    Raises:
        MalformedPolicyDocument, PackedPolicyTooLarge: the inline policy is invalid, or too long.
    """
    inline = str(params.get("Policy") or "")
    arns = [value for name, value in params.items() if re.fullmatch(r"PolicyArns\.member\.\d+\.arn", name)]
    if len(inline) > MAX_POLICY_LENGTH:
        raise PackedPolicyTooLarge(f"The session policy has more than {MAX_POLICY_LENGTH} characters.")
    statements = _statements(inline) if inline else []
    if not arns:
        return
    for arn in arns:
        statements += managed_statements(account, arn)
    fields = {name: value for name, value in params.items() if not name.startswith("PolicyArns.")}
    form = urlencode({**fields, "Policy": json.dumps({"Version": "2012-10-17", "Statement": statements})}).encode()
    # Everything into the body: moto reads parameters from both places, and would see the old policy.
    environ["QUERY_STRING"] = ""
    environ["wsgi.input"] = io.BytesIO(form)
    environ["CONTENT_LENGTH"] = str(len(form))
    environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"


def _statements(document: str) -> list[Any]:
    try:
        statements = listed(json.loads(document)["Statement"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedPolicyDocument("This policy contains invalid Json") from error
    for statement in statements:
        if not (
            isinstance(statement, dict)
            and statement.get("Effect") in ("Allow", "Deny")
            and ("Action" in statement) != ("NotAction" in statement)
            and ("Resource" in statement) != ("NotResource" in statement)
        ):
            raise MalformedPolicyDocument("Syntax errors in policy.")
    return statements
