"""The flow of one build: snapshot → project → plan → artifacts → check → publish → reply."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

from builder import deployment, functions, publish, reply
from builder.assembly import assemble
from builder.aws import aws_errors
from builder.checks import check
from builder.components import Workshop
from builder.context import Context
from builder.errors import InvalidConfiguration, PathNotFound
from builder.event import Action, Request
from builder.plan import FUNCTION, choose_components
from builder.project import Project, read_project
from builder.publication import plan_publication
from builder.runtimes import architecture_of
from builder.sources import git
from builder.steps import FunctionState


def build(request: Request, context: Context) -> reply.Reply:
    """Build what the request asks for and publish what differs; with action `plan`, only say what would happen.

    Raises:
        LambdasmithError: with the phase in which it arose. What was deployed before is as it was, or complete.
    """
    progress, name = context.progress, request.function or ""
    is_plan = request.action == Action.PLAN
    with context.workspace.scratch() as scratch:
        with progress.phase("fetch", "fetching the commit"):
            snapshot = _snapshot(request, context, scratch)
        with progress.phase("read", f"reading {request.path or 'the project'} at {snapshot.commit[:12]}"):
            state = functions.read_function(context.clients, name)
            project = _project(request, snapshot, state)
            progress.warn(project.runtime_warning)
            chosen = choose_components(project.names, request.components, function_exists=state is not None)
        shop = _workshop(context, scratch)
        made = assemble(project, chosen, shop, force=request.force, upgrade=request.upgrade, dry=is_plan)
        with progress.phase("check", "checking the artifacts"):
            foreign = deployment.foreign_layers(name, state)
            checked = check(made, shop, function=name, foreign=foreign, dry=is_plan)
        with progress.phase("publish", "comparing with what is deployed"):
            if state is not None and state.busy and not is_plan:
                state = _settled(name, context)
            choices = deployment.layer_choices(project, name, made.artifacts, context)
            wanted = deployment.wanted(request, project, context)
            own_layers = deployment.own_layers(name, state)
            steps = plan_publication(wanted, made.artifacts.get(FUNCTION), choices, state, own_layers=own_layers)
            answer = reply.assembled(made, checked) | {"commit": snapshot.commit, "ref": snapshot.ref}
            if is_plan:
                return answer | reply.planned(made, steps, state) | reply.account(progress)
            publisher = publish.Publisher(context.clients, context.store, project.target, context.deadline, progress)
            published = publisher.carry_out(steps, revision_id=state.revision_id if state else "")
        outcome = deployment.outcome(request, choices, published, published.state or state)
        return answer | outcome | reply.account(progress)


def _settled(name: str, context: Context) -> FunctionState:
    """The function's state once somebody else's update of it has ended."""
    context.progress.say(f"waiting for another update of {name}")
    wait_s = min(60, context.deadline.check(f"waiting for {name}"))
    return functions.wait_until_settled(context.clients, name, timeout_s=wait_s)


def _workshop(context: Context, scratch: Path) -> Workshop:
    return Workshop(
        workspace=context.workspace,
        scratch=scratch,
        store=context.store,
        deadline=context.deadline,
        progress=context.progress,
        environment=context.workspace.child_environment(context.environment, context.settings.index_url),
        credentials=lambda: _credentials(context),
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


def _project(request: Request, snapshot: git.Snapshot, state: FunctionState | None) -> Project:
    """The project at the snapshot. What says no architecture stays as the function is, or becomes as the builder is."""
    root = snapshot.root / request.path if request.path else snapshot.root
    if not root.is_dir():
        raise PathNotFound(f"{request.path} is not a directory of the repository at {snapshot.commit[:12]}")
    otherwise = architecture_of(state.architecture if state else platform.machine())
    return read_project(
        root,
        request.build_file,
        commit_time=snapshot.commit_time,
        otherwise=otherwise,
        repository=snapshot.root,
    )
