"""The steps from a project to its artifacts: lock, plan, then build or reuse. They need no AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.making.buildable import Buildable
from builder.making.components import component
from builder.making.product import lock_hash
from builder.making.project import Project
from builder.making.untouched import Untouched
from builder.making.wrappers import Announced, Stored, Unbuilt, Watched
from builder.plan import UNBUILT, Artifact, ComponentPlan, plan_components
from builder.python import lock as locking
from builder.python.inputs import read_inputs
from builder.python.resolver import Resolver, named_indexes, refuse_unread, resolver_version
from builder.store.values import Fields
from builder.system import process
from builder.workshop.workshop import Workshop

if TYPE_CHECKING:
    from builder.replies.deploys import DistributionRow

_PARALLEL = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options for the use of earlier builds' results.

    Args:
        force: build everything again, even if the store has it, and lock again.
        upgrade: lock again; components whose inputs are still the same are reused.
        dry: build nothing and keep nothing; the artifacts of components to build are `UNBUILT`.
        before: keys of the components of the last deploy, to tell which inputs differ from it.
        lock: taken as it is, instead of locking.
    """

    force: bool = False
    upgrade: bool = False
    dry: bool = False
    before: Mapping[str, str] = field(default_factory=dict)
    lock: str | None = None


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A project with its lock, and a plan and an artifact for each chosen component.

    `components` are the chosen ones by name.
    """

    project: Project
    plans: tuple[ComponentPlan, ...]
    artifacts: Mapping[str, Artifact]
    components: Mapping[str, Stored] = field(default_factory=dict, repr=False)

    @property
    def distributions(self) -> tuple[DistributionRow, ...]:
        """Distributions in the lock, with their indexes: [{name, version, index}]."""
        if self.project.lock is None or self.project.target.runtime.family != "python":
            return ()
        from builder.python.origins import rows

        return tuple(rows(self.project.lock))

    @property
    def lock_id(self) -> str | None:
        """Name of the lock below `pinned/` in the store, None if there is no lock."""
        return lock_hash(self.project.lock) if self.project.lock is not None else None


def assemble(project: Project, chosen: Sequence[str], workshop: Workshop, options: Options) -> Assembly:
    """Build the `chosen` components, or take them from the store if they were built from the same inputs before.

    New artifacts are only in the scratch directory until `keep`.

    Raises:
        BuildFailed, ResolutionFailed, SourceError: naming the component.
    """
    untouched = Untouched(project.repository or project.root)
    # Noted only when foreign code is about to start: most builds run none, and listing all files takes time.
    with process.before_foreign_code(untouched.note):
        return _assembled(project, chosen, workshop, options, untouched)


def _assembled(
    project: Project, chosen: Sequence[str], workshop: Workshop, options: Options, untouched: Untouched
) -> Assembly:
    progress = workshop.progress
    with progress.phase("lock", "locking dependencies"):
        if options.lock is None:
            project = _locked(project, chosen, workshop, keep=not options.dry, refresh=options.force or options.upgrade)
        else:
            project = replace(project, lock=options.lock)
        untouched.check("locking dependencies")
    with progress.phase("plan", f"looking at {', '.join(chosen)}"):
        components = {
            name: Stored(of=component(project, name, workshop), project=project, workshop=workshop) for name in chosen
        }
        plans = _planned([*components.values()], options)
    makers = [_maker(plan, components[plan.component.name], workshop, untouched, dry=options.dry) for plan in plans]
    # Components that run no foreign code come first: such code could write to files that are zipped later.
    made = {each.name: each.make() for each in sorted(makers, key=lambda each: each.runs_code)}
    artifacts = {each.name: made[each.name] for each in makers}
    for artifact in artifacts.values():
        for note in artifact.notes:
            progress.warn(note)
    return Assembly(project=project, plans=plans, artifacts=artifacts, components=components)


def _planned(components: Sequence[Stored], options: Options) -> tuple[ComponentPlan, ...]:
    """Decide for each component whether it is built, and why."""
    # One at a time, so that of several problems always the same one is reported.
    keys = {each.name: each.key() for each in components}
    # In parallel: each component takes a request or two to the store.
    with ThreadPoolExecutor(_PARALLEL) as pool:
        known = list(pool.map(lambda each: each.known, components))
    changed = {
        each.name: each.differing_libraries or each.changed_since(options.before.get(each.name, keys[each.name]))
        for each in components
    }
    return plan_components(known, changed, force=options.force)


def _maker(plan: ComponentPlan, stored: Stored, workshop: Workshop, untouched: Untouched, *, dry: bool) -> Buildable:
    """Return the component in the wrappers that its plan needs."""
    if plan.action == "reuse":
        return stored
    if dry:
        return Unbuilt(of=stored, artifact=plan.component.artifact)
    return Announced(of=Watched(of=stored.of, project_files=untouched), progress=workshop.progress, why=plan.why)


def _locked(project: Project, chosen: Sequence[str], workshop: Workshop, *, keep: bool, refresh: bool) -> Project:
    """Return the project with the lock of its dependencies, if a chosen component needs it."""
    if not project.spec.dependencies or project.target.runtime.family == "nodejs":  # npm's lock is taken as it is
        return project
    if not any(component(project, name, workshop).uses_lock for name in chosen):
        return project
    inputs = read_inputs(project.spec.dependencies, project.root, project.repository)
    refuse_unread(workshop.environment)
    index = named_indexes(workshop.environment)
    key = locking.lock_key(inputs, project.target, index, resolver_version(), workshop.indexes.pins)
    outside = any(name.startswith("..") for name in (*inputs.contents, *inputs.trees))
    project = replace(project, reads_outside=project.reads_outside or outside)
    name = f"locks/{key}.json"
    kept = None if refresh else workshop.store.find(name, _kept_lock) or workshop.kept.find(name, _kept_lock)
    if kept is not None:
        lock, noted = kept
        for note in noted:
            workshop.progress.warn(note)
        return replace(project, lock=lock)
    notes: list[str] = []
    text = locking.resolve(
        inputs,
        project.target,
        Resolver(
            root=project.root,
            repository=project.repository,
            scratch=workshop.scratch,
            environment=workshop.environment,
            timeout_s=workshop.deadline.check("locking dependencies"),
            credentials=workshop.credentials,
            network=workshop.network,
            indexes=workshop.indexes,
            refresh=refresh,
            note=notes.append,
        ),
    )
    for note in notes:
        workshop.progress.warn(note)
    if keep:
        # Always shared: its name is its hash, so foreign code could not put another lock in its place.
        workshop.store.write_json(f"pinned/{lock_hash(text)}.json", {"lock": text})
        # Shared only if no foreign code has run here, not even a build for its metadata: such code could have forged
        # the lock.
        lasting = workshop.kept if process.foreign_code_ran() else workshop.store
        lasting.write_json(name, {"lock": text, "notes": notes})
    return replace(project, lock=text)


def _kept_lock(kept: Fields) -> tuple[str, tuple[str, ...]]:
    return kept.text("lock"), kept.texts("notes")


def keep(made: Assembly) -> None:
    """Put new artifacts into the store, with records of their inputs, by which the next build finds them."""
    for plan in made.plans:
        artifact = made.artifacts[plan.component.name]
        if plan.action == "build" and artifact is not UNBUILT:
            made.components[plan.component.name].keep(artifact)
