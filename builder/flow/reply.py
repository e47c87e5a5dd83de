"""The reply of every entry point: one JSON object, the same for people's tools and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError
from builder.plan import MAX_LAYERS, MAX_UNZIPPED, UNBUILT, Artifact, ComponentPlan
from builder.progress import Progress
from builder.publishing.configuration import differences
from builder.publishing.deployed import setting_hash
from builder.publishing.steps import CreateFunction, FunctionState, PointAlias, Step, UpdateConfiguration
from builder.python.prune import merged

if TYPE_CHECKING:
    from builder.event.request import Request
    from builder.flow.release import Released
    from builder.making.product import Product
    from builder.making.project import Outline
    from builder.publishing.deployed import Deployed
    from builder.publishing.deployment import Deployment
    from builder.replies.deploys import (
        AliasPlan,
        ArtifactRow,
        Error,
        FunctionNow,
        FunctionWanted,
        LayerNow,
        LibraryRow,
        PackageRow,
        Place,
        PrunedRow,
        SettingRow,
    )
    from builder.replies.reply import Reply
    from builder.store.s3 import S3Store


def account(progress: Progress) -> Reply:
    """Return the phases and warnings, which every reply has, and the notes, if there are any."""
    every: Reply = {
        "phases": [{"name": phase.name, "seconds": phase.seconds} for phase in progress.phases],
        "seconds": round(progress.seconds(), 3),
        "warnings": list(progress.warnings),
    }
    return every | {"notes": list(progress.notes)} if progress.notes else every


def failure(error: LambdasmithError, *, build_id: str | None = None) -> Reply:
    """Return the reply for an error that the user can fix."""
    failed: Error = {
        "code": error.code,
        "phase": error.phase,
        "message": error.message,
        "hint": error.hint,
        "log_tail": list(error.log_tail),
        "retryable": error.retryable,
    }
    if error.problems:
        failed["problems"] = list(error.problems)
    reply: Reply = {"statusCode": error.status, "error": failed}
    return reply if build_id is None else {**reply, "build_id": build_id}


def assembled(product: Product) -> Reply:
    """Return the members for a built project: its artifacts, what was left out of them, and the checks' results."""
    return {
        "statusCode": 200,
        "artifacts": components(product.plans, product.artifacts),
        "distributions": list(product.distributions),
        "pruned": pruned(product.artifacts),
        "native_libraries": native_libraries(product.artifacts),
        "checks": product.checked.as_json(),
    }


def planned(product: Product, deployment: Deployment, state: FunctionState | None, last: Deployed | None) -> Reply:
    """Return the members for a plan: what would be built and published, which settings change, how near limits are."""
    steps = deployment.steps(state, {})
    wanted = deployment.wanted
    alias: AliasPlan | None = None
    if wanted and wanted.alias:
        now = state.alias.version if state and state.alias else None
        moves = any(isinstance(step, PointAlias) for step in steps)
        alias = {"name": wanted.alias, "now": now, "then": "a new version" if moves else now, "weight": wanted.weight}
    known = [artifact for artifact in product.artifacts.values() if artifact is not UNBUILT]
    layers = _layers_after(steps, deployment, state)
    # Of layers from elsewhere, Lambda tells only the size of the zip.
    ours = sum(choice.artifact is not None or not choice.arn for choice in deployment.layers)
    return {
        "plan": {
            "components": components(product.plans, product.artifacts),
            "publish": [step.sentence for step in steps],
            "configuration": configuration(deployment, state, last),
            "limits": {
                "unzipped": sum(artifact.unzipped for artifact in known),
                "max_unzipped": MAX_UNZIPPED,
                "complete": len(known) == len(product.artifacts) and layers <= ours,
                "layers": layers,
                "max_layers": MAX_LAYERS,
            },
            "alias": alias,
        }
    }


def _layers_after(steps: Sequence[Step], deployment: Deployment, state: FunctionState | None) -> int:
    """Return how many layers the function will have, also those that someone else has attached and that stay."""
    for step in steps:
        if isinstance(step, CreateFunction | UpdateConfiguration) and step.layers is not None:
            return len(step.layers)
    kept = deployment.kept_layers(state) if deployment.wanted else []
    return len(deployment.layers) + len(kept)


def outcome(released: Released, request: Request, *, served: Artifact | None = None) -> Reply:
    """Return the members for a deploy: what is deployed now, and the steps that were taken.

    Args:
        served: the code that the alias serves, if it differs from the function's own.
    """
    deployment, published = released.deployment, released.published
    rows: list[LayerNow] = []
    for choice in deployment.layers:
        new = published.layers.get(choice.component)
        arn = new or choice.arn
        row: LayerNow = {"name": choice.component, "layer": choice.layer, "arn": arn, "reused": new is None}
        if choice.artifact:
            row["size"] = choice.artifact.size
        rows.append(row)
    function: FunctionNow | None = None
    if (state := published.state) is not None:
        function = {
            "name": deployment.name,
            "arn": state.arn,
            "version": published.version or state.version,
            "alias": request.alias,
            "weight": request.weight,
            "code_sha256": served.code_sha256 if served else state.code_sha256,
        }
        if url := published.url or _url(state):
            function["url"] = url
    answer: Reply = {"function": function, "layers": rows, "changed": list(published.steps)}
    if released.removed:
        answer["removed"] = list(released.removed)
    return answer if published.invoked is None else answer | {"invoke": published.invoked}


def _url(state: FunctionState) -> str:
    there = state.extras.get("FunctionUrl")
    return str(there.get("FunctionUrl") or "") if isinstance(there, Mapping) else ""


def packaged(product: Product, store: S3Store) -> Reply:
    """Return the members for packaging: the artifacts' places, and the build file's settings, for other deploy tools.

    `source_code_hash` is the one that Terraform uses: base64 of the sha256, like Lambda's `code_sha256`.
    """
    answer: Reply = {}
    rows: list[PackageRow] = []
    for name, artifact in product.artifacts.items():
        place = _place(artifact, store)
        if name not in product.outline.functions:
            rows.append(_layer_package(product.outline, name, place))
            continue
        answer = {  # spelled out, here and below: type checkers accept no part of one typed dictionary as another
            "bucket": place["bucket"],
            "key": place["key"],
            "version_id": place["version_id"],
            "code_sha256": place["code_sha256"],
            "source_code_hash": place["source_code_hash"],
            "size": place["size"],
        }
        rows.append(
            {
                "name": name,
                "kind": "function",
                "bucket": place["bucket"],
                "key": place["key"],
                "version_id": place["version_id"],
                "code_sha256": place["code_sha256"],
                "source_code_hash": place["source_code_hash"],
                "size": place["size"],
            }
        )
    return answer | {"packages": rows, "function": function_wanted(product.outline)}


def _place(artifact: Artifact, store: S3Store) -> Place:
    return {
        "bucket": store.bucket,
        "key": store.key(artifact.name),
        "version_id": store.version_id(artifact.name),
        "code_sha256": artifact.code_sha256,
        "source_code_hash": artifact.code_sha256,
        "size": artifact.size,
    }


def _layer_package(project: Outline, name: str, place: Place) -> PackageRow:
    """Return the package of a layer, with the runtimes and architecture that its version is to declare."""
    function = project.spec.function
    layer = project.holder(name)
    if layer is not None:
        runtimes = layer.runtimes
    else:
        runtimes = function.runtimes if function else (project.target.runtime.name,)
    return {
        "name": name,
        "kind": "layer",
        "description": layer.description if layer else None,
        "license": layer.license if layer else None,
        "compatible_runtimes": list(runtimes),
        "compatible_architectures": [project.target.architecture],
        **place,
    }


def function_wanted(project: Outline) -> FunctionWanted | None:
    """Return the build file's settings of the function, None for a missing one; None without a function.

    `layers` are names of the project's layers and ARNs of those from elsewhere, in the order of attachment.
    """
    function = project.spec.function
    if function is None:
        return None
    names = [layer if isinstance(layer, str) else layer.arn for layer in project.spec.layer_order]
    return {
        "runtime": project.target.runtime.name,
        "handler": function.handler,
        "architecture": project.target.architecture,
        "memory": function.memory,
        "timeout": function.timeout,
        "ephemeral_storage": function.ephemeral_storage,
        "environment": dict(function.environment) if function.environment is not None else None,
        "description": function.description,
        "tags": dict(function.tags) if function.tags is not None else None,
        "role": function.role,
        "layers": names,
        "log_retention": function.log_retention,
        "url": function.url.model_dump() if function.url else None,
        "configuration": dict(function.configuration),
    }


def components(plans: Sequence[ComponentPlan], artifacts: Mapping[str, Artifact]) -> list[ArtifactRow]:
    """Return a row for each component: whether it was built and why, and its artifact, with sizes if they are known."""
    rows: list[ArtifactRow] = []
    for plan in plans:
        component = plan.component
        row: ArtifactRow = {
            "name": component.name,
            "kind": component.kind,
            "action": plan.action,
            "why": plan.why,
            "inputs": list(plan.changed),
        }
        artifact = artifacts.get(component.name) or component.artifact
        if artifact is not None and artifact is not UNBUILT:
            row |= {
                "sha256": artifact.sha256,
                "size": artifact.size,
                "unzipped": artifact.unzipped,
                "files": artifact.files,
                "contents": list(artifact.contents),
            }
        rows.append(row)
    return rows


def pruned(artifacts: Mapping[str, Artifact]) -> list[PrunedRow]:
    """Return what was left out of all artifacts, by rule."""
    return merged(row for artifact in artifacts.values() for row in artifact.pruned)


def native_libraries(artifacts: Mapping[str, Artifact]) -> list[LibraryRow]:
    """Return the native libraries that were taken from the build machine."""
    return [{"component": name, **row} for name, artifact in artifacts.items() for row in artifact.native_libraries]


def configuration(deployment: Deployment, state: FunctionState | None, last: Deployed | None) -> list[SettingRow]:
    """Return the settings that differ from the wanted ones, without the values of environment variables.

    `by_hand`: the build file's value is that of the last deploy, so someone else has changed the setting since.
    """
    wanted = deployment.wanted
    if wanted is None or state is None:
        return []
    rows: list[SettingRow] = []
    for difference in differences(wanted.settings, state.settings):
        name = difference.key.partition(".")[0]
        by_hand = last is not None and last.settings.get(name) == setting_hash(wanted.settings.get(name))
        rows.append({"key": difference.key, "now": difference.now, "then": difference.then, "by_hand": by_hand})
    for difference in differences(wanted.extras, state.extras):
        by_hand = last is not None and last.extras == wanted.extras
        rows.append({"key": difference.key, "now": difference.now, "then": difference.then, "by_hand": by_hand})
    if last is not None and last.code_sha256 != state.code_sha256:
        rows.append({"key": "Code", "now": state.code_sha256, "then": last.code_sha256, "by_hand": True})
    return rows
