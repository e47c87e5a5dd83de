"""What every door answers: one JSON object, the same for people's tools and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError
from builder.plan import UNBUILT, Artifact, ComponentPlan
from builder.progress import Progress
from builder.python.prune import merged
from builder.steps import FunctionState, Step, UpdateConfiguration

if TYPE_CHECKING:
    from builder.assembly import Assembly
    from builder.checks import Checked

Reply = dict[str, object]

# Of an artifact: told in another place, or for the store alone.
_INTERNAL = frozenset({"pruned", "notes", "parts"})


def account(progress: Progress) -> Reply:
    """Phases and warnings, as every reply has them."""
    return {
        "phases": [{"name": phase.name, "seconds": phase.seconds} for phase in progress.phases],
        "seconds": round(progress.seconds(), 3),
        "warnings": list(progress.warnings),
    }


def failure(error: LambdasmithError, *, build_id: str | None = None) -> Reply:
    """The reply for an error that the user can mend."""
    described: Reply = {
        "code": error.code,
        "phase": error.phase,
        "message": error.message,
        "hint": error.hint,
        "log_tail": list(error.log_tail),
        "retryable": error.retryable,
    }
    if error.problems:
        described["problems"] = list(error.problems)
    reply: Reply = {"statusCode": error.status, "error": described}
    return reply if build_id is None else {**reply, "build_id": build_id}


def assembled(made: Assembly, checked: Checked) -> Reply:
    """What a project became: its artifacts, what was left out of them, what the checks found."""
    return {
        "statusCode": 200,
        "artifacts": components(made.plans, made.artifacts),
        "pruned": pruned(made.artifacts),
        "checks": checked.as_json(),
    }


def planned(made: Assembly, steps: Sequence[Step], state: FunctionState | None) -> Reply:
    """What a build would do."""
    return {
        "plan": {
            "components": components(made.plans, made.artifacts),
            "publish": [step.sentence for step in steps],
            "configuration": configuration(steps, state),
        }
    }


def components(plans: Sequence[ComponentPlan], artifacts: Mapping[str, Artifact]) -> list[Reply]:
    """[{name, kind, action, why, sha256, size, unzipped, files, contents}]; sizes where the artifact is known."""
    rows = []
    for plan in plans:
        component = plan.component
        row: Reply = {"name": component.name, "kind": component.kind, "action": plan.action, "why": plan.why}
        artifact = artifacts.get(component.name) or component.artifact
        if artifact is not None and artifact is not UNBUILT:
            row |= {name: value for name, value in artifact.as_json().items() if name not in _INTERNAL}
        rows.append(row)
    return rows


def pruned(artifacts: Mapping[str, Artifact]) -> list[dict[str, str | int]]:
    """What was left out of all artifacts: [{rule, files, bytes}]."""
    return merged(row for artifact in artifacts.values() for row in artifact.pruned)


def configuration(steps: Sequence[Step], state: FunctionState | None) -> list[Reply]:
    """Settings that would change: [{key, now, then}]. Values of environment variables are not shown, only names."""
    rows: list[Reply] = []
    for step in steps:
        if isinstance(step, UpdateConfiguration) and state is not None:
            rows += [
                {"key": key, "now": _shown(state.settings.get(key)), "then": _shown(value)}
                for key, value in step.changes.items()
            ]
    return rows


def _shown(value: object) -> object:
    if isinstance(value, Mapping) and isinstance(value.get("Variables"), Mapping):
        return sorted(value["Variables"])
    return value
