"""A project: a directory, its build file as a value, and the target that it is built for."""

from __future__ import annotations

import datetime
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from builder.errors import ArtifactConflict, InvalidBuildFile, InvalidEvent, LambdasmithError
from builder.plan import DEPENDENCIES, FUNCTION, Kind
from builder.python.prune import PruneOptions
from builder.runtimes import RUNTIMES, Architecture, Target, architecture_of
from builder.sources.local import placed_files, select_files
from builder.spec.build_file import NAMES, TEMPLATES, BuildSpec, FunctionSpec, LayerSpec, find_build_file
from builder.spec.builds import AsItIs, NpmLayer, Recipe
from builder.spec.members import BuildFile, read_functions
from builder.spec.tree import (
    check_against_tree,
    check_all_against_tree,
    nothing_to_install,
    with_own_dependencies,
)
from builder.spec.values import Parameters, invalid
from builder.workshop.kind import Place


class SeveralFunctions(Exception):
    """The build file has several functions, and it was not said which one is meant.

    `text` is the build file's.
    """

    def __init__(self, file: BuildFile, text: str, root: Path, repository: Path | None) -> None:
        super().__init__(file.file)
        self.file, self.text, self.root, self.repository = file, text, root, repository

    def check(self, keys: Iterable[str]) -> None:
        """Compare what the build file says of these functions with the project's files.

        Raises:
            InvalidBuildFile: with the problems of all of them.
        """
        check_all_against_tree([self.file.functions[key] for key in keys], self.root, self.repository)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A project without its files: the build file and the target.

    `text` is the build file's, or a generated one if there is none; `spec` was read from it.
    """

    spec: BuildSpec
    target: Target
    text: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components: the layers that are built, in the order of attachment, then the function."""
        layers = tuple(layer for layer in self.spec.layer_order if isinstance(layer, str))
        return (*layers, *self.functions)

    @property
    def functions(self) -> Mapping[str, FunctionSpec]:
        """Specifications of the functions that are built, by component."""
        return {FUNCTION: self.spec.function} if self.spec.function else {}

    @property
    def sole_function(self) -> str | None:
        """Name of the function's component; None if the project has only layers."""
        return next(iter(self.functions), None)

    @property
    def foreign(self) -> tuple[str, ...]:
        """ARNs of the layers from elsewhere; their content is not known here."""
        return tuple(layer.arn for layer in self.spec.layer_order if not isinstance(layer, str))

    @property
    def runtime_warning(self) -> str:
        """Warning about a runtime that AWS no longer supports; empty if it does."""
        runtime = self.target.runtime
        if runtime.deprecated is None or not runtime.is_deprecated(datetime.datetime.now(datetime.UTC).date()):
            return ""
        return f"{runtime.name} was deprecated by AWS on {runtime.deprecated}; move to a newer runtime"

    def layer(self, name: str) -> LayerSpec:
        """Return the named layer of the build file."""
        return next(layer for layer in self.spec.layers if layer.name == name)

    def holder(self, component: str) -> FunctionSpec | LayerSpec | None:
        """Return the build file's member for a component; None for dependencies, which have none.

        The kind of a component follows from this; no other code looks at its name.
        """
        if component in self.functions:
            return self.functions[component]
        return None if component == DEPENDENCIES else self.layer(component)

    def kind(self, component: str) -> Kind:
        """Return the kind of the component."""
        holder = self.holder(component)
        return "dependencies" if holder is None else "function" if isinstance(holder, FunctionSpec) else "layer"

    def owner(self, component: str) -> str:
        """Return the owner of the component's files, for messages."""
        return "the function's files" if component in self.functions else f"layer {component}"

    def mount(self, component: str) -> str:
        """Return the directory to which Lambda unpacks the component."""
        return "/var/task" if component in self.functions else "/opt"

    def as_json(self) -> dict[str, object]:
        """Return the outline as JSON, for another process."""
        return {
            "file": self.spec.file,
            "text": self.text,
            "key": self.spec.key,
            "stage": self.spec.stage,
            "parameters": dict(self.spec.parameters),
            "dependencies": list(self.spec.dependencies),
            "layers": [layer.name for layer in self.spec.layers],
            "runtime": self.target.runtime.name,
            "architecture": self.target.architecture,
        }

    @classmethod
    def parse(cls, value: Mapping[str, object]) -> Outline:
        """Parse the output of `as_json`, by the same rules as any build file.

        Raises:
            InvalidBuildFile: the build file is not valid.
            KeyError, TypeError, ValueError: it has another form.
        """
        text, dependencies = str(value["text"]), value["dependencies"]
        try:
            given = value["parameters"]
            given = tuple(sorted((str(k), str(v)) for k, v in given.items())) if isinstance(given, Mapping) else ()
            file = read_functions(text, file=str(value["file"]), stage=str(value["stage"]), parameters=given)
            spec = file.one(str(value["key"]))
            architecture = architecture_of(str(value["architecture"]))
        except InvalidEvent as error:  # the event was valid: another process has changed what it was sent
            raise ValueError(error.message) from error
        there = value["layers"]
        gone = [each for each in spec.layers_with_code if isinstance(there, list) and each not in there]
        spec = spec.without_layers(gone)  # they have no files
        if spec.dependencies and not dependencies:
            spec = spec.without_dependencies()  # its files name nothing
        elif not spec.says_dependencies and isinstance(dependencies, list):
            spec = spec.with_dependencies(tuple(map(str, dependencies)))
        target = Target(runtime=RUNTIMES[str(value["runtime"])], architecture=architecture)
        return cls(spec=spec, target=target, text=text)


@dataclass(frozen=True, kw_only=True)
class Project(Outline):
    """A directory with its build file, the target, and the lock of the dependencies if there are any.

    `repository` is the directory in which requirements may name local sources; None means `root` alone.
    `reads_outside`: the build needs files of the repository outside of the project. `notes` say which settings were
    found in the files because the build file lacks them. `listed` are paths of files and directories that the project
    has although they may not be on disk.
    """

    root: Path
    commit_time: int
    lock: str | None = None
    repository: Path | None = None
    reads_outside: bool = False
    notes: tuple[str, ...] = ()
    listed: frozenset[str] = field(default=frozenset(), repr=False)

    def has(self, path: str) -> bool:
        """Tell whether the project has a file or directory (posix), on disk or not."""
        return (self.root / path).exists() or posixpath.normpath(path) in self.listed

    @property
    def outline(self) -> Outline:
        """Project without its files."""
        return Outline(spec=self.spec, target=self.target, text=self.text)

    @property
    def prune(self) -> PruneOptions:
        """Options of pruning in the build file."""
        return PruneOptions(disable=self.spec.prune.disable, keep=self.spec.prune.keep)

    def recipe(self, component: str) -> Recipe | None:
        """Return the recipe of a component that a kind of build makes, None for any other."""
        holder = self.holder(component)
        if holder is None:
            is_npms = self.target.runtime.family == "nodejs"
            return NpmLayer(files=self.spec.dependencies) if is_npms else None
        return None if holder.build is None or isinstance(holder.build, AsItIs) else holder.build

    def place(self, component: str) -> Place:
        """Return the place of the component's sources, for its kind of build."""
        holder, function = self.holder(component), self.functions.get(component)
        label = "function.build" if function else f"layers.{component}.build" if holder else f"layers.{component}"
        return Place(
            root=self.root,
            repository=self.repository or self.root,
            source_dir=holder.source_dir if holder else ".",
            component=component,
            is_function=function is not None,
            label=label,
            target=self.target,
            handler=function.handler if function else "",
            prune=self.prune,
        )


def layer_files(project: Project, layer: LayerSpec, copy: Path | None = None) -> tuple[tuple[str, Path], ...]:
    """Return the files of a layer in a project, or those that keep their place in a copy of it: (in the zip, path)."""
    only_placed = layer.placed and not layer.files
    chosen = () if only_placed else select_files(copy or project.root, layer.source_dir, layer.files, ())
    chosen = with_placed(chosen, project, layer)
    return tuple((str(PurePosixPath(layer.dest_dir) / name), path) for name, path in chosen)


def with_placed(
    chosen: tuple[tuple[str, Path], ...], project: Project, holder: FunctionSpec | LayerSpec
) -> tuple[tuple[str, Path], ...]:
    """Return the chosen files, and those that get another place in the zip.

    Raises:
        ArtifactConflict: two of them want the same place.
    """
    boundary = project.repository or project.root
    files = dict(chosen)
    for entry in holder.placed:
        placed = dict(placed_files(project.root / holder.source_dir, entry.source, entry.to, boundary))
        if twice := sorted(files.keys() & placed.keys()):
            raise ArtifactConflict(
                f"{project.spec.file}: files: {', '.join(twice[:3])}: two files want this place in the zip",
                hint="give one of them another place: {from: …, to: …}",
            )
        files |= placed
    return tuple(sorted(files.items()))


def read_project(
    root: Path,
    build_file: str | None,
    *,
    commit_time: int,
    runtime: str | None = None,
    architecture: Architecture | None = None,
    otherwise: Architecture = "x86_64",
    repository: Path | None = None,
    function: str = "",
    key: str = "",
    stage: str = "",
    parameters: Parameters = (),
) -> Project:
    """Read the project in the existing directory `root`; `runtime` and `architecture` win over the build file's.

    Without a build file, or without `build` in it, the kind is detected by the files if it is clear.

    Args:
        otherwise: the architecture if neither names one.
        function: its name; of several commands, the one with this name is built.
        key: the function that is meant, of a build file that has several.
        stage: the stage of the build file that is meant; empty for none.
        parameters: of a template, values instead of its parameters' defaults.

    Raises:
        SeveralFunctions: the build file has several, and `key` is empty. They were not compared with the files.
        InvalidEvent: the build file has no such function or stage.
        InvalidBuildFile: there is no build file, it is not valid, or it names files that are not there.
    """
    spec, text, notes = _spec(root, build_file, function, key, stage, parameters, repository)
    target = Target(
        runtime=RUNTIMES[runtime or _runtime(spec)],
        architecture=architecture or (spec.function.architecture if spec.function else None) or otherwise,
    )
    project = Project(
        root=root,
        spec=spec,
        target=target,
        text=text,
        commit_time=commit_time,
        repository=repository,
        notes=tuple(notes),
    )
    return replace(project, reads_outside=_reads_outside(project))


def _reads_outside(project: Project) -> bool:
    """Tell whether a component's build reads files outside of the project.

    Raises:
        InvalidBuildFile: with everything that the kinds of builds find wrong.
    """
    problems, outside = [], False
    for component in project.names:
        if recipe := project.recipe(component):
            from builder.kinds import table

            kind, place = table.of(recipe), project.place(component)
            problem = kind.problem(recipe, place)
            problems += [f"{project.spec.at(place.label)}: {problem}"] if problem else []
            outside = outside or kind.reads_outside(recipe, place)
    if problems:
        raise invalid(project.spec.file, problems)
    return outside or any(_places_from_outside(project, component) for component in project.names)


def _places_from_outside(project: Project, component: str) -> bool:
    """Tell whether files that a component gets at another place are, or may be, outside of the project."""
    holder, root = project.holder(component), project.root.resolve()
    try:
        # By their real places: a link within the project may lead out of it.
        return holder is not None and not all(path.is_relative_to(root) for _, path in with_placed((), project, holder))
    except LambdasmithError:
        return True  # commands have yet to make them


def _spec(
    root: Path,
    build_file: str | None,
    function: str,
    key: str,
    stage: str,
    parameters: Parameters,
    repository: Path | None,
) -> tuple[BuildSpec, str, list[str]]:
    """Return the build file completed from the project's files, its text, and sentences about the additions."""
    names = [path.name for path in root.iterdir() if path.is_file()]
    if build_file is None and not set(names).intersection((*NAMES, *TEMPLATES)):
        from builder.kinds import table

        if found := table.detected(root, function):
            kind, meant = found
            text = json.dumps({"function": meant})
            spec = read_functions(text, file=f"{kind} project without a build file", stage=stage).one(key)
            return spec, text, [f"there is no build file; it is built as a {kind} project: {json.dumps(meant)}"]
    name = find_build_file(names, build_file)
    text = (root / name).read_text(encoding="utf-8", errors="replace")
    file = read_functions(text, file=name, stage=stage, parameters=parameters)
    if file.has_many and not key:
        raise SeveralFunctions(file, text, root, repository)
    spec = with_own_dependencies(file.one(key), root)
    check_against_tree(spec, root, repository)
    if spec.function is not None and nothing_to_install(spec, root):
        named = ", ".join(spec.dependencies)
        note = f"{named} {'name' if spec.dependencies[1:] else 'names'} nothing to install, so there is no layer of it"
        return spec.without_dependencies(), text, [note]
    if spec.function is None or spec.function.build is not None or spec.function.runtimes[0].startswith("python"):
        return spec, text, []
    from builder.kinds import table

    meant_by_files = table.unsaid(spec.function, bool(spec.dependencies), root)
    if meant_by_files is None:
        return spec, text, []
    with_build = spec.function.model_copy(update={"build": meant_by_files})
    return spec.model_copy(update={"function": with_build}), text, []


def _runtime(spec: BuildSpec) -> str:
    """Return the runtime of the function, else of the first layer that names one."""
    named = [spec.function.runtimes] if spec.function else [layer.runtimes for layer in spec.layers if layer.runtimes]
    if not named:
        raise InvalidBuildFile(f"{spec.file}: no runtimes are named", hint="add runtimes: [python3.13] to the function")
    return named[0][0]
