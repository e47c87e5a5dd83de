"""A project: a directory with a build file, what the file says, and what it is built for."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.errors import InvalidBuildFile
from builder.plan import DEPENDENCIES, FUNCTION, Kind
from builder.python.prune import PruneOptions
from builder.runtimes import RUNTIMES, Architecture, Target, architecture_of
from builder.sources.local import select_files
from builder.spec.build_file import NAMES, BuildSpec, FunctionSpec, LayerSpec, find_build_file
from builder.spec.builds import AsItIs, NpmLayer, Recipe
from builder.spec.members import BuildFile, read_functions
from builder.spec.tree import check_against_tree, check_all_against_tree, with_own_dependencies
from builder.spec.values import invalid
from builder.workshop.kind import Place


class SeveralFunctions(Exception):
    """The build file has several functions, and it was not said which one is meant.

    `text` is the build file's.
    """

    def __init__(self, file: BuildFile, text: str) -> None:
        super().__init__(file.file)
        self.file, self.text = file, text


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What a build file says, and what the project is built for: all that is known of it without its files.

    `text` is the build file's, or what stands for it where there is none; `spec` was read from it.
    """

    spec: BuildSpec
    target: Target
    text: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its components: the layers that are built, in the order in which they are attached, then the function."""
        layers = tuple(layer for layer in self.spec.layer_order if isinstance(layer, str))
        return (*layers, *self.functions)

    @property
    def functions(self) -> Mapping[str, FunctionSpec]:
        """What the build file says of each function that is built, by the name of its component."""
        return {FUNCTION: self.spec.function} if self.spec.function else {}

    @property
    def sole_function(self) -> str | None:
        """The function's component; None where the project is layers alone."""
        return next(iter(self.functions), None)

    @property
    def foreign(self) -> tuple[str, ...]:
        """ARNs of the layers from elsewhere; what is in them is not known here."""
        return tuple(layer.arn for layer in self.spec.layer_order if not isinstance(layer, str))

    @property
    def runtime_warning(self) -> str:
        """What to say of a runtime that AWS no longer supports; empty if it does."""
        runtime = self.target.runtime
        if runtime.deprecated is None or not runtime.is_deprecated(datetime.datetime.now(datetime.UTC).date()):
            return ""
        return f"{runtime.name} was deprecated by AWS on {runtime.deprecated}; move to a newer runtime"

    def layer(self, name: str) -> LayerSpec:
        """The named layer of the build file."""
        return next(layer for layer in self.spec.layers if layer.name == name)

    def holder(self, component: str) -> FunctionSpec | LayerSpec | None:
        """Return what the build file says of a component; None for dependencies, of which it names files alone.

        What a component is follows from this, and nothing else looks at its name.
        """
        if component in self.functions:
            return self.functions[component]
        return None if component == DEPENDENCIES else self.layer(component)

    def kind(self, component: str) -> Kind:
        """Return what the component is to Lambda and to people."""
        holder = self.holder(component)
        return "dependencies" if holder is None else "function" if isinstance(holder, FunctionSpec) else "layer"

    def owner(self, component: str) -> str:
        """Say whose files the component's are, for messages."""
        return "the function's files" if component in self.functions else f"layer {component}"

    def mount(self, component: str) -> str:
        """Return the directory to which Lambda unpacks the component."""
        return "/var/task" if component in self.functions else "/opt"

    def as_json(self) -> dict[str, object]:
        """For another process; `parse` reads it."""
        return {
            "file": self.spec.file,
            "text": self.text,
            "key": self.spec.key,
            "stage": self.spec.stage,
            "dependencies": list(self.spec.dependencies),
            "runtime": self.target.runtime.name,
            "architecture": self.target.architecture,
        }

    @classmethod
    def parse(cls, value: Mapping[str, object]) -> Outline:
        """What `as_json` made, read by the same rules as any build file.

        Raises:
            InvalidBuildFile: it is not valid.
            KeyError, TypeError, ValueError: someone else has made it.
        """
        text, dependencies = str(value["text"]), value["dependencies"]
        spec = read_functions(text, file=str(value["file"]), stage=str(value["stage"])).one(str(value["key"]))
        if not spec.dependencies and not spec.says_dependencies and isinstance(dependencies, list):
            spec = spec.with_dependencies(tuple(map(str, dependencies)))
        target = Target(
            runtime=RUNTIMES[str(value["runtime"])], architecture=architecture_of(str(value["architecture"]))
        )
        return cls(spec=spec, target=target, text=text)


@dataclass(frozen=True, kw_only=True)
class Project(Outline):
    """A build file, the directory it lies in, what it is built for, and the lock of its dependencies if it has any.

    `repository` is the directory in which requirements may name local sources; None means `root` alone.
    `reads_outside`: the build needs files of the repository outside of the project. `notes` say what was found out
    that the build file does not say.
    """

    root: Path
    commit_time: int
    lock: str | None = None
    repository: Path | None = None
    reads_outside: bool = False
    notes: tuple[str, ...] = ()

    @property
    def outline(self) -> Outline:
        """The project without its files."""
        return Outline(spec=self.spec, target=self.target, text=self.text)

    @property
    def prune(self) -> PruneOptions:
        """What the build file says of pruning."""
        return PruneOptions(disable=self.spec.prune.disable, keep=self.spec.prune.keep)

    def recipe(self, component: str) -> Recipe | None:
        """How the component is built, where that is not Python's own way or taking files as they are."""
        holder = self.holder(component)
        if holder is None:
            is_npms = self.target.runtime.family == "nodejs"
            return NpmLayer(files=self.spec.dependencies) if is_npms else None
        return None if holder.build is None or isinstance(holder.build, AsItIs) else holder.build

    def place(self, component: str) -> Place:
        """Where the component's sources are, for its kind of build."""
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


def layer_files(root: Path, layer: LayerSpec) -> tuple[tuple[str, Path], ...]:
    """The files of a layer that are in a project, or a copy of it, at `root`: (name in the zip, path)."""
    chosen = select_files(root, layer.source_dir, layer.files, ())
    return tuple((str(PurePosixPath(layer.dest_dir) / name), path) for name, path in chosen)


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
) -> Project:
    """The project in the existing directory `root`; `runtime` and `architecture` win over what the build file says.

    Without a build file, and where the function does not say how it is built, the files tell, if they clearly do.

    Args:
        otherwise: the architecture where neither says one.
        function: its name; one of several commands may be called so.
        key: the function that is meant, of a build file that has several.
        stage: the stage of the build file that is meant; empty for none.

    Raises:
        SeveralFunctions: the build file has several, and `key` is empty. All of them fit the files.
        InvalidEvent: the build file has no such function or stage.
        InvalidBuildFile: there is no build file, it is not valid, or it names files that are not there.
    """
    spec, text, notes = _spec(root, build_file, function, key, stage)
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
    problems, outside = [], False
    for component in project.names:
        if recipe := project.recipe(component):
            from builder.kinds import table

            kind, place = table.of(recipe), project.place(component)
            problem = kind.problem(recipe, place)
            problems += [f"{spec.at(place.label)}: {problem}"] if problem else []
            outside = outside or kind.reads_outside(recipe, place)
    if problems:
        raise invalid(spec.file, problems)
    return replace(project, reads_outside=outside)


def _spec(root: Path, build_file: str | None, function: str, key: str, stage: str) -> tuple[BuildSpec, str, list[str]]:
    """The build file, with what is missing in it and the files tell; its text; and sentences that say so."""
    names = [path.name for path in root.iterdir() if path.is_file()]
    if build_file is None and not set(names).intersection(NAMES):
        from builder.kinds import table

        if found := table.detected(root, function):
            kind, meant = found
            text = json.dumps({"function": meant})
            spec = read_functions(text, file=f"{kind} project without a build file", stage=stage).one(key)
            return spec, text, [f"there is no build file; it is built as a {kind} project: {json.dumps(meant)}"]
    name = find_build_file(names, build_file)
    text = (root / name).read_text(encoding="utf-8", errors="replace")
    file = read_functions(text, file=name, stage=stage)
    if file.has_many and not key:
        check_all_against_tree([*file.functions.values()], root)
        raise SeveralFunctions(file, text)
    spec = with_own_dependencies(file.one(key), root)
    check_against_tree(spec, root)
    if spec.function is None or spec.function.build is not None or spec.function.runtimes[0].startswith("python"):
        return spec, text, []
    from builder.kinds import table

    meant_by_files = table.unsaid(spec.function, bool(spec.dependencies), root)
    if meant_by_files is None:
        return spec, text, []
    with_build = spec.function.model_copy(update={"build": meant_by_files})
    return spec.model_copy(update={"function": with_build}), text, []


def _runtime(spec: BuildSpec) -> str:
    """What the function, or else the first layer that says so, runs on."""
    named = [spec.function.runtimes] if spec.function else [layer.runtimes for layer in spec.layers if layer.runtimes]
    if not named:
        raise InvalidBuildFile(f"{spec.file}: no runtimes are named", hint="add runtimes: [python3.13] to the function")
    return named[0][0]
