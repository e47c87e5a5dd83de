"""Who calls, and what their policies allow: identity policies evaluated as AWS documents it.

An explicit Deny wins, then any Allow, else the answer is no. Understood are Action, NotAction, Resource, NotResource
and the string, ARN, numeric, boolean and null conditions with their IfExists and set forms; a permissions boundary
narrows. Resource policies, session policies and service control policies are not evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

from localaws.lambda_errors import AccessDeniedException, UnrecognizedClientException

# The keys that documentation tells people to use; they are the account's operator, whatever is enforced.
OPERATOR_KEYS = frozenset({"test", "ak"})  # "ak" is what moto's Step Functions signs its own calls with

Statement = Mapping[str, Any]
Context = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller: ARN, statements of its identity policies, and of its boundary (None: no boundary).

    `unlimited` is the operator, and everybody while enforcement is off.
    """

    arn: str
    account: str
    statements: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None
    unlimited: bool = False
    context: Context = field(default_factory=dict)

    def allows(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether the policies allow an action like `s3:GetObject` on one resource ARN."""
        if self.unlimited:
            return True
        facts = {key.lower(): value for key, value in {**self.context, **(context or {})}.items()}
        bounded = self.boundary is None or decide(self.boundary, action, resource, facts)
        return bounded and decide(self.statements, action, resource, facts)

    def require(self, action: str, resource: str, context: Context | None = None) -> None:
        """Raise AccessDeniedException in AWS's words unless the action is allowed."""
        if not self.allows(action, resource, context):
            raise AccessDeniedException(
                f"User: {self.arn} is not authorized to perform: {action} on resource: {resource} because no "
                f"identity-based policy allows the {action} action"
            )


def operator(account: str) -> Principal:
    return Principal(arn=f"arn:aws:iam::{account}:root", account=account, unlimited=True)


def principal(access_key: str, session_token: str | None, account: str, *, enforce: bool) -> Principal:
    """The caller that an access key stands for.

    Raises:
        UnrecognizedClientException: with enforcement, a key or session token that nobody issued.
    """
    if not enforce or access_key in OPERATOR_KEYS:
        return operator(account)
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    session = sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)
    if session is not None:
        if session.session_token != session_token:
            raise UnrecognizedClientException("The security token included in the request is invalid.")
        name = session.role_arn.rsplit("/", 1)[-1]
        return _role_principal(account, name, f"arn:aws:sts::{account}:assumed-role/{name}/{session.session_name}")
    for user in iam_backends[account]["aws"].users.values():
        if any(key.access_key_id == access_key for key in user.access_keys):
            return _user_principal(account, user)
    raise UnrecognizedClientException("The security token included in the request is invalid.")


def role_principal(account: str, role_arn: str, session_name: str) -> Principal:
    """What a function's own credentials are allowed; nothing when the role is gone."""
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
        context={"aws:PrincipalArn": role.arn},
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
        context={"aws:PrincipalArn": user.arn, "aws:username": user.name},
    )


def _boundary(account: str, arn: str | None) -> tuple[Statement, ...] | None:
    if not arn:
        return None
    from moto.iam.models import iam_backends

    policy = iam_backends[account]["aws"].managed_policies.get(arn)
    return _statements([_document(policy)]) if policy else ()


def _document(policy: Any) -> str:
    """The document of a managed policy's default version."""
    return next(str(version.document) for version in policy.versions if version.is_default)


def _statements(documents: Iterable[str | Mapping[str, Any]]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for document in documents:
        content = _parsed(document) if isinstance(document, str) else document
        found += _listed(content.get("Statement", []))
    return tuple(found)


@cache
def _parsed(document: str) -> Mapping[str, Any]:
    text = document if document.lstrip().startswith("{") else unquote(document)
    return json.loads(text)  # type: ignore[no-any-return]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def decide(statements: Iterable[Statement], action: str, resource: str, context: Context) -> bool:
    """Whether statements allow an action; `context` has lower-case keys."""
    allowed = False
    for statement in statements:
        if _concerns(statement, action, resource, context):
            if statement.get("Effect") == "Deny":
                return False
            allowed = True
    return allowed


def _concerns(statement: Statement, action: str, resource: str, context: Context) -> bool:
    action_matches = _any_match(statement.get("Action"), action, ignore_case=True)
    if "NotAction" in statement:
        action_matches = not _any_match(statement["NotAction"], action, ignore_case=True)
    resource_matches = _any_match(statement.get("Resource"), resource, context=context)
    if "NotResource" in statement:
        resource_matches = not _any_match(statement["NotResource"], resource, context=context)
    return action_matches and resource_matches and _conditions_hold(statement.get("Condition", {}), context)


def _any_match(patterns: Any, value: str, *, ignore_case: bool = False, context: Context | None = None) -> bool:
    if patterns is None:
        return False
    resolved = (_variables(pattern, context or {}) for pattern in _listed(patterns))
    return any(_wildcard(pattern, ignore_case).fullmatch(value) for pattern in resolved)


def _variables(pattern: str, context: Context) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda found: context.get(found[1].lower(), found[0]), pattern)


@cache
def _wildcard(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _like(expected: str, actual: str) -> bool:
    return _wildcard(expected).fullmatch(actual) is not None


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, actual: expected == actual,
    "StringEqualsIgnoreCase": lambda expected, actual: expected.lower() == actual.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "NumericEquals": lambda expected, actual: float(expected) == float(actual),
    "NumericLessThan": lambda expected, actual: float(actual) < float(expected),
    "NumericLessThanEquals": lambda expected, actual: float(actual) <= float(expected),
    "NumericGreaterThan": lambda expected, actual: float(actual) > float(expected),
    "NumericGreaterThanEquals": lambda expected, actual: float(actual) >= float(expected),
}


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    return all(
        _condition_holds(operator_name, key.lower(), [str(value) for value in _listed(expected)], context)
        for operator_name, keys in conditions.items()
        for key, expected in keys.items()
    )


def _condition_holds(operator_name: str, key: str, expected: list[str], context: Context) -> bool:
    name = operator_name.rsplit(":", 1)[-1]  # ForAnyValue: and ForAllValues: are the same where a key has one value
    actual = context.get(key)
    if name == "Null":
        return (actual is None) == (expected[0].lower() == "true")
    if name.endswith("IfExists"):
        name = name.removesuffix("IfExists")
        if actual is None:
            return True
    negative = "Not" in name
    if actual is None:
        return negative or operator_name.startswith("ForAllValues:")
    test = _TESTS.get(name.replace("Not", "", 1))
    if test is None:
        return False
    matched = any(test(_variables(value, context), actual) for value in expected)
    return matched != negative
