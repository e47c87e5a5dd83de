"""What AWS accepts in a build file's values: runtimes, ARNs, ranges, periods; and the names of our rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic.fields import FieldInfo

from builder.nearest import nearest
from builder.npm.prune import RULES as NPM_RULES
from builder.python.prune import RULES
from builder.runtimes import RETIRED, RUNTIMES
from builder.spec.base import VARIABLE, Text, as_tuple, stated

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
LAYER_VERSION = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:layer:[A-Za-z0-9_-]{1,140}:[1-9]\d*", re.ASCII)
# Variables that Lambda sets itself and refuses to take.
RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)


def _runtime(name: str) -> str:
    if name in RETIRED:
        raise ValueError(f"{name!r} is retired, AWS creates no functions with it; {RETIRED[name]}")
    if name not in RUNTIMES:
        raise ValueError(f"{name!r} is not a runtime we know{nearest(name, RUNTIMES)}")
    return name


_RULES = tuple(dict.fromkeys(rule.id for rule in (*RULES, *NPM_RULES)))


def _rule(name: str) -> str:
    if name not in _RULES:
        raise ValueError(f"{name!r} is not a rule{nearest(name, _RULES) or '; rules are ' + ', '.join(_RULES)}")
    return name


def role_arn(value: str) -> str:
    if not ROLE.fullmatch(value):
        raise ValueError(f"{value!r} is not a role's ARN (arn:aws:iam::123456789012:role/NAME)")
    return value


def layer_arn(value: str) -> str:
    """Return `value` if it is the ARN of a layer version.

    Raises:
        ValueError: it is something else.
    """
    if LAYER_VERSION.fullmatch(value):
        return value
    # The most frequent mistake, so it gets a message of its own.
    if LAYER_VERSION.fullmatch(f"{value}:1"):
        raise ValueError(f"{value!r} has no version; add it, for example {value}:1")
    raise ValueError(
        f"{value[:80]!r} is not a layer version's ARN (arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION); "
        "a layer of your own is a mapping with `files`"
    )


# Lambda's limits: MB, seconds, MB.
RANGES: Mapping[str, tuple[int, int]] = {"memory": (128, 10240), "timeout": (1, 900), "ephemeral_storage": (512, 10240)}


def limited(name: str) -> FieldInfo:
    low, high = RANGES[name]
    field: FieldInfo = Field(ge=low, le=high)
    return field


# Days that CloudWatch Logs allows (botocore's description of logs.PutRetentionPolicy).
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


def retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        allowed = ", ".join(map(str, RETENTION_DAYS))
        raise ValueError(f"{days} days is not a period that CloudWatch Logs accepts; it accepts {allowed}")
    return days


_Runtime = Annotated[str, AfterValidator(_runtime), stated(enum=[*RUNTIMES])]
Runtimes = Annotated[
    tuple[_Runtime, ...], BeforeValidator(as_tuple, json_schema_input_type=_Runtime | tuple[_Runtime, ...])
]
Rule = Annotated[Text, AfterValidator(_rule), stated(enum=[*_RULES])]
Description = Annotated[str, StringConstraints(max_length=256)]
License = Annotated[str, StringConstraints(max_length=512)]
Variables = Mapping[Annotated[str, stated(pattern=f"^(?!(?:{'|'.join(sorted(RESERVED))})$){VARIABLE.pattern}$")], str]
Tags = Mapping[
    Annotated[str, stated(pattern=r"^(?![aA][wW][sS]:)[\s\S]{1,128}$")], Annotated[str, stated(maxLength=256)]
]
