"""Summary of a rollback for people: the present build, the build to return to, and their differences."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.publishing.steps import FunctionState
    from builder.records.record import DeploymentRecord, Record
    from builder.replies.accounts import BuildThere, WayBack


def summary(
    records: Sequence[Record], target: Record, alias: str | None, state: FunctionState, *, now: float | None = None
) -> WayBack:
    """Return the summary of a rollback to `target`.

    Args:
        records: builds that have deployed the function, the newest first.
        state: the function as it is before the rollback.
        now: seconds since 1970.
    """
    now = time.time() if now is None else now
    present = _present(records, alias)
    rows: WayBack = {"now": None, "then": _row(target, now), "alias": alias, "differences": []}
    if present is not None:
        changed = _changed_since(present, alias, state)
        rows["now"] = there = _row(present, now)
        if changed:
            there["changed_since"] = True
        if present.deployment and target.deployment:
            rows["differences"] = list(_differences(present.deployment, target.deployment))
    return rows


def there(record: Record, *, now: float | None = None) -> BuildThere:
    """Return a build for people; `now` is in seconds since 1970."""
    return _row(record, time.time() if now is None else now)


def _present(records: Sequence[Record], alias: str | None) -> Record | None:
    """Return the build whose result is in place: after a rollback, the restored one."""
    concerned = [record for record in records if alias is None or record.alias == alias]
    if not concerned:
        return None
    newest = concerned[0]
    return next((record for record in records if record.build_id == newest.restored), newest)


def _changed_since(present: Record, alias: str | None, state: FunctionState) -> bool:
    kept = present.deployment
    if alias is not None:
        return state.alias is None or kept is None or state.alias.version != kept.version
    return kept is None or state.code_hex != kept.code


def _row(record: Record, now: float) -> BuildThere:
    return {
        "build_id": record.build_id,
        "commit": record.commit,
        "ref": record.ref,
        "by": record.by,
        "ended": record.ended,
        "version": record.deployment.version if record.deployment else None,
        "age_seconds": round(max(0.0, now - record.ended_s)),
    }


def _differences(now: DeploymentRecord, then: DeploymentRecord) -> Iterator[str]:
    """Yield what differs, by name only: values may be secret."""
    if now.code != then.code:
        yield "code"
    layers = [{row.component: row.sha256 or row.arn for row in kept.layers} for kept in (now, then)]
    for name in dict.fromkeys((*layers[0], *layers[1])):
        if layers[0].get(name) != layers[1].get(name):
            gone = "" if name in layers[1] and name in layers[0] else " (new)" if name in layers[1] else " (gone)"
            yield f"layer {name}{gone}"
    for one, other in ((now.settings, then.settings), (now.extras, then.extras)):
        yield from sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    if now.architecture != then.architecture:
        yield "architecture"
