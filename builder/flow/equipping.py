"""The workshop of an order, made from the builder's own means."""

from __future__ import annotations

from pathlib import Path

from builder.context import Context
from builder.flow import credentials, fetching
from builder.flow.order import Order
from builder.natives.machine import directories_of
from builder.store.directory import DirectoryStore
from builder.store.keeping import Store
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Workspace


def equip(
    order: Order,
    context: Context,
    scratch: Path,
    *,
    workspace: Workspace | None = None,
    store: Store | None = None,
) -> Workshop:
    """Return a workshop for the project of an order.

    Args:
        scratch: an existing directory for this build alone.
        workspace, store: others than the builder's own.
    """
    workspace, domain = workspace or context.workspace, order.domain
    if domain.keeps:
        kept, caches = store or context.kept(domain), workspace.cached("builds") / domain.id
    else:
        kept, caches = DirectoryStore(scratch / "kept", warn=context.progress.warn), scratch / "caches"
    return Workshop(
        workspace=workspace,
        scratch=scratch,
        store=store or context.store,
        kept=kept,
        caches=caches,
        deadline=context.deadline,
        progress=context.progress,
        environment=workspace.child_environment(context.environment, context.settings.index_url, scratch / "home"),
        credentials=lambda: credentials.git_credentials(context),
        network=fetching.network(context),
        indexes=credentials.indexes(context),
        secrets=credentials.CommandSecrets(context),
        toolchains=context.settings.toolchains,
        repository=order.repository,
        go_proxy=context.settings.go_proxy,
        npm_registry=context.settings.npm_registry,
        memory_mb=context.settings.commands_mb,
        library_path=directories_of(context.environment.get("LD_LIBRARY_PATH", "")),
    )
