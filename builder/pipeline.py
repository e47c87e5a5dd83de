"""The flow of one build: snapshot → project → plan → artifacts → publish → reply."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

from builder import components, functions, publish, reply
from builder.aws import aws_errors
from builder.context import Context
from builder.errors import InvalidBuildFile, InvalidConfiguration, PathNotFound
from builder.event import Action, Request
from builder.plan import (
    DEPENDENCIES,
    FUNCTION,
    UNBUILT,
    Artifact,
    Component,
    ComponentPlan,
    FunctionState,
    LayerChoice,
    Wanted,
    choose_components,
    plan_components,
    plan_publication,
)
from builder.progress import Progress
from builder.python import lock as locking
from builder.runtimes import RUNTIMES, Target
from builder.sources import git
from builder.spec import BuildSpec, check_against_tree, find_build_file, read_build_file

_PARALLEL = 8


def build(request: Request, context: Context) -> reply.Reply:
    """Build what the request asks for and publish what differs; with action `plan`, only say what would happen.

    Raises:
        LambdasmithError: with the phase in which it arose. What was deployed before is as it was, or complete.
    """
    progress, name = context.progress, request.function or ""
    is_plan = request.action == Action.PLAN
    with context.workspace.scratch() as scratch:
        shop = _workshop(context, scratch)
        with progress.phase("fetch", "fetching the commit"):
            snapshot = _snapshot(request, context, scratch)
        with progress.phase("read", f"reading {request.path or 'the project'} at {snapshot.commit[:12]}"):
            project = _project(request, snapshot)
            state = functions.read_function(context.clients, name)
        _warn_about(project, context)
        with progress.phase("lock", "locking dependencies"):
            chosen = choose_components(project.names, request.components, function_exists=state is not None)
            project = _locked(project, chosen, shop, keep=not is_plan, force=request.force)
        with progress.phase("plan", f"looking at {', '.join(chosen)}"):
            plans = plan_components(_known(project, chosen, context), force=request.force)
        artifacts = {plan.component.name: plan.component.artifact or UNBUILT for plan in plans}
        if not is_plan:
            artifacts |= _build(project, [plan for plan in plans if plan.action == "build"], shop, progress)
        with progress.phase("publish", "comparing with what is deployed"):
            if state is not None and state.busy and not is_plan:
                progress.say(f"waiting for another update of {name}")
                wait_s = min(60, context.deadline.check(f"waiting for {name}"))
                state = functions.wait_until_settled(context.clients, name, timeout_s=wait_s)
            choices = _layer_choices(project, name, artifacts, context)
            wanted = _wanted(request, project, context)
            steps = plan_publication(wanted, artifacts.get(FUNCTION), choices, state, own_layers=_own(name, state))
            answer = _described(snapshot, plans, artifacts)
            if is_plan:
                answer["plan"] = {
                    "components": answer["artifacts"],
                    "publish": [step.sentence for step in steps],
                    "configuration": reply.configuration(steps, state),
                }
                return answer | reply.account(progress)
            publisher = publish.Publisher(context.clients, context.store, project.target, context.deadline, progress)
            published = publisher.carry_out(steps, revision_id=state.revision_id if state else "")
        return answer | _outcome(request, choices, published, published.state or state) | reply.account(progress)


def _workshop(context: Context, scratch: Path) -> components.Workshop:
    return components.Workshop(
        workspace=context.workspace,
        scratch=scratch,
        store=context.store,
        deadline=context.deadline,
        environment=context.workspace.child_environment(context.environment, context.settings.index_url),
    )


def _snapshot(request: Request, context: Context, scratch: Path) -> git.Snapshot:
    settings = context.settings
    source = request.source
    if source is None:
        raise PathNotFound("the event names no repository")
    credentials = _credentials(context)
    username = settings.git_username or (credentials.username if credentials else None)
    url = git.repository_url(source.repo, source.repo_name, base=settings.git_base, username=username)
    resolved = git.resolve(url, source.ref, credentials=credentials)
    context.progress.say(f"fetching {resolved.commit[:12]} ({resolved.ref})")
    free = shutil.disk_usage(scratch).free
    snapshot = git.fetch(resolved, scratch / "source", credentials=credentials, max_bytes=free)
    if snapshot.submodules:
        context.progress.warn(f"submodules are left empty: {', '.join(snapshot.submodules)}")
    return snapshot


def _credentials(context: Context) -> git.GitCredentials | None:
    """The git token, for the forge that it belongs to. Read for every build, so that a rotated one works at once."""
    settings = context.settings
    if not settings.git_secret:
        return None
    with aws_errors(f"reading secret {settings.git_secret}"):
        text = context.clients.secretsmanager.get_secret_value(SecretId=settings.git_secret)["SecretString"]
    try:
        secret = json.loads(text)
        token = str(secret["token"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidConfiguration(
            f"secret {settings.git_secret} is not JSON with a token", hint="run `python setup.py update`"
        ) from error
    if not token:
        return None
    context.secrets.add(token)
    return git.GitCredentials(
        username=str(secret.get("username") or "x-access-token"), token=token, base=settings.git_base
    )


def _project(request: Request, snapshot: git.Snapshot) -> components.Project:
    root = snapshot.root / request.path if request.path else snapshot.root
    if not root.is_dir():
        raise PathNotFound(f"{request.path} is not a directory of the repository at {snapshot.commit[:12]}")
    name = find_build_file([path.name for path in root.iterdir() if path.is_file()], request.build_file)
    spec = read_build_file((root / name).read_text(encoding="utf-8", errors="replace"), file=name)
    check_against_tree(spec, root)
    return components.Project(root=root, spec=spec, target=_target(spec), commit_time=snapshot.commit_time)


def _target(spec: BuildSpec) -> Target:
    """What the function, or else the first layer that says so, runs on."""
    named = [spec.function.runtimes] if spec.function else [layer.runtimes for layer in spec.layers if layer.runtimes]
    if not named:
        raise InvalidBuildFile(f"{spec.file}: no runtimes are named", hint="add runtimes: [python3.13] to the function")
    architecture = (spec.function.architecture if spec.function else None) or "x86_64"
    return Target(runtime=RUNTIMES[named[0][0]], architecture=architecture)


def _warn_about(project: components.Project, context: Context) -> None:
    runtime = project.target.runtime
    if runtime.deprecated and runtime.is_deprecated(datetime.datetime.now(datetime.UTC).date()):
        context.progress.warn(f"{runtime.name} was deprecated by AWS on {runtime.deprecated}; move to a newer runtime")


def _locked(
    project: components.Project, chosen: Sequence[str], shop: components.Workshop, *, keep: bool, force: bool
) -> components.Project:
    """The project with the lock of its dependencies, where a chosen component needs them."""
    spec = project.spec
    needed = DEPENDENCIES in chosen or any(name in chosen for name in _with_commands(spec))
    if not spec.dependencies or not needed:
        return project
    files = locking.read_requirement_files(spec.dependencies, project.root)
    index = shop.environment.get("UV_DEFAULT_INDEX", "")
    key = locking.lock_key(files, project.target, index, locking.resolver_version())
    kept = None if force else shop.store.read_json(f"locks/{key}.json")
    if kept is not None:
        return replace(project, lock=str(kept["lock"]))
    text = locking.resolve(
        files,
        project.target,
        root=project.root,
        scratch=shop.scratch,
        environment=shop.environment,
        timeout_s=shop.deadline.check("locking dependencies"),
    )
    if keep:
        shop.store.write_json(f"locks/{key}.json", {"lock": text})
    return replace(project, lock=text)


def _with_commands(spec: BuildSpec) -> list[str]:
    return [layer.name for layer in spec.layers if layer.preinstall]


def _known(project: components.Project, chosen: Sequence[str], context: Context) -> list[Component]:
    """The chosen components, each with its artifact where the store has one for the same inputs."""
    described = [components.describe(project, name) for name in chosen]

    def look_up(component: Component) -> Component:
        kept = context.store.read_json(_component_record(component))
        return component if kept is None else replace(component, artifact=_artifact(kept))

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(look_up, described))


def _component_record(component: Component) -> str:
    return f"components/{component.key}.json"


def _artifact(kept: Mapping[str, object]) -> Artifact:
    return Artifact(
        sha256=str(kept["sha256"]),
        size=cast("int", kept["size"]),
        unzipped=cast("int", kept["unzipped"]),
        files=cast("int", kept["files"]),
        pruned=tuple(cast("list[dict[str, str | int]]", kept["pruned"])),
        contents=tuple(cast("list[str]", kept["contents"])),
    )


def _build(
    project: components.Project, plans: Sequence[ComponentPlan], shop: components.Workshop, progress: Progress
) -> dict[str, Artifact]:
    """Make what the store does not have, and keep it there."""
    made = {}
    for plan in plans:
        component = plan.component
        with progress.phase(component.name, f"building {component.name}: {plan.why}"):
            artifact, path = components.make(project, component.name, shop)
            if not shop.store.exists(artifact.name):
                progress.say(f"storing {component.name}")
                shop.store.put(artifact.name, path)
            shop.store.write_json(_component_record(component), artifact.as_json())
            path.unlink()
            made[component.name] = artifact
    return made


def _layer_choices(
    project: components.Project, function: str, artifacts: Mapping[str, Artifact], context: Context
) -> list[LayerChoice]:
    """Every layer of the build file, with the version in the account that already has its artifact."""
    spec = project.spec
    default = spec.function.runtimes if spec.function else (project.target.runtime.name,)
    choices = []
    for name in project.names:
        if name == FUNCTION:
            continue
        layer = project.layer(name) if name != DEPENDENCIES else None
        artifact = artifacts.get(name)
        layer_name = f"{function}-{name}"
        arn = _layer_arn(layer_name, artifact, context) if artifact and artifact is not UNBUILT else None
        choices.append(
            LayerChoice(
                component=name,
                layer=layer_name,
                artifact=artifact,
                arn=arn,
                description=(layer.description if layer else None) or f"{name} of {function}",
                license=(layer.license if layer else None) or "",
                runtimes=(layer.runtimes if layer else None) or default,
            )
        )
    return choices


def _layer_arn(layer: str, artifact: Artifact, context: Context) -> str | None:
    arn = publish.known_layer_arn(context.store.read_json(publish.layer_record(layer, artifact.sha256)))
    return arn if arn and functions.layer_version_exists(context.clients, arn) else None


def _own(function: str, state: FunctionState | None) -> set[str]:
    """Names of attached layers that an earlier build of this function made."""
    names = {arn.split(":")[6] for arn in (state.layers if state else ())}
    return {name for name in names if name.startswith(f"{function}-")}


def _wanted(request: Request, project: components.Project, context: Context) -> Wanted | None:
    function = project.spec.function
    if function is None:
        return None
    settings: dict[str, object] = {"Runtime": project.target.runtime.name, "Handler": function.handler}
    if function.memory is not None:
        settings["MemorySize"] = function.memory
    if function.timeout is not None:
        settings["Timeout"] = function.timeout
    if function.description is not None:
        settings["Description"] = function.description
    if function.environment is not None:
        settings["Environment"] = {"Variables": dict(function.environment)}
    if function.ephemeral_storage is not None:
        settings["EphemeralStorage"] = {"Size": function.ephemeral_storage}
    if function.role is not None:
        settings["Role"] = function.role
    return Wanted(
        name=request.function or "",
        target=project.target,
        settings=settings,
        tags=dict(function.tags or {}),
        role=function.role or context.settings.role or None,
        publish=request.version,
        alias=request.alias,
    )


def _described(
    snapshot: git.Snapshot, plans: Sequence[ComponentPlan], artifacts: Mapping[str, Artifact]
) -> reply.Reply:
    return {
        "statusCode": 200,
        "commit": snapshot.commit,
        "ref": snapshot.ref,
        "artifacts": reply.components(plans, artifacts),
        "pruned": reply.pruned(artifacts),
    }


def _outcome(
    request: Request,
    choices: Sequence[LayerChoice],
    published: publish.Published,
    state: FunctionState | None,
) -> reply.Reply:
    """What is deployed now."""
    layers = [
        {
            "name": choice.component,
            "layer": choice.layer,
            "arn": published.layers.get(choice.component, choice.arn),
            "reused": choice.component not in published.layers,
            "size": choice.artifact.size,
        }
        for choice in choices
        if choice.artifact
    ]
    function = None
    if state is not None:
        function = {
            "name": request.function,
            "arn": state.arn,
            "version": published.version,
            "alias": published.alias,
            "code_sha256": state.code_sha256,
        }
    return {"function": function, "layers": layers, "changed": list(published.steps)}
