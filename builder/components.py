"""The components of one project: which inputs each has, hashed to its key, and how its artifact is made."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder import commands, shipment
from builder.commands import Secrets
from builder.errors import InvalidBuildFile, PathNotFound
from builder.libraries import NOTHING, Collected
from builder.natives import Baseline, baseline_record
from builder.plan import DEPENDENCIES, FUNCTION, Artifact, Component, Kind
from builder.progress import Progress
from builder.project import Project, layer_files
from builder.python.indexes import NO_LOGINS, Indexes
from builder.python.inputs import read_inputs
from builder.python.layer import LayerOptions, build_layer, dependencies_key
from builder.python.pylock import select
from builder.python.scripts import console_scripts
from builder.runtimes import Target
from builder.shipment import Shipment
from builder.sources.access import GitCredentials, Network
from builder.sources.local import select_files
from builder.spec import LayerSpec
from builder.store import Store
from builder.workspace import Deadline, Workspace
from builder.zips import Entry, unpack, write_zip

if TYPE_CHECKING:
    from builder.toolchains.catalogue import ArchiveTool
    from builder.toolchains.toolbox import Toolbox

# Part of every key made here: changes when the same inputs would give other bytes.
_FORMAT = "1"


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What building needs besides the project: places, time, listeners, and the environment of children.

    `credentials` are those of git dependencies, asked for only where there is one; `network` is what those may reach;
    `indexes` are the package indexes that want a login. `secrets` reads what a build file names for its commands; None
    where nothing can be read. `toolchains`, `go_proxy` and `npm_registry` are those of the configuration.
    `repository` is the URL that the project comes from, "" if it comes otherwise; `owner` then says whose caches of
    compilers are used. `memory_mb` is what the builder has; None where it has no limit of its
    own. `library_path` are the directories of the builder's own LD_LIBRARY_PATH.
    """

    workspace: Workspace
    scratch: Path
    store: Store
    deadline: Deadline
    progress: Progress
    environment: Mapping[str, str]
    credentials: Callable[[], Sequence[GitCredentials]] = tuple
    network: Network = field(default_factory=Network)
    indexes: Indexes = NO_LOGINS
    secrets: Secrets | None = None
    toolchains: tuple[ArchiveTool, ...] = ()
    owner: str = ""
    repository: str = ""
    go_proxy: str = ""
    npm_registry: str = ""
    memory_mb: int | None = None
    library_path: tuple[Path, ...] = ()
    _baselines: dict[str, Baseline] = field(default_factory=dict)

    @property
    def toolbox(self) -> Toolbox:
        """Where compilers and build tools come from."""
        from builder.toolchains.toolbox import Toolbox

        return Toolbox(
            workspace=self.workspace,
            store=self.store,
            environment=self.environment,
            indexes=self.indexes,
            deadline=self.deadline,
            configured=self.toolchains,
            say=self.progress.say,
        )

    def baseline(self, target: Target) -> Baseline:
        """What the target's runtime has: as a builder has recorded it there, else what this version knows."""
        if target.label not in self._baselines:
            recorded = self.store.read_json(baseline_record(target))
            self._baselines[target.label] = Baseline.of(target, recorded)
        return self._baselines[target.label]


def describe(project: Project, name: str, shop: Workshop) -> Component:
    """The component with the key of its inputs.

    Raises:
        PathNotFound, UnsafeSource: a file of the build file is missing or leads out of the project.
        UnknownToolchain: the build file names one that cannot be had.
    """
    component = _by_its_inputs(project, name, shop)
    collecting = shipment.key(project, name, shop)
    if not collecting:
        return component
    return replace(component, key=hashlib.sha256(f"{component.key}\0{collecting}".encode()).hexdigest())


def _by_its_inputs(project: Project, name: str, shop: Workshop) -> Component:
    if recipe := project.recipe(name):
        from builder import building

        kind: Kind = "function" if name == FUNCTION else "dependencies" if name == DEPENDENCIES else "layer"
        return Component(name=name, kind=kind, key=building.key(recipe, project, name, shop))
    if name == DEPENDENCIES:
        key = dependencies_key(project.lock or "", _layer_options(project, project.target, asked=_asked(project)))
        return Component(name=name, kind="dependencies", key=key)
    if name == FUNCTION:
        return Component(name=name, kind="function", key=files_key("function", own_files(project, name)))
    layer = project.layer(name)
    if not layer.preinstall:
        return Component(name=name, kind="layer", key=files_key("layer", own_files(project, name)))
    # A command may read anything in the project, and runs with the dependencies.
    everything = select_files(project.root, ".", (), (), to_ship=False)
    inputs = repr((_commands(layer), layer.source_dir, layer.dest_dir, layer.files, project.lock, project.target.label))
    return Component(name=name, kind="layer", key=files_key(inputs, everything))


def inputs(project: Project, name: str, shop: Workshop) -> dict[str, str]:
    """What the component is made of, for people to compare: file → `#hash`, distribution → version."""
    if recipe := project.recipe(name):
        from builder import building

        return building.inputs(recipe, project, name, shop)
    if name == DEPENDENCIES:
        selection = select(project.lock or "", project.target)
        found = {wheel.name: wheel.version for wheel in selection.wheels}
        options = _layer_options(project, project.target, asked=_asked(project))
        return {
            **found,
            **{source.name: source.version or "#" for source in selection.sources},
            "options": "#" + options.key()[:16],
        }
    if name == FUNCTION:
        return hashes(own_files(project, name))
    layer = project.layer(name)
    if not layer.preinstall:
        return hashes(own_files(project, name))
    run = hashlib.sha256(repr((_commands(layer), project.lock)).encode()).hexdigest()
    everything = select_files(project.root, ".", (), (), to_ship=False)
    return {**hashes(everything), "preinstall": f"#{run[:16]}"}


def _commands(layer: LayerSpec) -> object:
    """What is run, and with what: of secrets where they are, never what they are."""
    given = [(secret.env, secret.file, secret.source) for secret in layer.secrets]
    return layer.preinstall, sorted(layer.environment.items()), given


def hashes(files: Sequence[tuple[str, Path]]) -> dict[str, str]:
    """File → a hash of its content, for people."""
    return {name: f"#{_content_hash(path)[:16]}{'x' * _is_executable(path)}" for name, path in files}


def make(project: Project, name: str, shop: Workshop) -> Artifact:
    """Build a component; its zip is at `zip_of`.

    Raises:
        BuildFailed, ResolutionFailed, SourceError: with what was being built.
    """
    out = zip_of(name, shop)
    if recipe := project.recipe(name):
        from builder import building

        made, folders = building.build(recipe, project, name, shop), building.library_folders(recipe, shop)
        zipped = _zip(shipment.shipment(project, name, made.files, shop, search=folders), out)
        return replace(
            zipped,
            notes=(*zipped.notes, *made.notes),
            pruned=made.pruned,
            contents=made.contents or zipped.contents,
        )
    if name == DEPENDENCIES:
        collect = functools.partial(shipment.of_parts, project, shop=shop)
        return _dependencies(project, project.target, out, shop, asked=_asked(project), collect=collect)
    if name == FUNCTION:
        return _zip(shipment.shipment(project, name, own_files(project, name), shop), out)
    layer = project.layer(name)
    root = _preinstalled(project, layer, shop) if layer.preinstall else project.root
    files = layer_files(root, layer)
    if not files:
        raise InvalidBuildFile(
            f"{project.spec.file}: layers.{name}: no files match", hint="check files and source_dir of this layer"
        )
    if layer.secrets:
        commands.check_artifact(f"layer {name}", files, shop.secrets)
    return _zip(shipment.shipment(project, name, files, shop), out)


def zip_of(name: str, shop: Workshop) -> Path:
    """Where the zip of a component is made."""
    return shop.scratch / f"{name}.zip"


def own_files(project: Project, name: str) -> tuple[tuple[str, Path], ...]:
    """The project's files that go into the function or a named layer as they are: (place in the zip, path)."""
    function = project.spec.function
    if name == DEPENDENCIES:
        return ()
    if name != FUNCTION:
        layer = project.layer(name)
        return layer_files(project.root, layer) if layer.ships_files else ()
    if function is None or not function.ships_files:
        return ()
    return select_files(project.root, function.source_dir, function.files, function.left_out)


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def files_key(inputs: str, files: Sequence[tuple[str, Path]]) -> str:
    """The content key of what `inputs`, in words, make of the files."""
    digest = hashlib.sha256(f"files\0{_FORMAT}\0{inputs}".encode())
    for name, path in files:
        digest.update(f"\0{name}\0{int(_is_executable(path))}\0{_content_hash(path)}".encode())
    return digest.hexdigest()


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip(shipped: Shipment, out: Path) -> Artifact:
    files = shipped.files
    entries = [Entry(name=name, source=path, executable=_is_executable(path)) for name, path in files]
    with out.open("wb") as file:
        summary = write_zip(file, entries)
    return Artifact(
        sha256=summary.sha256,
        size=summary.size,
        unzipped=summary.unzipped,
        files=summary.files,
        contents=tuple(name for name, _ in files) if len(files) <= 20 else (),
        notes=shipped.notes,
        native_libraries=shipped.libraries,
        missing_libraries=shipped.collected.missing,
    )


def _dependencies(
    project: Project,
    target: Target,
    out: Path,
    shop: Workshop,
    *,
    asked: tuple[str, ...] | None = None,
    collect: Callable[[Sequence[tuple[Path, str]]], Collected] = lambda parts: NOTHING,
) -> Artifact:
    shop.deadline.check("building dependencies")
    selection = select(project.lock or "", target)
    wheels = selection.wheels
    if selection.sources or any(wheel.path for wheel in wheels):
        from builder.python.sdists import Bench, wheels_of

        bench = Bench(
            target=target,
            root=project.root,
            workspace=shop.workspace,
            store=shop.store,
            deadline=shop.deadline,
            environment=shop.environment,
            credentials=shop.credentials,
            network=shop.network,
            indexes=shop.indexes,
        )
        wheels = wheels_of(selection, bench)
    options = _layer_options(project, target, asked=asked)
    return build_layer(
        wheels,
        out,
        options=options,
        workspace=shop.workspace,
        store=shop.store,
        indexes=shop.indexes,
        collect=collect,
    )


def _layer_options(project: Project, target: Target, *, asked: tuple[str, ...] | None = None) -> LayerOptions:
    return LayerOptions(target=target, prune=project.prune, bytecode=project.spec.bytecode, asked=asked)


def _asked(project: Project) -> tuple[str, ...] | None:
    """What the project requires by name, if the runtime's packages may be used; None if they may not."""
    if project.spec.runtime_packages != "use":
        return None
    inputs = read_inputs(project.spec.dependencies, project.root, project.repository)
    if inputs.lock is not None:  # made by another tool: nothing but its versions is known
        return tuple(f"{wheel.name}=={wheel.version}" for wheel in select(project.lock or "", project.target).wheels)
    return tuple(
        f"{each.name}{each.extras}{each.specifier}" if each.kind == "index" else f"{each.name} @ {each.place}"
        for each in (*inputs.requirements, *inputs.constraints)
        if each.name
    )


def _preinstalled(project: Project, layer: LayerSpec, shop: Workshop) -> Path:
    """A copy of the project in which the layer's commands have run."""
    copy = shop.scratch / f"preinstall-{layer.name}"
    shutil.copytree(project.root, copy, symlinks=True)
    environment = dict(shop.environment)
    tools = shop.scratch / f"tools-{layer.name}"
    tools.mkdir()
    for name in ("python", "python3"):
        (tools / name).symlink_to(sys.executable)
    search = [str(tools), str(Path(sys.executable).parent)]
    if project.lock is not None:
        installed = shop.scratch / f"installed-{layer.name}"
        _install(project, installed, shop)
        environment["PYTHONPATH"] = str(installed / "python")
        search.insert(1, str(installed / "bin"))
    environment["PATH"] = os.pathsep.join([*search, environment.get("PATH", "")])
    environment["SOURCE_DATE_EPOCH"] = str(project.commit_time)
    commands.run(
        layer.preinstall,
        commands.Given(environment=layer.environment, secrets=layer.secrets),
        copy,
        shop.scratch / f"home-{layer.name}",
        label=f"preinstall of layer {layer.name}",
        environment=environment,
        secrets=shop.secrets,
        deadline=shop.deadline,
    )
    missing = [name for name in layer.files if not any((copy / layer.source_dir).glob(name.rstrip("/")))]
    if missing:
        raise PathNotFound(
            f"{project.spec.file}: layers.{layer.name}.files: {', '.join(missing)} does not exist after preinstall",
            hint="check where the commands write; paths are relative to source_dir",
        )
    return copy


def _install(project: Project, into: Path, shop: Workshop) -> None:
    """Unpack the dependencies for the builder's own Python, so that commands can import them."""
    from builder.runtimes import RUNTIMES, architecture_of

    own = RUNTIMES.get(f"python{sys.version_info.major}.{sys.version_info.minor}", project.target.runtime)
    target = Target(runtime=own, architecture=architecture_of(os.uname().machine))
    archive = into.with_suffix(".zip")
    _dependencies(project, target, archive, shop)
    into.mkdir()
    unpack(archive, into)
    # Artifacts have no generated commands, but here people type them: `nltk`, `spacy`, `flask`.
    (into / "bin").mkdir(exist_ok=True)
    for path in sorted((into / "python").glob("*.dist-info/entry_points.txt")):
        for name, content in console_scripts(path.read_text(encoding="utf-8", errors="replace")).items():
            script = into / "bin" / name
            if not script.exists():
                script.write_bytes(content)
                script.chmod(0o755)
