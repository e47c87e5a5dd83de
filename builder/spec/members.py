"""Reads a build file with all of its functions and stages; each function is read as a build file of its own.

    defaults: {runtimes: [python3.13], memory: 256}
    functions:
      orders-api: {source_dir: functions/orders, handler: app.handler}
      orders-worker: {source_dir: functions/orders, handler: worker.run, timeout: 300}
    layers: {common: {files: [shared/], dest_dir: python}}
    stages: {prod: {defaults: {memory: 1024}}}

A stage is laid over the file first; then a function's own keys are laid over the defaults.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from builder.errors import InvalidBuildFile, InvalidEvent
from builder.nearest import nearest
from builder.npm.lockfile import MANIFEST, NAMES
from builder.plan import DEPENDENCIES, FUNCTION
from builder.spec.base import PathsAnywhere, Spec, Text, as_tuple
from builder.spec.build_file import LAYER_NAME, SHARED, Reader, failure
from builder.spec.document import Document, Location, mapping_of, read_document
from builder.spec.overlay import Overlay, Part, Room, TooMany
from builder.spec.templates.reading import Template, build_file_of, is_template
from builder.spec.templates.serverless import build_file_of as serverless_build_file
from builder.spec.templates.serverless import is_serverless
from builder.spec.values import BuildSpec, Parameters

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
_LAMBDA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MANY = ("functions", "defaults")
# So many build files are kept, because each function's build reads the one that all share.
_KEPT = 8


class MemberSpec(Spec):
    """Keys that one function of several has besides those of any function."""

    layers: Annotated[tuple[Text, ...], BeforeValidator(as_tuple)] | None = None
    """Which layers it gets, in order: names from the project's `layers`, or ARNs of versions; without it all of the
    project's."""
    dependencies: PathsAnywhere | None = None
    """Files that name what to install for this function alone, instead of the project's. Without it, a
    `requirements.txt` beside the handler."""
    name: Annotated[str, StringConstraints(min_length=1)] | None = None
    """What Lambda calls it, with `{name}` for the key above and `{stage}`; without it `{name}`, at a stage
    `{name}-{stage}`."""


@dataclass(frozen=True, kw_only=True)
class BuildFile:
    """A build file at one of its stages.

    `functions` are all that it has, by the key above them, `names` what Lambda calls them. A file with a single
    `function`, or layers alone, has one entry with the key "", and its caller names it. `template` is set if it is one
    of SAM or CloudFormation.
    """

    file: str
    stage: str
    functions: Mapping[str, BuildSpec]
    names: Mapping[str, str] = field(default_factory=dict)
    template: Template | None = None
    parameters: Parameters = ()

    @property
    def has_many(self) -> bool:
        """Whether it has `functions`."""
        return "" not in self.functions

    def one(self, key: str) -> BuildSpec:
        """Return what it says of a function.

        Raises:
            InvalidEvent: it has no such function.
        """
        if key in self.functions:
            return self.functions[key]
        if not self.has_many:
            raise InvalidEvent(f"functions: {key!r}: {self.file} has a single function", hint="leave functions out")
        known = [*self.functions]
        raise InvalidEvent(
            f"functions: {key!r} is not in {self.file}{nearest(key, known)}", hint=f"it has {', '.join(known)}"
        )


@functools.lru_cache(_KEPT)
def read_functions(text: str, *, file: str, stage: str = "", parameters: Parameters = ()) -> BuildFile:
    """Parse the build file `text`, all of its functions, at a stage; `file` is its name.

    Args:
        parameters: of a template, values instead of its parameters' defaults.

    Raises:
        InvalidBuildFile: with every problem of every function and stage, each as `file:line: key: what is wrong`.
        InvalidEvent: the file has no such stage.
    """
    document, template = read_document(text, file=file), None
    if is_template(document.value):
        document, template = build_file_of(document, dict(parameters))
        if not template.functions:
            raise _no_functions(file, document, template)
    elif is_serverless(document.value):
        document, template = serverless_build_file(document, file, stage)
        if not template.functions:
            raise _no_functions(file, document, template)
    if parameters and (template is None or template.kind != "cloudformation"):
        raise InvalidEvent(f"parameters: {file} has none", hint="parameters are for SAM and CloudFormation templates")
    reading = _Reading(document, file, template, parameters)
    # All of them: a mistake at another stage is reported now, and not on the day of its deploy.
    try:
        found = {name: reading.at_stage(name) for name in dict.fromkeys(("", *reading.stages, stage))}
    except TooMany:
        reading.note(
            ("functions",), f"come to more than {Room().left:,} values, with defaults and stages; split the file"
        )
    if reading.problems:
        raise failure(file, reading.problems)
    if stage and stage not in reading.stages:
        known = ", ".join(reading.stages)
        raise InvalidEvent(
            f"stage: {stage!r} is not in {file}{nearest(stage, reading.stages)}",
            hint=f"it has {known}" if known else "leave stage out, or add it to the build file's `stages`",
        )
    return replace(found[stage], template=template, parameters=parameters)


def _no_functions(file: str, document: Document, template: Template) -> InvalidBuildFile:
    if document.problems:
        return failure(file, [*document.problems])
    return InvalidBuildFile(
        f"{file} has no function that is built here",
        hint="; ".join(template.notes),
    )


class _Reading:
    """One document on its way to build files, and what is wrong with it."""

    def __init__(
        self, document: Document, file: str, template: Template | None = None, parameters: Parameters = ()
    ) -> None:
        self.document, self.file, self.template, self.parameters = document, file, template, parameters
        self.root = Part(value=document.value, at=())
        # Reports problems of the file itself, not of one function.
        self._reader = Reader(document, file)
        self.problems, self.note = self._reader.problems, self._reader.say
        self.room = Room()
        self.stages = self._stages()

    def _stages(self) -> dict[str, Part]:
        part = self.root.get("stages")
        if part is None:
            return {}
        if not isinstance(part.value, dict):
            self.note(part.at, "must be a mapping of names to what is different there")
            return {}
        stages = {}
        for name, value in part.value.items():
            at = ("stages", name)
            if not _LAMBDA_NAME.fullmatch(name):
                self.note(at, "a stage's name has 1 to 64 of A-Z a-z 0-9 _ -")
            elif value is not None and not isinstance(value, dict):
                self.note(at, "must be a mapping of what is different at this stage, or {}")
            else:
                self._check_stage(at, value or {})
                stages[name] = Part(value=value or {}, at=at)
        return stages

    def _check_stage(self, at: Location, value: Mapping[str, object]) -> None:
        root = self.root.value if isinstance(self.root.value, dict) else {}
        self._reader.unknown(at, value, [*(_MANY if "functions" in root else ("function",)), *SHARED])
        self._check_mappings(at, value)
        for key in ("functions", "layers") if "functions" in root else ():
            mine, there = mapping_of(value.get(key)), mapping_of(root.get(key))
            for name in mine:
                if name not in there:
                    self.note((*at, key, name), f"is not one of {key}{nearest(name, there)}")

    def _check_mappings(self, at: Location, value: Mapping[str, object]) -> None:
        for key in ("function", *_MANY, "layers"):
            if value.get(key) is not None and not isinstance(value[key], dict):
                self.note((*at, key), "must be a mapping (key: value)")

    def at_stage(self, stage: str) -> BuildFile:
        """Return the file at a stage, with what could be read of it."""
        over = self.stages.get(stage)
        if self.root.get("functions") is None:
            spec = self._single(stage, over)
            return BuildFile(file=self.file, stage=stage, functions={"": spec} if spec else {})
        views = self._views(stage, over)
        names = {key: view.name() for key, view in views.items()}
        for key, name in names.items():
            first = next(other for other, taken in names.items() if taken == name)
            if first != key:
                self.note(("functions", key), f"name: Lambda would call it {name}, like functions.{first}")
        runtimes = _runtimes_of_layers([*views.values()])
        read = {key: view.read(runtimes) for key, view in views.items()}
        functions = {key: spec for key, spec in read.items() if spec is not None}
        return BuildFile(file=self.file, stage=stage, functions=functions, names=names)

    def _single(self, stage: str, over: Part | None) -> BuildSpec | None:
        """Read a file with one function, without what stands there for its stages."""
        if self.root.get("defaults"):
            self.note(("defaults",), "is for `functions`, and there are none")
        document = self.document
        if isinstance(self.root.value, dict) and {"stages", "defaults"} & set(self.root.value):
            overlay = Overlay(source=document, room=self.room)
            whole = mapping_of(overlay.put((), self.root, over))
            rest = {key: item for key, item in whole.items() if key not in ("stages", "defaults")}
            document = overlay.document(rest)
        reader = Reader(document, self.file)
        spec = reader.read()
        self.problems += reader.problems
        return spec and spec.model_copy(update={"stage": stage})

    def _views(self, stage: str, over: Part | None) -> dict[str, _View]:
        root, functions = self.root.value, self.root.get("functions")
        if "function" in (top := mapping_of(root)):
            self.note(("function",), "stands beside `functions`; move it there, below its name")
        self._reader.unknown((), {key: top[key] for key in top if key != "function"}, (*_MANY, "stages", *SHARED))
        if functions is None or not isinstance(functions.value, dict) or not functions.value:
            self.note(("functions",), "must be a mapping of names to functions, and has none")
            return {}
        if isinstance(root, dict) and not stage:
            self._check_mappings((), {key: root[key] for key in ("defaults", "layers") if key in root})
        layers = self.root.get("layers")
        shared = mapping_of(layers.value) if layers else {}
        named = [key for key in functions.value if self._is_name(key, shared)]
        views = {key: _View(self, key, stage, over, shared) for key in named}
        for name in shared if not stage else ():  # at a stage, functions may leave a layer away
            if views and not any(name in view.layers for view in views.values()):
                self.note(("layers", name), "no function has it in its `layers`")
        return views

    def _is_name(self, key: str, layers: Mapping[str, object]) -> bool:
        at = ("functions", key)
        if key in (FUNCTION, DEPENDENCIES) or not LAYER_NAME.fullmatch(key):
            self.note(at, "a function's name has 1 to 64 of A-Z a-z 0-9 _ - and is not function or dependencies")
        elif key in layers:
            self.note(at, "is also the name of a layer; give one of them another name")
        else:
            return True
        return False


class _View:
    """One function of a file at a stage, as a document of its own.

    `layers` names those of the project's layers that it gets, in order.
    """

    def __init__(
        self, reading: _Reading, key: str, stage: str, over: Part | None, shared: Mapping[str, object]
    ) -> None:
        self._reading, self._key, self._stage, self._over, self._shared = reading, key, stage, over, shared
        self._overlay = Overlay(source=reading.document, room=reading.room)
        given = self._put(("function",), ("defaults",), ("functions", key))
        if isinstance(given, dict):  # what no part has is missing in the function itself
            self._overlay.places["function",] = ("functions", key)
        mapping = mapping_of(given)
        own = {name: item for name, item in mapping.items() if name in MemberSpec.model_fields}
        rest = {name: item for name, item in mapping.items() if name not in own}
        self._function = rest if isinstance(given, dict) else given
        reader = Reader(self._overlay.document(None), reading.file)
        self._own = reader.model(MemberSpec, ("function",), own) or MemberSpec()
        reading.problems += reader.problems
        named = self._own.layers
        self.layers = tuple(shared) if named is None else tuple(name for name in named if name in shared)
        self.runtimes = _listed(rest.get("runtimes"))

    def name(self) -> str:
        """Return what Lambda calls the function."""
        template = self._own.name or ("{name}-{stage}" if self._stage else "{name}")
        unknown = [found for found in _PLACEHOLDER.findall(template) if found not in ("name", "stage")]
        name = template.replace("{name}", self._key).replace("{stage}", self._stage)
        if not self._stage and "{stage}" in template:
            name = name.strip("-_")
        if unknown:
            self._note(("function", "name"), f"{{{unknown[0]}}} is not known; there are {{name}} and {{stage}}")
        elif not _LAMBDA_NAME.fullmatch(name):
            self._note(("function", "name"), f"{name!r} is no name of a function (1 to 64 of A-Z a-z 0-9 _ -)")
        return name

    def read(self, runtimes: Mapping[str, Sequence[object]]) -> BuildSpec | None:
        """Return what the file says of the function; None after noting what is wrong.

        Args:
            runtimes: those of all functions that have a layer, by its name.
        """
        beside = {key: self._put((key,), (key,)) for key in SHARED if key != "layers" and any(self._parts((key,)))}
        if layers := self._layers(runtimes):
            beside["layers"] = layers
        document = self._overlay.document({"function": self._function, **beside})
        reader = Reader(document, self._reading.file, also=MemberSpec.model_fields)
        spec = reader.read()
        self._reading.problems += reader.problems
        says = self._own.dependencies is not None or DEPENDENCIES in (self._own.layers or ())
        said: dict[str, object] = {"key": self._key, "stage": self._stage, "says_dependencies": says}
        if template := self._reading.template:
            said |= {"says_dependencies": False, "adds_own": True, "own_files": template.own_files(self._key)}
            said |= {"parameters": self._reading.parameters, "layers_with_code": template.layers_with_code}
        return spec and spec.model_copy(update=said)

    def _layers(self, runtimes: Mapping[str, Sequence[object]]) -> dict[str, object]:
        own, places = self._own, self._overlay.places
        layers: dict[str, object] = {}
        if own.layers is not None:
            places["layers",] = places["function", "layers"]
        if own.dependencies is not None:
            self._moved(("function", DEPENDENCIES), ("layers", DEPENDENCIES))
            layers[DEPENDENCIES] = own.dependencies
        for position, name in enumerate(tuple(self._shared) if own.layers is None else own.layers):
            if name in layers or (own.layers is None and name == DEPENDENCIES and not self._speaks(self._shared[name])):
                continue
            if name in self._shared:
                layers[name] = self._layer(name, runtimes.get(name, ()))
            elif name.startswith("arn:"):
                called = self._name_of(name, position, layers)
                places["layers", called] = places.get(("function", "layers", position), places["function", "layers"])
                layers[called] = name
            else:
                near = nearest(name, self._shared)
                self._note(
                    ("function", "layers", position), f"{name!r} is neither in the file's layers nor an ARN{near}"
                )
        return layers

    def _name_of(self, arn: str, position: int, layers: Mapping[str, object]) -> str:
        """Return a name for a layer that has only an ARN: the layer's own, unless another has it."""
        parts = arn.split(":")
        own = parts[6] if len(parts) > 6 and LAYER_NAME.fullmatch(parts[6]) else "layer"
        taken = {FUNCTION, DEPENDENCIES, *layers, *self._shared}
        return next(name for name in (own, *(f"{own[:50]}_{position}_{n}" for n in range(99))) if name not in taken)

    def _layer(self, name: str, others: Sequence[object]) -> object:
        """Return a layer of the project. One that names no runtimes is for those of all functions that have it."""
        value = self._put(("layers", name), ("layers", name))
        if not isinstance(value, dict) or "runtimes" in value:
            return value
        named = [*self.runtimes, *others]
        runtimes = [runtime for position, runtime in enumerate(named) if runtime not in named[:position]]
        return {**value, "runtimes": runtimes} if runtimes else value

    def _speaks(self, dependencies: object) -> bool:
        """Tell whether the project's dependencies are for the function's language: others get none without asking."""
        family = str(self.runtimes[0]) if self.runtimes else ""
        nodes = any(str(entry).rpartition("/")[2] in (*NAMES, MANIFEST) for entry in _listed(dependencies))
        return family.startswith("nodejs" if nodes else "python") or not family

    def _moved(self, old: Location, new: Location) -> None:
        for at, place in [*self._overlay.places.items()]:
            if at[: len(old)] == old:
                self._overlay.places[*new, *at[len(old) :]] = place

    def _put(self, at: Location, *paths: Location) -> object:
        parts = [part for path in paths for part in self._parts(path)]
        return self._overlay.put(at, *parts) if parts else None

    def _parts(self, path: Location) -> Iterator[Part]:
        for source in (self._reading.root, self._over):
            part = source
            for key in path:
                part = part.get(str(key)) if part else None
            if part is not None:
                yield part

    def _note(self, at: Location, text: str) -> None:
        self._reading.note(self._overlay.document(None).place(at), text)


def _runtimes_of_layers(views: Sequence[_View]) -> Mapping[str, Sequence[object]]:
    found: dict[str, list[object]] = {}
    for view in views:
        for name in view.layers:
            there = found.setdefault(name, [])
            there += [runtime for runtime in view.runtimes if runtime not in there]
    return found


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if value is not None else []
