"""Comparison of Lambda's content with the deployed artifact: a reply with status 200 means that they are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.errors import ContentMismatch
from builder.publishing.steps import FunctionState, UpdateCode, UpdateConfiguration

if TYPE_CHECKING:
    from builder.plan import Artifact


def require_content(what: str, artifact: Artifact, code_sha256: str) -> None:
    """Return if Lambda has exactly the built artifact; called before a version is published or an alias moves.

    Raises:
        ContentMismatch: it has something else.
    """
    if code_sha256 != artifact.code_sha256:
        raise ContentMismatch(
            f"{what}: Lambda has code with CodeSha256 {code_sha256}, but {artifact.code_sha256} was built",
            hint="someone else writes to the builder's store; no version was made and no alias moved: find out who, "
            "then deploy with force",
        )


def difference(
    name: str, step: UpdateCode | UpdateConfiguration, state: FunctionState | None, made: Mapping[str, str]
) -> ContentMismatch:
    """Return the error that `step` is still necessary after a deploy.

    `made` are ARNs of new layer versions by component.
    """
    if isinstance(step, UpdateCode):
        has, meant = f"CodeSha256 {state.code_sha256 if state else ''}", step.code.code_sha256
    else:
        has = f"layers {listed(state.layers if state else ())}"
        meant = listed([made.get(layer, layer) for layer in step.layers or ()])
    return ContentMismatch(
        f"function {name}: after the deploy, Lambda has {has} instead of {meant}",
        hint="someone else changed it meanwhile, and no alias was moved: deploy again to correct it, or roll "
        "back to a build in its history by its id",
    )


def listed(arns: Sequence[str]) -> str:
    """Return ARNs of layers as text for people."""
    return ", ".join(arns) or "none"
