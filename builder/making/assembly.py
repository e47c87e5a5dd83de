"""A project becomes artifacts: locked, planned, built or reused. The same for every door, and without AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import cast

from builder.making import components, shipment
from builder.making.product import artifact_of, lock_hash
from builder.making.project import Project
from builder.making.untouched import Untouched
from builder.plan import (
    DEPENDENCIES,
    UNBUILT,
    Artifact,
    Component,
    ComponentPlan,
    changed_inputs,
    plan_components,
)
from builder.python import lock as locking
from builder.python.inputs import read_inputs
from builder.python.resolver import Resolver, named_indexes, refuse_unread, resolver_version
from builder.spec.build_file import BuildSpec
from builder.store.keeping import Store
from builder.store.values import Fields
from builder.system import process
from builder.workshop.workshop import Workshop

_PARALLEL = 8
# How libraries are named among the inputs of a component; no file and no distribution begins like this.
_LIBRARY = "library "


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """The project with its lock, what was decided for each chosen component, and the artifacts by component."""

    project: Project
    plans: tuple[ComponentPlan, ...]
    artifacts: Mapping[str, Artifact]

    @property
    def distributions(self) -> tuple[Mapping[str, str | None], ...]:
        """What the lock has, and where it comes from: [{name, version, index}]."""
        if self.project.lock is None or self.project.target.runtime.family != "python":
            return ()
        from builder.python.origins import rows

        return tuple(cast("list[dict[str, str | None]]", rows(self.project.lock)))

    @property
    def lock_id(self) -> str | None:
        """The name under which `pinned/` in the store has the lock, None if there is none."""
        return lock_hash(self.project.lock) if self.project.lock is not None else None


def assemble(
    project: Project,
    chosen: Sequence[str],
    shop: Workshop,
    *,
    force: bool,
    upgrade: bool = False,
    dry: bool = False,
    before: Mapping[str, str] | None = None,
    lock: str | None = None,
) -> Assembly:
    """Build the `chosen` components, or take them from the store where their inputs have been built before.

    What was built lies in the scratch directory alone until `keep`.

    Args:
        force: build everything again, even if the store has it, and lock anew.
        upgrade: lock anew; what then turns out the same is reused.
        dry: build nothing and keep nothing; what would be built is `UNBUILT`.
        before: keys of the components of the last deploy, to tell which inputs differ from it.
        lock: taken as it is, instead of locking.

    Raises:
        BuildFailed, ResolutionFailed, SourceError: with what was being built.
    """
    untouched = Untouched(project.repository or project.root)
    with process.before_foreign_code(untouched.note):
        return _assembled(
            project, chosen, shop, untouched, force=force, upgrade=upgrade, dry=dry, before=before or {}, lock=lock
        )


def _assembled(
    project: Project,
    chosen: Sequence[str],
    shop: Workshop,
    untouched: Untouched,
    *,
    force: bool,
    upgrade: bool,
    dry: bool,
    before: Mapping[str, str],
    lock: str | None,
) -> Assembly:
    progress = shop.progress
    with progress.phase("lock", "locking dependencies"):
        if lock is None:
            project = _locked(project, chosen, shop, keep=not dry, anew=force or upgrade)
        else:
            project = replace(project, lock=lock)
        untouched.check("locking dependencies")
    with progress.phase("plan", f"looking at {', '.join(chosen)}"):
        found = _known(project, chosen, shop)
        known, libraries = [component for component, _ in found], {each.name: names for each, names in found if names}
        plans = plan_components(known, _changed(project, known, before, shop) | libraries, force=force)
    artifacts = {plan.component.name: plan.component.artifact or UNBUILT for plan in plans}
    if not dry:
        artifacts |= _build(project, [plan for plan in plans if plan.action == "build"], shop, untouched)
    for artifact in artifacts.values():
        for note in artifact.notes:
            progress.warn(note)
    return Assembly(project=project, plans=plans, artifacts=artifacts)


def _locked(project: Project, chosen: Sequence[str], shop: Workshop, *, keep: bool, anew: bool) -> Project:
    """The project with the lock of its dependencies, where a chosen component needs them."""
    spec = project.spec
    needed = DEPENDENCIES in chosen or any(name in chosen for name in _with_commands(spec))
    if not spec.dependencies or not needed or project.target.runtime.family == "nodejs":
        return project  # npm's lock is taken as it is
    inputs = read_inputs(spec.dependencies, project.root, project.repository)
    refuse_unread(shop.environment)
    index = named_indexes(shop.environment)
    key = locking.lock_key(inputs, project.target, index, resolver_version(), shop.indexes.pins)
    outside = any(name.startswith("..") for name in (*inputs.contents, *inputs.trees))
    project = replace(project, reads_outside=project.reads_outside or outside)
    name = f"locks/{key}.json"
    kept = None if anew else shop.store.find(name, _kept_lock) or shop.kept.find(name, _kept_lock)
    if kept is not None:
        lock, noted = kept
        for note in noted:
            shop.progress.warn(note)
        return replace(project, lock=lock)
    notes: list[str] = []
    text = locking.resolve(
        inputs,
        project.target,
        Resolver(
            root=project.root,
            repository=project.repository,
            scratch=shop.scratch,
            environment=shop.environment,
            timeout_s=shop.deadline.check("locking dependencies"),
            credentials=shop.credentials,
            network=shop.network,
            indexes=shop.indexes,
            anew=anew,
            note=notes.append,
        ),
    )
    for note in notes:
        shop.progress.warn(note)
    if keep:
        shop.store.write_json(f"pinned/{lock_hash(text)}.json", {"lock": text})
        # What was locked while no foreign code has run here, not even a build that was asked for its metadata, is the
        # same for everybody.
        lasting = shop.kept if process.foreign_code_ran() else shop.store
        lasting.write_json(name, {"lock": text, "notes": notes})
    return replace(project, lock=text)


def _kept_lock(kept: Fields) -> tuple[str, tuple[str, ...]]:
    return kept.text("lock"), kept.texts("notes")


def _with_commands(spec: BuildSpec) -> list[str]:
    return [layer.name for layer in spec.layers if layer.preinstall]


def _known(project: Project, chosen: Sequence[str], shop: Workshop) -> list[tuple[Component, tuple[str, ...]]]:
    """The chosen components, each with its artifact where the store has one for the same inputs.

    Beside it what speaks against using it again: native libraries that are not the ones of this machine any more.
    """
    described = [components.describe(project, name, shop) for name in chosen]

    def look_up(component: Component) -> tuple[Component, tuple[str, ...]]:
        artifact = _records(project, component.name, shop).find(_component_record(component), artifact_of)
        # The bucket's owner may remove what he likes, and then this is simply made again.
        if artifact is None or artifact is UNBUILT or not shop.store.exists(artifact.name, sha256=artifact.sha256):
            return component, ()
        if differing := shipment.differing(project, component.name, artifact, shop):
            return component, tuple(f"{name} of this machine" for name in differing)
        return replace(component, artifact=artifact), ()

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(look_up, described))


def _changed(
    project: Project, known: Sequence[Component], before: Mapping[str, str], shop: Workshop
) -> dict[str, tuple[str, ...]]:
    """Which inputs differ from the last deploy's."""
    changed = {}
    for component in known:
        if before.get(component.name, component.key) != component.key:
            records = _records(project, component.name, shop)
            then = records.find(f"components/{before[component.name]}.json", _inputs)
            if then is not None:
                now = components.inputs(project, component.name, shop)
                # Libraries of the machine are known when the component has been built, not now.
                then = {name: value for name, value in then.items() if not name.startswith(_LIBRARY)}
                changed[component.name] = changed_inputs(then, now)
    return changed


def _inputs(kept: Fields) -> dict[str, str]:
    return kept.fields("inputs").all_texts()


def _records(project: Project, name: str, shop: Workshop) -> Store:
    """Where it is kept which artifact the inputs of a component give."""
    return shop.kept if components.runs_code(project, name) else shop.store


def _component_record(component: Component) -> str:
    return f"components/{component.key}.json"


def _build(
    project: Project, plans: Sequence[ComponentPlan], shop: Workshop, untouched: Untouched
) -> dict[str, Artifact]:
    """Make what the store does not have; first what runs no code, which could write to what is still to be zipped."""
    made = {}
    for plan in sorted(plans, key=lambda plan: components.runs_code(project, plan.component.name)):
        name = plan.component.name
        with shop.progress.phase(name, f"building {name}: {plan.why}"):
            made[name] = components.make(project, name, shop)
            untouched.check(f"building {name}")
    return made


def keep(made: Assembly, shop: Workshop) -> None:
    """Put into the store what was built, with the inputs that it is found by the next time."""
    for plan in made.plans:
        component = plan.component
        artifact = made.artifacts[component.name]
        if plan.action != "build" or artifact is UNBUILT:
            continue
        if not shop.store.exists(artifact.name, sha256=artifact.sha256):
            shop.store.put(artifact.name, components.zip_of(component.name, shop), sha256=artifact.sha256)
        libraries = {f"{_LIBRARY}{row['library']}": f"#{str(row['sha256'])[:16]}" for row in artifact.native_libraries}
        made_of = {"inputs": components.inputs(made.project, component.name, shop) | libraries}
        records = _records(made.project, component.name, shop)
        records.write_json(_component_record(component), artifact.as_json() | made_of)
