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
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from builder.document import Document, Location, read_document
from builder.errors import InvalidBuildFile, LambdasmithError
from builder.runtimes import RUNTIMES
from builder.sources.local import directory_in, missing_entry, nearest_path, select_files
from builder.sources.paths import path_problem

NAMES = ("build.yaml", "build.yml", "build.json")

_LATER = {
    "function": ("build", "native_libraries"),
    "": ("runtime_packages",),
}
_MAX_LAYERS = 5
_LAYER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
# What Lambda sets itself and refuses to be given.
_RESERVED = frozenset(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME "
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE "
    "AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR".split()
)


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise ValueError(f"{name!r} is not a runtime we know{_nearest(name, RUNTIMES)}")
    return name


def _relative(path: str) -> str:
    if problem := path_problem(path):
        raise ValueError(problem)
    return path


def _role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise ValueError(f"{value!r} is not a role's ARN (arn:aws:iam::123456789012:role/NAME)")
    return value


Text = Annotated[str, StringConstraints(min_length=1)]
Runtimes = Annotated[tuple[Annotated[str, AfterValidator(_runtime)], ...], BeforeValidator(_as_tuple)]
Paths = Annotated[tuple[Annotated[Text, AfterValidator(_relative)], ...], BeforeValidator(_as_tuple)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)]
RelativePath = Annotated[str, AfterValidator(_relative)]
Description = Annotated[str, StringConstraints(max_length=256)]
License = Annotated[str, StringConstraints(max_length=512)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FunctionSpec(_Spec):
    """The function itself. `memory` and `ephemeral_storage` in MB, `timeout` in seconds; None: leave it as it is.

    `runtimes[0]` is the function's, all go on the layers as compatible. `files` empty: everything below `source_dir`.
    """

    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    handler: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^\S+$")]
    files: Paths = ()
    source_dir: RelativePath = "."
    exclude: Paths = ()
    architecture: Literal["x86_64", "arm64"] | None = None
    role: Annotated[str, AfterValidator(_role)] | None = None
    memory: Annotated[int, Field(ge=128, le=10240)] | None = None
    timeout: Annotated[int, Field(ge=1, le=900)] | None = None
    environment: Mapping[str, str] | None = None
    description: Description | None = None
    tags: Mapping[str, str] | None = None
    ephemeral_storage: Annotated[int, Field(ge=512, le=10240)] | None = None
    license: License | None = None

    @field_validator("environment")
    @classmethod
    def _environment(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        wrong = [name for name in value or {} if not _VARIABLE.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a name of a variable (a letter, then letters, digits and _)")
        reserved = sorted(_RESERVED.intersection(value or {}))
        if reserved:
            raise ValueError(f"{', '.join(reserved)}: Lambda sets that itself and does not let you")
        size = sum(len(name.encode()) + len(text.encode()) for name, text in (value or {}).items())
        if size > 4096:
            raise ValueError(f"takes {size:,} bytes; Lambda allows 4,096 for all variables together")
        return value

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        for name, text in (value or {}).items():
            if not 1 <= len(name) <= 128 or len(text) > 256 or name.lower().startswith("aws:"):
                raise ValueError(
                    f"{name!r}: a tag has a name of 1 to 128 characters that does not begin with aws:, "
                    "and at most 256 characters"
                )
        if len(value or {}) > 50:
            raise ValueError(f"{len(value or {})} tags; AWS allows 50")
        return value

    @field_validator("handler")
    @classmethod
    def _handler(cls, value: str) -> str:
        # Python and Node split at the last dot; provided runtimes may call it what they like.
        module, dot, function = value.rpartition(".")
        if not dot or not function or not all(re.split(r"[./]", module)):
            raise ValueError(f"{value!r} must be FILE.FUNCTION, for example lambda_function.lambda_handler")
        return value


class LayerSpec(_Spec):
    """A named layer: run `preinstall` in a copy of `source_dir`, then zip `files` of it below `dest_dir`."""

    name: str
    description: Description | None = None
    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    license: License | None = None
    preinstall: Texts = ()
    files: Annotated[Paths, Field(min_length=1)]
    source_dir: RelativePath = "."
    dest_dir: RelativePath = ""


class PruneSpec(_Spec):
    """Rules of the pruner not to apply, by id, and patterns of files that none of them may take."""

    disable: Texts = ()
    keep: Texts = ()


class BuildSpec(_Spec):
    """A whole build file. `layers` are in the file's order, without `dependencies`.

    `file` is the name it was read by, `lines` where things stand in it ("function.files.0" → 7), for messages.
    """

    file: str
    function: FunctionSpec | None
    dependencies: Paths = ()
    layers: tuple[LayerSpec, ...] = ()
    prune: PruneSpec = PruneSpec()
    lines: Mapping[str, int] = Field(default={}, repr=False)

    def at(self, label: str) -> str:
        """`file:line: label`, the beginning of a message."""
        return f"{self.file}:{self.lines.get(label, 1)}: {label}"


def find_build_file(names: Collection[str], wanted: str | None) -> str:
    """Which of the `names` in a project's directory is its build file: `wanted`, or the only one with a usual name.

    Raises:
        InvalidBuildFile: there is none, or there are several.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        near = _nearest(wanted, [name for name in names if name.endswith((".yaml", ".yml", ".json"))])
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
        self._unknown((), root, ("function", "layers", "prune"))
        function = self._model(FunctionSpec, ("function",), root["function"]) if "function" in root else None
        prune = self._model(PruneSpec, ("prune",), root["prune"]) if root.get("prune") is not None else PruneSpec()
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
                holder = self._model(_Dependencies, ("layers",), {"dependencies": value})
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
        names = _as_tuple(runtimes)
        return not isinstance(names, tuple) or not names or any(name not in RUNTIMES for name in map(str, names))

    def _model[M: _Spec](self, model: type[M], at: Location, value: object) -> M | None:
        raise NotImplementedError

    def _unknown(self, at: Location, value: Mapping[str, object], known: Iterable[str]) -> None:
        raise NotImplementedError

    def _say(self, at: Location, text: str) -> None:
        raise NotImplementedError
