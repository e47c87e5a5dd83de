"""The components of one project: which inputs each has, hashed to its key, and how its artifact is made."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.archives.zips import Entry, unpack, write_zip
from builder.errors import InvalidBuildFile, PathNotFound
from builder.hashing import files_key, is_executable, told
from builder.making import shipment
from builder.making.own_files import own_files
from builder.making.project import Project, layer_files
from builder.making.shipment import Shipment
from builder.natives.libraries import NOTHING, Collected
from builder.plan import DEPENDENCIES, FUNCTION, Artifact, Component, Kind
from builder.python.inputs import read_inputs
from builder.python.layer import LayerOptions, build_layer, dependencies_key
from builder.python.pylock import select
from builder.python.scripts import console_scripts
from builder.runtimes import Target
from builder.sources.local import select_files
from builder.spec.build_file import LayerSpec
from builder.workshop import commands
from builder.workshop.workshop import Workshop

if TYPE_CHECKING:
    pass


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
        from builder.making import building

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
        from builder.making import building

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
        return told(own_files(project, name))
    layer = project.layer(name)
    if not layer.preinstall:
        return told(own_files(project, name))
    run = hashlib.sha256(repr((_commands(layer), project.lock)).encode()).hexdigest()
    everything = select_files(project.root, ".", (), (), to_ship=False)
    return {**told(everything), "preinstall": f"#{run[:16]}"}


def _commands(layer: LayerSpec) -> object:
    """What is run, and with what: of secrets where they are, never what they are."""
    given = [(secret.env, secret.file, secret.source) for secret in layer.secrets]
    return layer.preinstall, sorted(layer.environment.items()), given


def make(project: Project, name: str, shop: Workshop) -> Artifact:
    """Build a component; its zip is at `zip_of`.

    Raises:
        BuildFailed, ResolutionFailed, SourceError: with what was being built.
    """
    out = zip_of(name, shop)
    if recipe := project.recipe(name):
        from builder.making import building

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


def runs_code(project: Project, name: str) -> bool:
    """Whether code that the builder does not vouch for has a hand in the component: then it is this domain's alone."""
    if project.recipe(name):
        return True
    if name == DEPENDENCIES:
        return bool(select(project.lock or "", project.target).sources)
    return name != FUNCTION and bool(project.layer(name).preinstall)


def zip_of(name: str, shop: Workshop) -> Path:
    """Where the zip of a component is made."""
    return shop.scratch / f"{name}.zip"


def _zip(shipped: Shipment, out: Path) -> Artifact:
    files = shipped.files
    entries = [Entry(name=name, source=path, executable=is_executable(path)) for name, path in files]
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
        from builder.kinds.sdists import Bench, wheels_of

        wheels = wheels_of(selection, Bench(target=target, root=project.root, shop=shop))
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
        memory_mb=shop.memory_mb,
    )
    if layer.secrets:
        shop.workspace.sweep()  # a secret that the commands have put beside their places is not for what runs next
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
