"""The Condition blocks of policies: operators, their set forms, and what stands in patterns.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

__all__ = ["Context", "Value", "any_match", "conditions_hold", "listed", "lowered", "tag_keys"]

Value = str | tuple[str, ...]
"""What a request has under a condition key; several values for keys like `aws:TagKeys`."""
Context = Mapping[str, Value]
"""Condition keys and their values; what a request lacks is absent. This module is given keys in small letters."""

# What stands for a wildcard that came with a value: it is a character of the value and matches only itself.
_LITERAL = str.maketrans({"*": "\ue000", "?": "\ue001"})
_VARIABLES = {"*": "\ue000", "?": "\ue001", "$": "$"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def any_match(patterns: Any, value: str, *, ignore_case: bool = False, context: Context | None = None) -> bool:
    """Whether one of the patterns, with `*`, `?` and variables like `${aws:username}`, is the value."""
    if patterns is None:
        return False
    resolved = (_resolved(pattern, context or {}) for pattern in listed(patterns))
    return any(_wildcard(pattern, ignore_case).fullmatch(value) for pattern in resolved)


def conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Context, *, unknown: bool) -> bool:
    """Whether all conditions are met; `unknown` is the answer for an operator that is not known here."""
    return all(
        _condition_holds(operator, key.lower(), [_text(value) for value in listed(expected)], context, unknown)
        for operator, keys in conditions.items()
        for key, expected in keys.items()
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition_holds(operator: str, key: str, expected: list[str], context: Context, unknown: bool) -> bool:
    name, quantifier = operator, ""
    if ":" in operator:
        quantifier, _, name = operator.partition(":")
    found = context.get(key)
    if name == "Null":
        return (not found) == (expected[0].lower() == "true")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negative = "Not" in name
    test = _TESTS.get(name.replace("Not", "", 1))
    if test is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        return unknown
    if found is None and optional:
        return True
    actual = () if found is None else (found,) if isinstance(found, str) else found
    wanted = [_resolved(value, context) for value in expected]

    def matches(value: str) -> bool:
        return any(_passes(test, one, value) for one in wanted) != negative

    if quantifier == "ForAllValues":
        return all(map(matches, actual))
    if quantifier == "ForAnyValue":
        return any(map(matches, actual))
    if not actual:
        return negative
    # Several values without a quantifier: as AWS, one that matches is enough, and for a negation none may.
    return all(map(matches, actual)) if negative else any(map(matches, actual))


def _passes(test: Callable[[str, str], bool], expected: str, actual: str) -> bool:
    try:
        return test(expected, actual)
    except ValueError:  # no number, date or address: no match
        return False


def _resolved(pattern: str, context: Context) -> str:
    """A pattern with its variables filled in; one that the request lacks stays as it is, and matches nothing."""

    def value(found: re.Match[str]) -> str:
        name, _, default = (part.strip() for part in found[1].partition(","))
        if name in _VARIABLES:
            return _VARIABLES[name]
        present = context.get(name.lower())
        if isinstance(present, str):
            return present.translate(_LITERAL)
        return default[1:-1].translate(_LITERAL) if default else found[0]

    return re.sub(r"\$\{([^}]+)\}", value, pattern)


@cache
def _wildcard(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    expression = expression.replace("\ue000", r"\*").replace("\ue001", r"\?")
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _plain(pattern: str) -> str:
    """A value that is compared as it is: variables may have brought what is no wildcard."""
    return pattern.replace("\ue000", "*").replace("\ue001", "?")


def _like(expected: str, actual: str) -> bool:
    return _wildcard(expected).fullmatch(actual) is not None


def _arn_like(expected: str, actual: str) -> bool:
    """Part by part: a wildcard does not reach over a colon, except in the last of the six."""
    if expected == "*":
        return True
    wanted, given = expected.split(":", 5), actual.split(":", 5)
    return len(wanted) == len(given) and all(map(_like, wanted, given))


def _date(text: str) -> datetime:
    if re.fullmatch(r"\d+", text):
        return datetime.fromtimestamp(int(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, actual: _plain(expected) == actual,
    "StringEqualsIgnoreCase": lambda expected, actual: _plain(expected).lower() == actual.lower(),
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "NumericEquals": lambda expected, actual: float(expected) == float(actual),
    "NumericLessThan": lambda expected, actual: float(actual) < float(expected),
    "NumericLessThanEquals": lambda expected, actual: float(actual) <= float(expected),
    "NumericGreaterThan": lambda expected, actual: float(actual) > float(expected),
    "NumericGreaterThanEquals": lambda expected, actual: float(actual) >= float(expected),
    "DateEquals": lambda expected, actual: _date(actual) == _date(expected),
    "DateLessThan": lambda expected, actual: _date(actual) < _date(expected),
    "DateLessThanEquals": lambda expected, actual: _date(actual) <= _date(expected),
    "DateGreaterThan": lambda expected, actual: _date(actual) > _date(expected),
    "DateGreaterThanEquals": lambda expected, actual: _date(actual) >= _date(expected),
    "IpAddress": lambda expected, actual: ipaddress.ip_address(actual) in ipaddress.ip_network(expected, strict=False),
}


def lowered(*parts: Context) -> dict[str, Value]:
    """One context of several, with keys in small letters; the later wins."""
    return {key.lower(): value for part in parts for key, value in part.items()}


def tag_keys(prefix: str, tags: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Condition keys that tags are: `aws:RequestTag/KEY` for the prefix `aws:RequestTag`."""
    return ((f"{prefix}/{key}", value) for key, value in tags.items())
