"""Present published versions and aliases of a function: this module only reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.aws import aws_errors
from builder.errors import FunctionMissing
from builder.publishing.functions import read_function
from builder.publishing.steps import AliasState, FunctionState

if TYPE_CHECKING:
    from builder.aws import Clients


def read_alias(clients: Clients, function: str, alias: str) -> AliasState | None:
    """Return the alias's content, None if there is no such alias or function."""
    try:
        with aws_errors(f"reading alias {alias} of {function}"):
            answer = clients.lambda_.get_alias(FunctionName=function, Name=alias)
    except FunctionMissing:
        return None
    return AliasState(
        name=alias,
        version=answer["FunctionVersion"],
        weights=dict(answer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})),
        revision_id=answer.get("RevisionId", ""),
    )


def read_published(
    clients: Clients, function: str, alias: str | None, versions: Iterable[str] = ()
) -> FunctionState | None:
    """Return the function's present state, with the alias, and the published version that equals it if one is found.

    Args:
        versions: versions to compare besides the one that the alias serves.

    Raises:
        AwsRefused: AWS refuses to read it.
    """
    state = read_function(clients, function)
    if state is None:
        return None
    served = read_alias(clients, function, alias) if alias else None
    candidates = [*versions, *((served.version, *served.weights) if served else ())]
    return replace(state, alias=served, version=equal_version(clients, function, state, candidates))


def equal_version(clients: Clients, function: str, state: FunctionState, versions: Iterable[str]) -> str | None:
    """Return the first of `versions` that equals the function's present state."""
    for version in dict.fromkeys(versions):
        if version == "$LATEST":
            continue
        frozen = read_function(clients, function, qualifier=version)
        if frozen is not None and same_content(frozen, state):
            return version
    return None


def same_content(one: FunctionState, other: FunctionState) -> bool:
    """Tell whether both run the same code with the same configuration."""
    return (one.code_sha256, one.architecture, one.layers, dict(one.settings)) == (
        other.code_sha256,
        other.architecture,
        other.layers,
        dict(other.settings),
    )
