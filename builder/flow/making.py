"""An order becomes a product: fetch → read → allow → lock → plan → build → check. Foreign code runs here, and no AWS
function is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builder.context import Context
from builder.errors import LfsMissing, PathNotFound
from builder.flow import fetching
from builder.flow.equipping import equip
from builder.flow.order import Order
from builder.making.assembly import assemble
from builder.making.checks import check
from builder.making.product import NOT_CHECKED, Product, Unchanged
from builder.making.project import Outline, Project, read_project
from builder.natives.judging import Recorded, baseline_record
from builder.plan import choose_components
from builder.sources.local import add_reasons
from builder.sources.snapshot import Snapshot
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Workspace


def make(order: Order, context: Context, *, allow: Callable[[Outline], None]) -> Product | Unchanged:
    """Make what is ordered; the artifacts are in the store.

    Args:
        allow: raises if the project may not have the secrets that its build file names; asked before anything runs.

    Raises:
        LambdasmithError: with the phase in which it arose.
    """
    progress = context.progress
    context.workspace.enter(order.domain)
    with context.workspace.scratch() as scratch:
        with progress.phase("fetch", "fetching the source"):
            snapshot = fetching.fetch(order, context, scratch)
        if not {snapshot.tree, snapshot.subtree}.isdisjoint(order.known):
            return Unchanged(commit=snapshot.commit, ref=snapshot.ref)
        try:
            return _made(order, snapshot, context, scratch, allow)
        except LfsMissing as error:
            add_reasons(error, snapshot.root, snapshot.lfs_reasons)
            raise


def _made(
    order: Order, snapshot: Snapshot, context: Context, scratch: Path, allow: Callable[[Outline], None]
) -> Product:
    """The product of the files that were fetched."""
    progress = context.progress
    with progress.phase("read", f"reading {order.path or 'the project'} at {snapshot.commit[:12]}"):
        project = _project(order, snapshot, context)
        chosen = choose_components(project.names, order.components, function_exists=order.exists)
        allow(project)
        if order.roles is not None:  # creating the function comes last, and would fail then
            order.roles.check(project.spec, order.function)
    if order.fresh:
        shop, lock = _fresh_shop(order, project, context, scratch), order.fresh.lock
    else:
        shop, lock = equip(order, context, scratch), None
    made = assemble(
        project,
        chosen,
        shop,
        force=order.force,
        upgrade=order.upgrade,
        dry=order.dry,
        before=order.keys,
        lock=lock,
    )
    checked = NOT_CHECKED
    if not order.fresh:
        with progress.phase("check", "checking the artifacts"):
            checked = check(
                made,
                shop,
                function=order.function,
                foreign=order.foreign,
                variables=order.variables if order.exists else None,
                dry=order.dry,
            )
    return Product(
        outline=project.outline,
        commit=snapshot.commit,
        ref=snapshot.ref,
        tree=snapshot.tree if made.project.reads_outside else snapshot.subtree,
        plans=made.plans,
        artifacts=made.artifacts,
        checked=checked,
        lock_id=made.lock_id,
        distributions=made.distributions,
    )


def _fresh_shop(order: Order, project: Project, context: Context, scratch: Path) -> Workshop:
    """A workshop in which nothing is that an earlier build has left, but what the runtime was found to have."""
    (scratch / "made").mkdir()
    store = DirectoryStore(scratch / "store", warn=context.progress.warn)
    # No part of what was built.
    if recorded := context.store.find(baseline_record(project.target), Recorded.parse):
        store.write_json(baseline_record(project.target), recorded.value)
    return equip(order, context, scratch / "made", workspace=Workspace(scratch / "fresh"), store=store)


def _project(order: Order, snapshot: Snapshot, context: Context) -> Project:
    """The project at the snapshot; what there is to say of it is said.

    What names no architecture stays as the function is, or becomes as the builder is.
    """
    root = snapshot.root / order.path if order.path else snapshot.root
    if not root.is_dir():
        raise PathNotFound(f"{order.path} is not a directory of the repository at {snapshot.commit[:12]}")
    progress, fresh = context.progress, order.fresh
    project = read_project(
        root,
        order.build_file,
        commit_time=snapshot.commit_time,
        runtime=fresh.runtime if fresh else None,
        architecture=fresh.architecture if fresh else order.architecture,
        otherwise=order.otherwise,
        repository=snapshot.root,
        function=order.function,
    )
    progress.warn(project.runtime_warning)
    for note in project.notes:
        progress.say(note)
    return project
