"""The steps from an order to a product: prepare, then check. Foreign code runs here, and no AWS function is touched."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from builder.context import Context, SharedCheckout
from builder.errors import LambdasmithError, PathNotFound
from builder.flow import fetching
from builder.flow.equipping import equip
from builder.flow.order import Fresh, Order
from builder.flow.preparing import Job, Prepared, Settled, prepared
from builder.making.assembly import Options
from builder.making.checks import check
from builder.making.product import NOT_CHECKED, Checked, Product, Several, Unchanged
from builder.making.project import Outline, Project, SeveralFunctions, read_project
from builder.making.reads import Source, needed, on_disk, reads_of, unchanged
from builder.natives.judging import Recorded, baseline_record
from builder.runtimes import Architecture
from builder.sources.partly import Choose
from builder.sources.snapshot import Snapshot
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Workspace
from builder.workspace.domains import Domain


def make(order: Order, context: Context, *, allow: Callable[[Outline], None]) -> Product | Unchanged | Several:
    """Build the components of an order; their artifacts are then in the store.

    If the project has several functions and the order names none of them, nothing is built.

    Args:
        allow: raises if the project may not have the secrets that its build file names; called before any of its code
            runs.

    Raises:
        LambdasmithError: with the phase in which it arose.
    """
    if order.shared:
        checkout = shared_checkout(order.domain, context)
        with checkout.place() as scratch:
            return _made(order, context, allow, scratch)
    context.workspace.enter(order.domain)
    with context.workspace.scratch() as scratch:
        return _made(order, context, allow, scratch)


def shared_checkout(domain: Domain, context: Context) -> SharedCheckout:
    """Return the place in which all functions of a project are made; it is there until all is done.

    All of them are of one domain, so that what the code of one leaves is not hidden from the next.
    """
    checkout = context.checkout
    if checkout.scratch is None:
        context.workspace.enter(domain)
        checkout.scratch = context.until_end.enter_context(context.workspace.scratch())
    return checkout


def _made(
    order: Order, context: Context, allow: Callable[[Outline], None], scratch: Path
) -> Product | Unchanged | Several:
    job: Job = _Ordered(order=order, context=context, scratch=scratch, permit=allow)
    if order.fresh:
        job = _FromNothing(order=order, context=context, scratch=scratch, permit=allow, fresh=order.fresh)
    try:
        ready = prepared(job, context.progress)
    except Settled as settled:
        return Unchanged(commit=settled.snapshot.commit, ref=settled.snapshot.ref)
    except _SeveralFound as found:
        return found.several
    return ready.product(NOT_CHECKED if order.fresh else _checked(ready, order, context))


def _checked(ready: Prepared, order: Order, context: Context) -> Checked:
    with context.progress.phase("check", "checking the artifacts"):
        return check(
            ready.made,
            ready.workshop,
            function=order.function,
            foreign=order.foreign,
            variables=order.variables if order.exists else None,
            dry=order.dry,
        )


class _SeveralFound(Exception):
    """There is nothing to make yet."""

    def __init__(self, several: Several) -> None:
        super().__init__()
        self.several = several


@dataclass(frozen=True, kw_only=True)
class _Ordered:
    """The job of an order, with the builder's own means. `permit` is the `allow` of `make`."""

    order: Order
    context: Context
    scratch: Path
    permit: Callable[[Outline], None]
    fetch_message: ClassVar[str] = "fetching the source"

    @property
    def known(self) -> tuple[str, ...]:
        return self.order.known

    @property
    def components(self) -> tuple[str, ...]:
        return self.order.components

    @property
    def exists(self) -> bool:
        return self.order.exists

    @property
    def options(self) -> Options:
        order = self.order
        return Options(force=order.force, upgrade=order.upgrade, dry=order.dry, before=order.keys)

    @property
    def runtime(self) -> str | None:
        """The runtime that wins over the build file's."""
        return None

    @property
    def architecture(self) -> Architecture | None:
        """The architecture that wins over the build file's."""
        return self.order.architecture

    def fetch(self) -> Snapshot:
        return self._fetched(self._needed)

    def _needed(self, snapshot: Snapshot, read: Callable[[str], bytes]) -> Collection[str] | None:
        """Choose the files of a large repository that are needed to make what is ordered."""
        order = self.order
        return needed(
            Source(snapshot=snapshot, project=order.path, read=read),
            build_file=order.build_file,
            stage=order.stage,
            parameters=order.parameters,
            words=order.components,
            key=order.key,
            known=order.standing,
        )

    def _fetched(self, choose: Choose | None) -> Snapshot:
        order, checkout = self.order, self.context.checkout
        if checkout.scratch is None:
            into = self.scratch if choose else self.scratch / "whole"
            into.mkdir(exist_ok=True)
            return fetching.fetch(order if choose else replace(order, known=()), self.context, into, choose)
        place = (order.source, order.path)
        known = checkout.snapshots.get(place)
        if known is None or (choose is None and not known.whole):
            # All of its files: what is known of one function says nothing of the others.
            all_files = replace(order, known=())
            # A branch may move while this works: the files of its new commit lie beside those of the old one.
            into = checkout.scratch / "sources" / f"{len(checkout.snapshots)}{'' if known is None else '-whole'}"
            into.mkdir(parents=True)
            known = checkout.snapshots[place] = fetching.fetch(all_files, self.context, into, choose)
        return known

    def read_message(self, snapshot: Snapshot) -> str:
        return f"reading {self.order.path or 'the project'} at {snapshot.commit[:12]}"

    def read(self, snapshot: Snapshot) -> Project:
        """Read the project. Without an architecture in the build file, the function's or else the builder's is used."""
        try:
            return self._read(snapshot)
        except LambdasmithError:
            if snapshot.whole:
                raise
            # With all files there: a message may name those that are meant, and a file that is needed is there.
            return self._read(self._fetched(None))

    def _read(self, snapshot: Snapshot) -> Project:
        order = self.order
        root = snapshot.root / order.path if order.path else snapshot.root
        if not root.is_dir():
            raise PathNotFound(f"{order.path} is not a directory of the repository at {snapshot.commit[:12]}")
        try:
            project = read_project(
                root,
                order.build_file,
                commit_time=snapshot.commit_time,
                runtime=self.runtime,
                architecture=self.architecture,
                otherwise=order.otherwise,
                repository=snapshot.root,
                function=order.function,
                key=order.key,
                stage=order.stage,
                parameters=order.parameters,
            )
        except SeveralFunctions as several:
            raise _SeveralFound(_several(several, order, snapshot)) from None
        return project if snapshot.whole else replace(project, listed=snapshot.below(order.path))

    def allow(self, project: Project) -> None:
        self.permit(project)
        if self.order.roles is not None:  # now, since creating the function is the last step and would fail
            self.order.roles.check(project.spec, self.order.function)

    def equip(self, project: Project) -> Workshop:
        return equip(self.order, self.context, self.scratch)


def _several(found: SeveralFunctions, order: Order, snapshot: Snapshot) -> Several:
    """Return the functions of a project, compared with what is known of those that stand.

    Raises:
        InvalidBuildFile: what it says of the others does not fit the files.
    """
    specs, known = found.file.functions, order.standing
    same = unchanged(found.file, known, snapshot)
    others, source = [key for key in specs if key not in same], on_disk(snapshot, order.path)
    found.check(others)
    return Several(
        file=found.file,
        text=found.text,
        commit=snapshot.commit,
        ref=snapshot.ref,
        same=tuple(same),
        reads={key: reads_of(specs[key], found.file.names[key], source) for key in others},
    )


@dataclass(frozen=True, kw_only=True)
class _FromNothing(_Ordered):
    """The same without results of earlier builds, except for the lock and the recorded baseline of the runtime."""

    fresh: Fresh

    @property
    def options(self) -> Options:
        return replace(super().options, lock=self.fresh.lock)

    @property
    def runtime(self) -> str | None:
        return self.fresh.runtime

    @property
    def architecture(self) -> Architecture | None:
        return self.fresh.architecture

    def equip(self, project: Project) -> Workshop:
        context, scratch = self.context, self.scratch
        (scratch / "made").mkdir()
        store = DirectoryStore(scratch / "store", warn=context.progress.warn)
        # A baseline is measured from the runtime, not built, so using it again cannot hide a difference.
        if recorded := context.store.find(baseline_record(project.target), Recorded.parse):
            store.write_json(baseline_record(project.target), recorded.value)
        workspace = Workspace(scratch / "fresh")
        return equip(self.order, context, scratch / "made", workspace=workspace, store=store)
