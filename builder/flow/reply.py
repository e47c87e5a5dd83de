"""What every door answers: one JSON object, the same for people's tools and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from builder.errors import LambdasmithError
from builder.plan import MAX_LAYERS, MAX_UNZIPPED, UNBUILT, Artifact, ComponentPlan
from builder.progress import Progress
from builder.publishing.configuration import differences
from builder.publishing.deployed import setting_hash
from builder.publishing.steps import FunctionState, PointAlias
from builder.python.prune import merged

if TYPE_CHECKING:
    from builder.event.request import Request
    from builder.flow.release import Released
    from builder.making.product import Product
    from builder.making.project import Outline
    from builder.publishing.deployed import Deployed
    from builder.publishing.deployment import Deployment
    from builder.store.s3 import S3Store

Reply = dict[str, object]

# Of the state of a build: how its claim is kept.
_BOOKKEEPING = frozenset({"nonce", "expires_s", "record"})
# Of an artifact: told in another place, or for the store alone.
_INTERNAL = frozenset({"pruned", "notes", "parts", "native_libraries", "missing_libraries"})


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


def known(state: Mapping[str, object]) -> Reply:
    """What is known of a build: how far it is, or how it ended."""
    return {key: value for key, value in state.items() if key not in _BOOKKEEPING}


def as_text(error: Mapping[str, object]) -> str:
    """The error of a reply as one text: the message, the hint, the end of the log."""
    lines = [str(error["message"])]
    if error.get("hint"):
        lines.append(f"hint: {error['hint']}")
    log_tail = cast("Sequence[str]", error.get("log_tail") or ())
    return "\n".join([*lines, *(["log:"] if log_tail else []), *(f"  {line}" for line in log_tail)])


def assembled(product: Product) -> Reply:
    """What a project became: its artifacts, what was left out of them, what the checks found."""
    return {
        "statusCode": 200,
        "artifacts": components(product.plans, product.artifacts),
        "distributions": list(product.distributions),
        "pruned": pruned(product.artifacts),
        "native_libraries": native_libraries(product.artifacts),
        "checks": product.checked.as_json(),
    }


def planned(product: Product, deployment: Deployment, state: FunctionState | None, last: Deployed | None) -> Reply:
    """What a build would do: what it builds and publishes, which settings it changes, how near the limits it comes."""
    steps = deployment.steps(state, {})
    wanted, alias = deployment.wanted, None
    if wanted and wanted.alias:
        now = state.alias.version if state and state.alias else None
        moves = any(isinstance(step, PointAlias) for step in steps)
        alias = {"name": wanted.alias, "now": now, "then": "a new version" if moves else now, "weight": wanted.weight}
    known = [artifact for artifact in product.artifacts.values() if artifact is not UNBUILT]
    return {
        "plan": {
            "components": components(product.plans, product.artifacts),
            "publish": [step.sentence for step in steps],
            "configuration": configuration(deployment, state, last),
            "limits": {
                "unzipped": sum(artifact.unzipped for artifact in known),
                "max_unzipped": MAX_UNZIPPED,
                "complete": len(known) == len(product.artifacts),
                "layers": len(deployment.layers),
                "max_layers": MAX_LAYERS,
            },
            "alias": alias,
        }
    }


def outcome(released: Released, request: Request) -> Reply:
    """What is deployed now, and what was done for it."""
    deployment, published = released.deployment, released.published
    rows: list[Reply] = []
    for choice in deployment.layers:
        new = published.layers.get(choice.component)
        arn = new or choice.arn
        row: Reply = {"name": choice.component, "layer": choice.layer, "arn": arn, "reused": new is None}
        rows.append(row | ({"size": choice.artifact.size} if choice.artifact else {}))
    function: Reply | None = None
    if (state := published.state) is not None:
        function = {
            "name": request.function,
            "arn": state.arn,
            "version": published.version or state.version,
            "alias": request.alias,
            "weight": request.weight,
            "code_sha256": state.code_sha256,
        }
        url = cast("Mapping[str, object]", state.extras.get("FunctionUrl", {})).get("FunctionUrl")
        if published.url or url:
            function["url"] = published.url or url
    answer: Reply = {"function": function, "layers": rows, "changed": list(published.steps)}
    if released.removed:
        answer["removed"] = list(released.removed)
    return answer if published.invoked is None else answer | {"invoke": dict(published.invoked)}


def packaged(product: Product, store: S3Store) -> Reply:
    """Where the artifacts are, and what the build file says of them, for tools that deploy by themselves.

    `source_code_hash` is what Terraform wants of one: base64 of its sha256, as Lambda's `code_sha256`.
    """
    rows: list[Reply] = []
    for name, artifact in product.artifacts.items():
        rows.append(
            {
                "name": name,
                **_attributes(product.outline, name),
                "bucket": store.bucket,
                "key": store.key(artifact.name),
                "version_id": store.version_id(artifact.name),
                "code_sha256": artifact.code_sha256,
                "source_code_hash": artifact.code_sha256,
                "size": artifact.size,
            }
        )
    function = next((row for row in rows if row["kind"] == "function"), {})
    place = {key: value for key, value in function.items() if key not in ("name", "kind")}
    return {**place, "packages": rows, "function": described(product.outline)}


def _attributes(project: Outline, name: str) -> Reply:
    """Whether a package is the function's or a layer's, and what the layer's version is to say of itself."""
    if name in project.functions:
        return {"kind": "function"}
    holder, function = project.holder(name), project.spec.function
    if holder is None:
        runtimes = function.runtimes if function else (project.target.runtime.name,)
        told: Reply = {"description": None, "license": None}
    else:
        runtimes, told = holder.runtimes, {"description": holder.description, "license": holder.license}
    return {
        "kind": "layer",
        **told,
        "compatible_runtimes": list(runtimes),
        "compatible_architectures": [project.target.architecture],
    }


def described(project: Outline) -> Reply | None:
    """What the build file says of the function, None for what it does not say; None for a project without one.

    `layers` are names, and ARNs of those from elsewhere, in the order of attachment.
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


def components(plans: Sequence[ComponentPlan], artifacts: Mapping[str, Artifact]) -> list[Reply]:
    """[{name, kind, action, why, inputs, sha256, size, unzipped, files, contents}]; sizes where they are known."""
    rows = []
    for plan in plans:
        component = plan.component
        row: Reply = {
            "name": component.name,
            "kind": component.kind,
            "action": plan.action,
            "why": plan.why,
            "inputs": list(plan.changed),
        }
        artifact = artifacts.get(component.name) or component.artifact
        if artifact is not None and artifact is not UNBUILT:
            row |= {name: value for name, value in artifact.as_json().items() if name not in _INTERNAL}
        rows.append(row)
    return rows


def pruned(artifacts: Mapping[str, Artifact]) -> list[dict[str, str | int]]:
    """What was left out of all artifacts: [{rule, files, bytes}]."""
    return merged(row for artifact in artifacts.values() for row in artifact.pruned)


def native_libraries(artifacts: Mapping[str, Artifact]) -> list[Reply]:
    """What was taken from the build machine: [{component, library, from, size, sha256, needed_by}]."""
    return [{"component": name, **row} for name, artifact in artifacts.items() for row in artifact.native_libraries]


def configuration(deployment: Deployment, state: FunctionState | None, last: Deployed | None) -> list[Reply]:
    """Settings that are not as wanted: [{key, now, then, by_hand}]. Values of environment variables are not shown.

    `by_hand`: the build file wants what it wanted at the last deploy, so somebody else has changed it since.
    """
    wanted = deployment.wanted
    if wanted is None or state is None:
        return []
    rows: list[Reply] = []
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
