"""Callers, and what their policies allow: identity policies, evaluated as AWS documents it.

An explicit Deny wins, then any Allow; otherwise the request is denied. Supported are Action, NotAction, Resource,
NotResource and conditions, see `conditions`; a permissions boundary and session policies narrow the result. Resource
policies, except the trust policies of roles (`sts`), and service control policies are not evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import unquote

from localaws.iam.conditions import Context, any_match, conditions_hold, listed, lowered, tag_keys
from localaws.wire.errors import AccessDeniedException, UnrecognizedClientException

# The key that the documentation names: the account's operator, also under enforcement.
OPERATOR_KEYS = frozenset({"test"})

Statement = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Caller: its ARN, and the statements of its identity, boundary and session policies (None: none attached).

    `unlimited` holds for the operator, and for everyone while enforcement is off.
    """

    arn: str
    account: str
    statements: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None
    session: tuple[Statement, ...] | None = None
    unlimited: bool = False
    context: Context = field(default_factory=dict)

    def allows(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Return whether the policies allow an action like `s3:GetObject` on one resource ARN."""
        if self.unlimited:
            return True
        facts = lowered(_COMMON, self.context, context or {})
        # Boundary and session policy grant nothing: each must allow as well (IAM User Guide,
        # reference_policies_evaluation-logic).
        limits = [limit for limit in (self.boundary, self.session) if limit is not None]
        return all(decide(policy, action, resource, facts) for policy in (self.statements, *limits))

    def denies(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Return whether an identity policy denies the action, or the boundary or session policies exclude it."""
        facts = lowered(_COMMON, self.context, context or {})
        limits = [limit for limit in (self.boundary, self.session) if limit is not None]
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        return not all(decide(policy, action, resource, facts) for policy in ((*self.statements, everything), *limits))

    def require(self, action: str, resource: str, context: Context | None = None) -> None:
        """Raise AccessDeniedException with AWS's wording unless the action is allowed."""
        if not self.allows(action, resource, context):
            raise AccessDeniedException(
                f"User: {self.arn} is not authorized to perform: {action} on resource: {resource} because no "
                f"identity-based policy allows the {action} action"
            )


# AWS's endpoints speak only HTTPS and policies rely on that, so plain loopback HTTP must count as secure.
_COMMON: Context = {"aws:SecureTransport": "true", "aws:SourceIp": "127.0.0.1"}


def operator(account: str) -> Principal:
    return Principal(arn=f"arn:aws:iam::{account}:root", account=account, unlimited=True)


def principal(access_key: str, session_token: str | None, account: str, *, enforce: bool) -> Principal:
    """Return the caller with this access key.

    Raises:
        UnrecognizedClientException: with enforcement, an unknown key or session token.
    """
    if not enforce or access_key in OPERATOR_KEYS:
        return operator(account)
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    session = sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)
    if session is not None:
        # The key alone is not enough: temporary credentials are valid only together with their token.
        if session.session_token != session_token:
            raise UnrecognizedClientException("The security token included in the request is invalid.")
        found = role_principal(account, session.role_arn, session.session_name)
        return replace(found, session=_statements([session.policy]) if session.policy else None)
    for user in iam_backends[account]["aws"].users.values():
        if any(key.access_key_id == access_key for key in user.access_keys):
            return _user_principal(account, user)
    raise UnrecognizedClientException("The security token included in the request is invalid.")


def role_principal(account: str, role_arn: str, session_name: str) -> Principal:
    """Return the caller behind a function's credentials; it may do nothing if the role is gone."""
    name = role_arn.rsplit("/", 1)[-1]
    return _role_principal(account, name, f"arn:aws:sts::{account}:assumed-role/{name}/{session_name}")


def _role_principal(account: str, name: str, arn: str) -> Principal:
    from moto.iam.models import iam_backends

    role = next((role for role in iam_backends[account]["aws"].roles.values() if role.name == name), None)
    if role is None:
        return Principal(arn=arn, account=account)
    documents = [*role.policies.values(), *map(_document, role.managed_policies.values())]
    return Principal(
        arn=arn,
        account=account,
        statements=_statements(documents),
        boundary=_boundary(account, role.permissions_boundary_arn),
        context={
            "aws:PrincipalArn": role.arn,
            "aws:PrincipalAccount": account,
            "aws:PrincipalType": "AssumedRole",
            **dict(tag_keys("aws:PrincipalTag", {tag["Key"]: tag["Value"] for tag in role.tags or ()})),
        },
    )


def _user_principal(account: str, user: Any) -> Principal:
    from moto.iam.models import iam_backends

    groups = iam_backends[account]["aws"].get_groups_for_user(user.name)
    documents = []
    for holder in (user, *groups):
        documents += [*holder.policies.values(), *map(_document, holder.managed_policies.values())]
    return Principal(
        arn=user.arn,
        account=account,
        statements=_statements(documents),
        context={
            "aws:PrincipalArn": user.arn,
            "aws:PrincipalAccount": account,
            "aws:PrincipalType": "User",
            "aws:username": user.name,
        },
    )


def _boundary(account: str, arn: str | None) -> tuple[Statement, ...] | None:
    if not arn:
        return None
    return tuple(managed_statements(account, arn))


def managed_statements(account: str, arn: str) -> list[Statement]:
    """Return the statements of a managed policy; none when it is gone."""
    from moto.iam.models import iam_backends

    policy = iam_backends[account]["aws"].managed_policies.get(arn)
    return list(_statements([_document(policy)])) if policy else []


def _document(policy: Any) -> str:
    """Return the document of a managed policy's default version."""
    return next(str(version.document) for version in policy.versions if version.is_default)


def _statements(documents: Iterable[str | Mapping[str, Any]]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for document in documents:
        content = _parsed(document) if isinstance(document, str) else document
        found += listed(content.get("Statement", []))
    return tuple(found)


@cache
def _parsed(document: str) -> Mapping[str, Any]:
    text = document if document.lstrip().startswith("{") else unquote(document)
    return json.loads(text)  # type: ignore[no-any-return]


def decide(statements: Iterable[Statement], action: str, resource: str, context: Context) -> bool:
    """Return whether statements allow an action; `context` has lower-case keys."""
    allowed = False
    for statement in statements:
        if _concerns(statement, action, resource, context):
            # At once: an explicit Deny wins over every Allow, wherever it stands.
            if statement.get("Effect") == "Deny":
                return False
            allowed = True
    return allowed


def _concerns(statement: Statement, action: str, resource: str, context: Context) -> bool:
    action_matches = any_match(statement.get("Action"), action, ignore_case=True)
    if "NotAction" in statement:
        action_matches = not any_match(statement["NotAction"], action, ignore_case=True)
    resource_matches = any_match(statement.get("Resource"), resource, context=context)
    if "NotResource" in statement:
        resource_matches = not any_match(statement["NotResource"], resource, context=context)
    if not (action_matches and resource_matches):
        return False
    # A condition that is not understood never widens access: it fails an Allow and meets a Deny.
    return conditions_hold(statement.get("Condition", {}), context, unknown=statement.get("Effect") == "Deny")
