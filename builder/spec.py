"""The build file: what a project says about itself, as frozen values.

    function:
      runtimes: [python3.13]
      handler: lambda_function.lambda_handler
      files: [lambda_function.py, templates/]
    layers:
      dependencies: [requirements.txt]

`read_build_file` judges the text alone, `check_against_tree` what it says about files that must be there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from builder.document import Document, Location, read_document
from builder.errors import InvalidBuildFile, LambdasmithError
from builder.python.inputs import split_entry
from builder.runtimes import RUNTIMES
from builder.sources.local import directory_in, nearest_path, select_files
from builder.spec_values import (
    RANGES,
    BuildSpec,
    CheckingSpec,
    Dependencies,
    FunctionSpec,
    LayerSpec,
    PackingSpec,
    PruneSpec,
    Spec,
    as_tuple,
    nearest,
)

__all__ = [
    "BuildSpec",
    "FunctionSpec",
    "LayerSpec",
    "PruneSpec",
    "check_against_tree",
    "find_build_file",
    "read_build_file",
]

M = TypeVar("M", bound=Spec)

NAMES = ("build.yaml", "build.yml", "build.json")

_LATER = frozenset({"function.build", "function.native_libraries"})
_MAX_LAYERS = 5
_LAYER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def find_build_file(names: Collection[str], wanted: str | None) -> str:
    """Which of the `names` in a project's directory is its build file: `wanted`, or the only one with a usual name.

    Raises:
        InvalidBuildFile: there is none, or there are several.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        near = nearest(wanted, [name for name in names if name.endswith((".yaml", ".yml", ".json"))])
        raise InvalidBuildFile(
            f"build_file: {wanted!r} is not in the project{near}", hint="commit it, or name another one"
        )
    present = [name for name in NAMES if name in names]
    if not present:
        near = next((match for name in NAMES for match in difflib.get_close_matches(name, names, n=1, cutoff=0.8)), "")
        raise InvalidBuildFile(
            f"there is no build file: looked for {', '.join(NAMES)}" + (f"; did you mean {near}?" if near else ""),
            hint="copy build.yaml.example to build.yaml and commit it; if the project is in a sub-directory, give path",
        )
    if len(present) > 1:
        raise InvalidBuildFile(
            f"there are several build files: {' and '.join(present)}", hint="remove all but one, or give build_file"
        )
    return present[0]


def read_build_file(text: str, *, file: str) -> BuildSpec:
    """The build file whose content is `text`; `file` is its name, which says whether it is YAML or JSON.

    Raises:
        InvalidBuildFile: with every problem found, each as `file:line: key: what is wrong`.
    """
    return _Reader(read_document(text, file=file), file).spec()


class _Reader:
    """Makes the values of one document and gathers what is wrong with them."""

    def __init__(self, document: Document, file: str) -> None:
        self.document, self.file = document, file
        self.problems = list(document.problems)

    def spec(self) -> BuildSpec:
        root = self.document.value
        if not isinstance(root, dict):
            what = "is empty" if root is None else f"must be a mapping, not {_kind(root)}"
            self.problems.append((1, f"{what}; it begins with `function:`"))
            raise self.failure()
        self._unknown((), root, ("function", "layers", "prune", *PackingSpec.model_fields, "optional_libraries", "try"))
        function = self._model(FunctionSpec, ("function",), root["function"]) if "function" in root else None
        prune = self._model(PruneSpec, ("prune",), root["prune"]) if root.get("prune") is not None else PruneSpec()
        given = {key: root[key] for key in PackingSpec.model_fields if key in root}
        packing = self._model(PackingSpec, (), given) or PackingSpec()
        given = {key: root[key] for key in ("optional_libraries", "try") if key in root}
        checking = self._model(CheckingSpec, (), given) or CheckingSpec()
        dependencies, layers = self._layers(root)
        if not self.problems and function is None and not dependencies and not layers:
            self.problems.append((1, "builds nothing: it has neither function nor layers"))
        if self.problems:
            raise self.failure()
        return BuildSpec(
            file=self.file,
            function=function,
            dependencies=dependencies,
            layers=layers,
            prune=prune or PruneSpec(),
            bytecode=packing.bytecode,
            runtime_packages=packing.runtime_packages,
            trial=checking.trial,
            optional_libraries=checking.optional_libraries,
            lines={_label(at): line for at, line in self.document.lines.items()},
        )

    def failure(self) -> InvalidBuildFile:
        problems = [f"{self.file}:{line}: {text}" for line, text in sorted(dict.fromkeys(self.problems))]
        return _invalid(self.file, problems)

    def _layers(self, root: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[LayerSpec, ...]]:
        given = root.get("layers")
        if given is None:
            return (), ()
        if not isinstance(given, dict):
            self._say(("layers",), f"must be a mapping of names to layers, not {_kind(given)}")
            return (), ()
        dependencies: tuple[str, ...] = ()
        layers = []
        for name, value in given.items():
            at = ("layers", name)
            if name == "dependencies":
                holder = self._model(Dependencies, ("layers",), {"dependencies": value})
                dependencies = holder.dependencies if holder else ()
            elif name == "function" or not _LAYER_NAME.fullmatch(name):
                self._say(at, "a layer's name has 1 to 64 of A-Z a-z 0-9 _ - and is not `function`")
            elif not isinstance(value, dict):
                self._say(at, f"must be a mapping with `files` at least, not {_kind(value)}")
            else:
                layers.append(self._layer(name, value, root.get("function")))
        if len(given) > _MAX_LAYERS:
            self._say(("layers",), f"{len(given)} layers; Lambda allows {_MAX_LAYERS} on a function")
        return dependencies, tuple(layer for layer in layers if layer)

    def _layer(self, name: str, value: dict[str, object], function: object) -> LayerSpec | None:
        at = ("layers", name)
        if "name" in value:
            self._say((*at, "name"), "unknown key; the layer's name is the key above it")
            value = {key: item for key, item in value.items() if key != "name"}
        inherited = function.get("runtimes") if isinstance(function, dict) else None
        if inherited is None and "runtimes" not in value:
            self._say(at, "runtimes: missing, and there is no function to take them from")
            return None
        runtimes = value.get("runtimes", inherited)
        if "runtimes" not in value and self._broken(runtimes):
            runtimes = ["python3.13"]  # the function's own problem is enough
        return self._model(LayerSpec, at, {**value, "name": name, "runtimes": runtimes})

    @staticmethod
    def _broken(runtimes: object) -> bool:
        names = as_tuple(runtimes)
        return not isinstance(names, tuple) or not names or any(name not in RUNTIMES for name in map(str, names))

    def _model(self, model: type[M], at: Location, value: object) -> M | None:
        """`value` as a `model`; None after noting what is wrong with it."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
        # A mistyped key is one problem, not also a missing one.
        meant = {nearest(str(d["loc"][-1]), model.model_fields) for d in details if d["type"] == "extra_forbidden"}
        for detail in details:
            if detail["type"] != "missing" or f"; did you mean {detail['loc'][-1]}?" not in meant:
                self._explain(model, at, detail)
        return None

    def _explain(self, model: type[Spec], at: Location, detail: ErrorDetails) -> None:
        """Note one of pydantic's findings in our words."""
        where: Location = (*at, *(part for part in detail["loc"] if part != "[key]"))
        kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            known = [name for name in model.model_fields if (model, name) != (LayerSpec, "name")]
            self._unknown(at, {str(where[-1]): value}, known)
            return
        if kind == "missing":
            text = "missing" if model is not Dependencies else "is empty"
        elif kind == "value_error":
            text = str(context["error"])
        elif kind == "literal_error":
            text = f"must be {context['expected']}, not {self._typed(where, value)}"
        elif kind in ("greater_than_equal", "less_than_equal"):
            low, high = RANGES[str(where[-1])]
            text = f"must be from {low} to {high}, not {value}"
        elif kind == "string_too_long":
            text = f"is {len(str(value))} characters long; at most {context['max_length']}"
        elif kind in ("too_short", "string_too_short"):
            text = "is empty"
        elif kind == "string_pattern_mismatch":
            text = f"{self._typed(where, value)} must not contain blanks"
        elif kind == "too_long":
            text = f"has {context['actual_length']} entries; at most {context['max_length']}"
        else:
            text = self._wrong_type(kind, where, value)
        self._say(where, text)

    def _wrong_type(self, kind: str, where: Location, value: object) -> str:
        typed = self._typed(where, value)
        if value is None:
            return "is empty; give it a value or leave the key out"
        if kind == "string_type" and isinstance(value, bool | int | float):
            if "runtimes" in where and not isinstance(value, bool):
                return f"{typed} is read as a number; write the runtime's whole name, python{typed}"
            read_as = f"the number {value}" if not isinstance(value, bool) else str(value).lower()
            return f'{typed} is read as {read_as}, text is wanted; put it in quotes: "{typed}"'
        wanted = {
            "string_type": "text",
            "int_type": "a whole number",
            "tuple_type": "a list",
            "mapping_type": "a mapping (name: value)",
            "dict_type": "a mapping (name: value)",
            "model_type": "a mapping (key: value)",
        }.get(kind, "something else")
        shown = typed if isinstance(value, str | int | float) else _kind(value)
        return f"must be {wanted}, not {shown}"

    def _typed(self, where: Location, value: object) -> str:
        """A scalar as it stands in the file, text in quotes."""
        text = repr(value) if isinstance(value, str) else self.document.typed.get(where, str(value))
        return text if len(text) <= 80 else text[:77] + "..."

    def _unknown(self, at: Location, value: Mapping[str, object], known: Iterable[str]) -> None:
        known = list(known)
        for key in value:
            if key in known:
                continue
            where = (*at, key)
            if _label(where) in _LATER:
                self._say(where, "is not available in this version; leave it out")
            else:
                self._say(where, f"unknown key{nearest(key, known) or '; known are ' + ', '.join(known)}")

    def _say(self, at: Location, text: str) -> None:
        known = at
        while known and known not in self.document.lines:
            known = known[:-1]
        self.problems.append((self.document.lines.get(known, 1), f"{_label(at)}: {text}"))


def _label(at: Location) -> str:
    """A location for a message, keys as typed."""
    text = ".".join(str(part) for part in at)
    return text if text.isprintable() and len(text) <= 200 else repr(text[:200])


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else "text" if isinstance(value, str) else "a number"


def _invalid(file: str, problems: list[str]) -> InvalidBuildFile:
    if len(problems) == 1:
        message = problems[0]
    else:
        message = f"{file} has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    return InvalidBuildFile(message, hint="build.yaml.example describes every key", problems=problems)


# --- against the tree -----------------------------------------------------------------------------------------------


def check_against_tree(spec: BuildSpec, root: Path) -> None:
    """Compare what `spec` names with the project's directory `root`.

    What a layer's `preinstall` may still make is not looked for.

    Raises:
        InvalidBuildFile: files that are missing, a handler that is not among the files, paths that leave the project;
            every problem, each as `file:line: key: what is wrong`.
    """
    problems = [*_function_problems(spec, root), *_dependency_problems(spec, root)]
    for layer in spec.layers:
        label, made_later = f"layers.{layer.name}", bool(layer.preinstall)
        directory = list(_directory_problems(spec, root, label, layer.source_dir, must_exist=not made_later))
        problems += directory
        if not directory and not made_later:
            problems += _file_problems(spec, root, label, layer.source_dir, layer.files)
    if problems:
        raise _invalid(spec.file, problems)


def _function_problems(spec: BuildSpec, root: Path) -> Iterator[str]:
    function = spec.function
    if function is None:
        return
    directory = list(_directory_problems(spec, root, "function", function.source_dir, must_exist=True))
    if directory:
        yield from directory
        return
    missing = list(_file_problems(spec, root, "function", function.source_dir, function.files))
    yield from missing
    there = [
        entry
        for position, entry in enumerate(function.files)
        if not any(f"function.files.{position}:" in problem for problem in missing)
    ]
    if function.files and not there:
        return
    try:
        names = [name for name, _ in select_files(root, function.source_dir, there, function.exclude)]
    except LambdasmithError as error:
        if not missing:
            yield from (f"{spec.at('function.files')}: {problem}" for problem in error.problems or (error.message,))
        return
    if not names:
        yield f"{spec.at('function.exclude')}: takes away every file there is"
    elif problem := _handler_problem(function, names, root / function.source_dir, incomplete=bool(missing)):
        yield f"{spec.at('function.handler')}: {problem}"


def _handler_problem(function: FunctionSpec, names: list[str], base: Path, *, incomplete: bool) -> str | None:
    family = RUNTIMES[function.runtimes[0]].family
    module, _, attribute = function.handler.rpartition(".")
    if family == "provided":
        return None
    if family == "python":
        stem = module.replace(".", "/")
        wanted = [f"{stem}.py", f"{stem}/__init__.py"]
        suffix = ".py"
    else:
        wanted = [f"{module}{ending}" for ending in (".js", ".mjs", ".cjs")]
        suffix = ".js"
    if set(wanted) & set(names):
        return None
    on_disk = [name for name in wanted if (base / name).is_file()]
    if on_disk:
        return f"{function.handler!r} is in {on_disk[0]}, which is not among the files; add it to function.files"
    if incomplete:
        return None  # it may well be one of the missing ones: one problem is enough
    modules = [name.removesuffix(suffix).removesuffix("/__init__") for name in names if name.endswith(suffix)]
    near = difflib.get_close_matches(wanted[0].removesuffix(suffix), modules, n=1)
    meant = f"; did you mean {near[0].replace('/', '.')}.{attribute}?" if near else ""
    return f"{function.handler!r} needs the file {wanted[0]}, which does not exist{meant}"


def _dependency_problems(spec: BuildSpec, root: Path) -> Iterator[str]:
    for position, entry in enumerate(spec.dependencies):
        label = f"layers.dependencies.{position}" if _listed(spec) else "layers.dependencies"
        try:
            name, _, _ = split_entry(entry)
            path = root / name
            directory_in(root, name)
        except LambdasmithError as error:
            yield f"{spec.at(label)}: {error.message}"
            continue
        if path.is_file():
            continue
        near = nearest_path(root, name)
        meant = f"; did you mean {near}?" if near else "; name files such as requirements.txt, not packages"
        yield f"{spec.at(label)}: {name!r} {'is a directory' if path.is_dir() else 'does not exist'}{meant}"


def _listed(spec: BuildSpec) -> bool:
    return "layers.dependencies.0" in spec.lines


def _directory_problems(spec: BuildSpec, root: Path, label: str, source_dir: str, *, must_exist: bool) -> Iterator[str]:
    where = spec.at(f"{label}.source_dir")
    try:
        base = directory_in(root, source_dir)
    except LambdasmithError as error:
        yield f"{where}: {error.message}"
        return
    if must_exist and not base.is_dir():
        near = nearest_path(root, source_dir)
        yield f"{where}: {source_dir!r} is not a directory" + (f"; did you mean {near}?" if near else "")


def _file_problems(spec: BuildSpec, root: Path, label: str, source_dir: str, files: Iterable[str]) -> Iterator[str]:
    """One problem for each entry that selects nothing, or something that must not be packaged."""
    for position, entry in enumerate(files):
        key = f"{label}.files.{position}"
        where = spec.at(key if key in spec.lines else f"{label}.files")
        try:
            select_files(root, source_dir, (entry,), ())
        except LambdasmithError as error:
            yield from (f"{where}: {problem}" for problem in error.problems or (error.message,))
