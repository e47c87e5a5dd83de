"""Settings of an installed builder, read from its function."""

from __future__ import annotations

from bootstrap.config.settings import Isolation
from bootstrap.names import Names
from bootstrap.plan.wanted import ENVIRONMENT_PREFIX
from bootstrap.state import Present


def own_layer(names: Names, present: Present) -> str:
    """Return the ARN of the builder's own layer that its function uses, or an empty string."""
    layers = present.function.layers if present.function else ()
    return next((layer for layer in layers if layer.startswith(f"{names.layer_arn}:")), "")


def isolation_of(present: Present) -> Isolation:
    """Return the present setting `isolation`."""
    there = present.function.settings.environment if present.function else {}
    return "split" if there.get(f"{ENVIRONMENT_PREFIX}WORKER") else "shared"


def functions_of(present: Present) -> tuple[str, ...]:
    """Return the functions that the builder may deploy now."""
    # The function's variables are the only record of earlier answers: config.ini need not have them.
    there = present.function.settings.environment if present.function and present.function.made_here else {}
    return tuple(filter(None, there.get(f"{ENVIRONMENT_PREFIX}FUNCTIONS", "").split(",")))


def expire_days_of(present: Present) -> int:
    """Return the days until artifacts expire now; 0 is never."""
    there = present.function.settings.environment if present.function and present.function.made_here else {}
    days = there.get(f"{ENVIRONMENT_PREFIX}EXPIRE_DAYS", "")
    return int(days) if days.isdecimal() else 0
