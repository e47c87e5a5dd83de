"""The order of the steps that prepare a project, wherever it is built: fetch → read → allow → equip → assemble.

A job says how a step is done: for an order (`making.py`), for an order from scratch, or on a workstation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.errors import LfsMissing
from builder.making.assembly import Assembly, Options, assemble
from builder.making.product import Checked, Product
from builder.making.project import Project
from builder.plan import choose_components
from builder.progress import Progress
from builder.sources.local import add_reasons
from builder.sources.snapshot import Snapshot
from builder.workshop.workshop import Workshop


class Settled(Exception):
    """The source's tree is one with which nothing is left to do."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class Job(Protocol):
    """One build of one project."""

    @property
    def fetch_message(self) -> str:
        """Message of the progress while the source is fetched."""

    @property
    def known(self) -> Collection[str]:
        """Ids of trees with which nothing is left to do."""

    @property
    def components(self) -> Sequence[str]:
        """Names of the requested components; none for all."""

    @property
    def exists(self) -> bool:
        """Whether the function exists; a new one needs all of its components."""

    @property
    def options(self) -> Options:
        """Options for the use of earlier builds' results."""

    def fetch(self) -> Snapshot:
        """Bring the source to this machine."""

    def read_message(self, snapshot: Snapshot) -> str:
        """Return the message of the progress while the project is read."""

    def read(self, snapshot: Snapshot) -> Project:
        """Read the project in the source."""

    def allow(self, project: Project) -> None:
        """Raise if the project may not be built or deployed; called before any of its code runs."""

    def equip(self, project: Project) -> Workshop:
        """Return what building needs besides the project."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A project's unchecked artifacts, and the workshop in which they were made."""

    snapshot: Snapshot
    workshop: Workshop
    made: Assembly

    def product(self, checked: Checked) -> Product:
        """Return the result as one value, with the outcome of the checks."""
        snapshot, made = self.snapshot, self.made
        return Product(
            outline=made.project.outline,
            commit=snapshot.commit,
            ref=snapshot.ref,
            tree=snapshot.tree if made.project.reads_outside or snapshot.lacks_files else snapshot.subtree,
            plans=made.plans,
            artifacts=made.artifacts,
            checked=checked,
            lock_id=made.lock_id,
            distributions=made.distributions,
        )


def prepared(job: Job, progress: Progress) -> Prepared:
    """Carry out all steps of a job up to the artifacts.

    Raises:
        Settled: the source has one of the known trees.
        LambdasmithError: with the phase in which it arose.
    """
    with progress.phase("fetch", job.fetch_message):
        snapshot = job.fetch()
    # The subtree is the project's directory: a push that changed another part of the repository ends here.
    if not {snapshot.tree, snapshot.subtree}.isdisjoint(job.known):
        raise Settled(snapshot)
    try:
        with progress.phase("read", job.read_message(snapshot)):
            project = job.read(snapshot)
            tell(project, progress)
            chosen = choose_components(project.names, job.components, function_exists=job.exists)
            # Before equipping and assembling: from there on, the project's code may run.
            job.allow(project)
        workshop = job.equip(project)
        return Prepared(snapshot=snapshot, workshop=workshop, made=assemble(project, chosen, workshop, job.options))
    except LfsMissing as error:
        add_reasons(error, snapshot.root, snapshot.lfs_reasons)
        raise


def tell(project: Project, progress: Progress) -> None:
    """Report what was noticed while the project was read."""
    progress.warn(project.runtime_warning)
    for note in project.notes:
        progress.note(note)
