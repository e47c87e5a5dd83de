"""Decides the role of a function as far as possible before a build: whether there is one, whether it is the builder's
own, and whether the builder may give it. IAM enforces the same (bootstrap/policy/), but only reports it at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.errors import AccessDenied, OwnTarget, RoleMissing

if TYPE_CHECKING:
    from builder.spec.values import BuildSpec
    from builder.store.values import Fields


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What decides about the role of one function.

    Args:
        default: ARN of the role for functions whose build file names none; "" without one.
        present: ARN of the function's present role; None for a new function.
        allowed: patterns of the ARNs that the builder may give; None if only IAM knows.
        own: ARNs of the builder's roles, which it gives to no function.
    """

    default: str
    present: str | None
    allowed: tuple[str, ...] | None
    own: tuple[str, ...]

    def check(self, spec: BuildSpec, function: str) -> None:
        """Return if the function can be created, or changed, with its intended role.

        Raises:
            RoleMissing: the function does not exist, and there is no role for it.
            OwnTarget: the role is the builder's.
            AccessDenied: the builder may not give it.
        """
        if spec.function is None:
            return
        named = spec.function.role or ""
        refuse_own([f"{spec.at('function.role')}: {named}"] if is_one_of(named, self.own) else [])
        role = named or ("" if self.present is not None else self.default)
        if not role and self.present is None:
            raise role_missing(function)
        if role and role != self.present:
            check_allowed(role, self.allowed, f"{spec.at('function.role')}: " if named else "", function)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for another process."""
        return {
            "default": self.default,
            "present": self.present,
            "allowed": None if self.allowed is None else list(self.allowed),
            "own": list(self.own),
        }

    @classmethod
    def parse(cls, sent: Fields) -> Roles:
        """Parse the output of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        return cls(
            default=sent.text("default"),
            present=sent.text_or_none("present"),
            allowed=sent.texts("allowed") if "allowed" in sent else None,
            own=sent.texts("own"),
        )


def is_one_of(role: object, roles: Iterable[str]) -> bool:
    """Tell whether a role's ARN or name, in any path and case, is that of one of `roles`."""
    if not isinstance(role, str):
        return False
    # IAM's role names are unique without regard to case and path, so the name alone identifies one.
    return role.lower().rpartition("/")[2] in {each.lower().rpartition("/")[2] for each in roles}


def refuse_own(problems: Sequence[str]) -> None:
    """Return if there are no problems; each names a part of the builder, and who names it.

    Raises:
        OwnTarget: there are problems.
    """
    if problems:
        raise OwnTarget(
            f"{'; '.join(problems)}: belongs to a builder, which no deploy may change",
            hint="deploy to another function, layer and role; only setup.py changes the builder",
            problems=problems if len(problems) > 1 else (),
        )


def check_allowed(role: str, allowed: Iterable[str] | None, where: str, function: str) -> None:
    """Return if the builder may give `role` to the function; `where` says who names it.

    Raises:
        AccessDenied: it may not.
    """
    if allowed is not None and not any(fnmatchcase(role, pattern) for pattern in allowed):
        raise not_allowed(role, allowed, where, function)


def not_allowed(role: str, allowed: Iterable[str], where: str, function: str) -> AccessDenied:
    """Return the error for a role that the builder may not give."""
    return AccessDenied(
        f"{where}function {function}: role {role} is not one that this builder may give to functions",
        hint=_two_lines("roles", ", ".join(dict.fromkeys((*allowed, role)))),
    )


# Made by whoever may make roles, once: the builder may not.
_TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}]}'
)
_ROLE_MADE = f"""
with ROLE the name or ARN of a role that lambda.amazonaws.com may assume. For a role of this function alone, name it
there as `roles` instead of `role`, and in the build file:
  function:
    role: arn:aws:iam::ACCOUNT:role/ROLE
If there is no such role yet, two commands make one that may write logs and nothing else:
  aws iam create-role --role-name ROLE --assume-role-policy-document '{_TRUST}'
  aws iam attach-role-policy --role-name ROLE --policy-arn \\
    arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"""


def role_missing(function: str) -> RoleMissing:
    """Return the error for a new function for which no role is known."""
    return RoleMissing(
        f"function {function} does not exist yet, and no role is set to create it with",
        hint=_two_lines("role", "ROLE") + _ROLE_MADE,
    )


def _two_lines(key: str, value: str) -> str:
    return (
        "these two lines in the builder's config.ini, then `python setup.py update` "
        f"(with Terraform: `{key}` of its module builder):\n  [builder]\n  {key} = {value}"
    )
