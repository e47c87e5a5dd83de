"""The workshop of a request: what building needs, of what the builder has."""

from __future__ import annotations

from pathlib import Path

from builder import credentials, fetching
from builder.context import Context
from builder.machine import directories_of
from builder.request import Request
from builder.sources import git
from builder.store import Store
from builder.workshop import Workshop
from builder.workspace import Workspace


def equip(
    request: Request,
    resolved: git.Resolved | None,
    context: Context,
    scratch: Path,
    *,
    workspace: Workspace | None = None,
    store: Store | None = None,
) -> Workshop:
    """A workshop for the project of a request.

    Args:
        resolved: the commit, where it comes from a repository. Caches of compilers are the repository's, else the
            function's.
        scratch: an existing directory for this build alone.
        workspace, store: others than the builder's own.
    """
    workspace = workspace or context.workspace
    repository = resolved.url if resolved else ""
    return Workshop(
        workspace=workspace,
        scratch=scratch,
        store=store or context.store,
        deadline=context.deadline,
        progress=context.progress,
        environment=workspace.child_environment(context.environment, context.settings.index_url),
        credentials=lambda: credentials.git_credentials(context),
        network=fetching.network(context),
        indexes=credentials.indexes(context),
        secrets=credentials.CommandSecrets(context),
        toolchains=context.settings.toolchains,
        owner=repository or request.function or "",
        repository=repository,
        go_proxy=context.settings.go_proxy,
        npm_registry=context.settings.npm_registry,
        memory_mb=context.settings.commands_mb,
        library_path=directories_of(context.environment.get("LD_LIBRARY_PATH", "")),
    )
