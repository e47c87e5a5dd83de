"""Steps that remove an installation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bootstrap.changes import (
    DeleteFunction,
    DeleteLayers,
    DeleteLogGroup,
    DeleteRole,
    DeleteSecret,
    EmptyBucket,
    PutLifecycle,
    Step,
)
from bootstrap.names import Names
from bootstrap.plan.fan_out import remove_fan_out
from bootstrap.plan.worker import remove_worker
from bootstrap.state import FunctionState, LayerVersion, Present


def remove(names: Names, present: Present) -> tuple[Step, ...]:
    """Return the steps that remove the resources that `init` made, and nothing else."""
    steps = list[Step]()
    function: FunctionState | None = present.function
    if function and function.made_here:
        steps.append(DeleteFunction(sentence=f"delete function {names.function}", function=names.function))
    steps += remove_fan_out(names, present)
    steps += remove_worker(names, present)
    if present.layers:
        steps.append(_layers_step(names, present.layers))
    if present.role and present.role.made_here:
        steps.append(DeleteRole(sentence=f"delete role {names.role} and its policy", role=names.role))
    if present.secret and present.secret.made_here and not present.secret.deleted:
        text = f"delete secret {names.secret} at once, without a recovery window (the token itself stays valid)"
        steps.append(DeleteSecret(sentence=text, secret=names.secret))
    if present.log_group and present.log_group.made_here:
        steps.append(DeleteLogGroup(sentence=f"delete log group {names.log_group}", group=names.log_group))
    if present.bucket is not None and (present.bucket.made_here or _filled_by_us(names, present)):
        mine = present.bucket.made_here
        text = f"delete everything below s3://{names.bucket}/{names.prefix}"
        text += ", then the bucket if nothing else is in it" if mine else " (the bucket stays: init did not make it)"
        steps.append(EmptyBucket(sentence=text, bucket=names.bucket, prefix=names.prefix, delete_bucket=mine))
    if present.bucket is not None and present.bucket.rules:
        text = f"delete the lifecycle rules of s3://{names.bucket}/{names.prefix}"
        steps.append(PutLifecycle(sentence=text, bucket=names.bucket, rules=()))
    return tuple(steps)


def _filled_by_us(names: Names, present: Present) -> bool:
    """Return whether a bucket that init did not make has content of this builder: its role proves that."""
    role = present.role
    allowed = json.dumps(role.policy) if role and role.made_here else ""
    used = present.bucket is not None and present.bucket.used
    return used and f":s3:::{names.bucket}/{names.prefix}*" in allowed


def _layers_step(names: Names, versions: Sequence[LayerVersion]) -> DeleteLayers:
    count = len(versions)
    text = f"delete {'the only version' if count == 1 else f'all {count} versions'} of layer {names.layer}"
    numbers = tuple(version.version for version in versions)
    return DeleteLayers(sentence=text, layer=names.layer, versions=numbers)
