"""Reads the build file, in which a project describes itself, as frozen values.

    function:
      runtimes: [python3.13]
      handler: lambda_function.lambda_handler
      files: [lambda_function.py, templates/]
    layers:
      dependencies: [requirements.txt]

Only the text is judged here; `builder.spec.tree` compares the files that it names with those that exist.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from builder.errors import InvalidBuildFile
from builder.nearest import alike, meant, nearest
from builder.runtimes import RUNTIMES
from builder.sources.excludes import BUILD_FILES
from builder.spec.accepted import RANGES, layer_arn
from builder.spec.base import Placed, SecretSpec, Spec, as_tuple
from builder.spec.builds import chosen
from builder.spec.document import Document, Location
from builder.spec.lambda_names import Finding, configuration_findings, cors_findings
from builder.spec.values import (
    DEFAULT_HANDLER,
    BuildSpec,
    CheckingSpec,
    Dependencies,
    FunctionSpec,
    KeepingSpec,
    LayerArn,
    LayerSpec,
    PackingSpec,
    PruneSpec,
    UrlSpec,
    invalid,
)

__all__ = [
    "BuildSpec",
    "FunctionSpec",
    "LayerArn",
    "LayerSpec",
    "PruneSpec",
    "find_build_file",
]

M = TypeVar("M", bound=Spec)

NAMES = BUILD_FILES
TEMPLATES = (
    *("template.yaml", "template.yml", "template.json"),
    *("serverless.yml", "serverless.yaml", "serverless.json"),
)

_CHECKING = ("optional_libraries", "try")
# Keys beside `function`: of several functions all share them.
SHARED = ("layers", "prune", "keep", *PackingSpec.model_fields, *_CHECKING)
# Lambda's quota per function.
MAX_LAYERS = 5
# Keys whose values have keys of their own.
_NESTED: Mapping[str | int, type[Spec]] = {"secrets": SecretSpec, "url": UrlSpec}
LAYER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def find_build_file(names: Collection[str], wanted: str | None) -> str:
    """Return which of the `names` in a project's directory is its build file: `wanted`, or the only usual name.

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
    # A template says the same of its functions; whether it has some is seen when it is read.
    present = present or [name for name in TEMPLATES if name in names][:1]
    if not present:
        similar = [match for name in NAMES for match in alike(name, names, cutoff=0.8)]
        raise InvalidBuildFile(
            f"there is no build file: looked for {', '.join(NAMES)}{meant(similar[:1])}",
            hint="copy build.yaml.example to build.yaml and commit it; if the project is in a sub-directory, give path",
        )
    if len(present) > 1:
        raise InvalidBuildFile(
            f"there are several build files: {' and '.join(present)}", hint="remove all but one, or give build_file"
        )
    return present[0]


def failure(file: str, problems: Iterable[tuple[int, str]]) -> InvalidBuildFile:
    """Return the error with all problems, each with its line."""
    return invalid(file, [f"{file}:{line}: {text}" for line, text in sorted(dict.fromkeys(problems))])


class Reader:
    """Makes the values of one document and collects its problems.

    `also` are keys of a function that are known, but read by someone else.
    """

    def __init__(self, document: Document, file: str, *, also: Iterable[str] = ()) -> None:
        self.document, self.file, self.also = document, file, tuple(also)
        self.problems = list(document.problems)

    def read(self) -> BuildSpec | None:
        """Return the build file as a value; None after noting its problems."""
        root = self.document.value
        if not isinstance(root, dict):
            what = "is empty" if root is None else f"must be a mapping, not {_kind(root)}"
            self.problems.append((1, f"{what}; it begins with `function:`"))
            return None
        self.unknown((), root, ("function", *SHARED))
        function = self._function(root["function"]) if "function" in root else None
        prune = self.model(PruneSpec, ("prune",), root["prune"]) if root.get("prune") is not None else PruneSpec()
        given = {key: root[key] for key in PackingSpec.model_fields if key in root}
        packing = self.model(PackingSpec, (), given) or PackingSpec()
        given = {key: root[key] for key in _CHECKING if key in root}
        checking = self.model(CheckingSpec, (), given) or CheckingSpec()
        keeping = self.model(KeepingSpec, (), {"keep": root["keep"]}) if "keep" in root else KeepingSpec()
        self._lambdas_own(root.get("function"))
        dependencies, layers, foreign = self._layers(root)
        order = self._layer_order(root.get("layers"), dependencies, foreign)
        if not self.problems and function is None and not dependencies and not layers:
            self.problems.append((1, "builds nothing: it has neither function nor layers"))
        if self.problems:
            return None
        return BuildSpec(
            file=self.file,
            function=function,
            dependencies=dependencies,
            layers=layers,
            layer_order=order,
            keep=keeping.keep if keeping else None,
            prune=prune or PruneSpec(),
            bytecode=packing.bytecode,
            runtime_packages=packing.runtime_packages,
            trial=checking.trial,
            optional_libraries=checking.optional_libraries,
            lines={_label(at): line for at, line in self.document.lines.items()},
            places={_label(at): _label(place) for at, place in self.document.places.items()},
        )

    def _function(self, value: object) -> FunctionSpec | None:
        at = ("function",)
        if isinstance(value, dict):
            runtimes = as_tuple(value.get("runtimes"))
            first = str(runtimes[0]) if isinstance(runtimes, tuple) and runtimes else ""
            # Lambda wants a handler, which only the bootstrap ever sees. go1.x is reported as retired, and as no more.
            if ("handler" not in value and first.startswith("provided")) or first == "go1.x":
                value = {**value, "handler": "bootstrap" if first != "go1.x" else "main.handler"}
            elif "handler" not in value and first.startswith("python") and value.get("build") in (None, "none"):
                value = {**value, "handler": DEFAULT_HANDLER}  # whether that file exists is checked against the tree
            value = self._with_build(at, self._with_places(at, value))
        return self.model(FunctionSpec, at, value)

    def _with_places(self, at: Location, value: Mapping[str, object]) -> dict[str, object]:
        """Return the mapping with values in the place of the `files` that are mappings; notes what is wrong."""
        files = value.get("files")
        if not isinstance(files, list):
            return dict(value)
        read = [
            (self.model(Placed, (*at, "files", position), entry) or ".") if isinstance(entry, dict) else entry
            for position, entry in enumerate(files)
        ]
        return {**value, "files": read}

    def _with_build(self, at: Location, value: Mapping[str, object]) -> dict[str, object]:
        """Return the mapping with the recipe in the place of `build`; without it, after noting what is wrong."""
        if value.get("build") is None:
            return dict(value)
        rest = {key: item for key, item in value.items() if key != "build"}
        try:
            model, given, below = chosen(value["build"])
        except ValueError as error:
            self.say((*at, "build"), str(error))
            return rest
        recipe = self.model(model, (*at, "build", below) if below else (*at, "build"), given)
        return {**rest, "build": recipe} if recipe else rest

    def _layers(
        self, root: Mapping[str, object]
    ) -> tuple[tuple[str, ...], tuple[LayerSpec, ...], Mapping[str, LayerArn]]:
        """Return the files of `dependencies`, the named layers that are built, and by name those from elsewhere."""
        given = root.get("layers")
        if given is None:
            return (), (), {}
        if not isinstance(given, dict):
            self.say(("layers",), f"must be a mapping of names to layers, not {_kind(given)}")
            return (), (), {}
        dependencies: tuple[str, ...] = ()
        layers = []
        foreign: dict[str, LayerArn] = {}
        for name, value in given.items():
            at = ("layers", name)
            if name == "dependencies" and isinstance(value, str) and value.startswith("arn:"):
                self.say(at, "names files such as requirements.txt; give a layer from elsewhere another name")
            elif name == "dependencies":
                holder = self.model(Dependencies, ("layers",), {"dependencies": value})
                dependencies = holder.dependencies if holder else ()
            elif name == "function" or not LAYER_NAME.fullmatch(name):
                self.say(at, "a layer's name has 1 to 64 of A-Z a-z 0-9 _ - and is not `function`")
            elif isinstance(value, str):
                self._foreign_layer(name, value, foreign)
            elif not isinstance(value, dict):
                self.say(at, f"must be a mapping with `files` at least, or the ARN of a layer, not {_kind(value)}")
            else:
                layers.append(self._layer(name, value, root.get("function")))
        if len(given) > MAX_LAYERS:
            self.say(("layers",), f"{len(given)} layers; Lambda allows {MAX_LAYERS} on a function")
        return dependencies, tuple(layer for layer in layers if layer), foreign

    def _foreign_layer(self, name: str, arn: str, foreign: dict[str, LayerArn]) -> None:
        try:
            layer = LayerArn(name=name, arn=layer_arn(arn))
        except ValueError as error:
            self.say(("layers", name), str(error))
            return
        twin = next((other.name for other in foreign.values() if other.layer == layer.layer), None)
        if twin:
            self.say(("layers", name), f"is the same layer as {twin}; a function can have only one version of it")
        foreign[name] = layer

    @staticmethod
    def _layer_order(
        given: object, dependencies: tuple[str, ...], foreign: Mapping[str, LayerArn]
    ) -> tuple[str | LayerArn, ...]:
        names = given if isinstance(given, dict) else {}
        return tuple(foreign.get(name, name) for name in names if name != "dependencies" or dependencies)

    def _lambdas_own(self, function: object) -> None:
        """Note problems of settings in Lambda's own names."""
        if not isinstance(function, dict):
            return
        if isinstance(function.get("configuration"), dict):
            for finding in configuration_findings(function["configuration"]):
                self._found(("function", "configuration"), finding)
        url = function.get("url")
        if isinstance(url, dict) and isinstance(url.get("cors"), dict):
            for finding in cors_findings(url["cors"]):
                self._found(("function", "url", "cors"), finding)

    def _found(self, at: Location, finding: Finding) -> None:
        where = (*at, *finding.at)
        self.say(where, finding.text or self._wrong_type(finding.kind, where, finding.value))

    def _layer(self, name: str, value: dict[str, object], function: object) -> LayerSpec | None:
        at = ("layers", name)
        if "name" in value:
            self.say((*at, "name"), "unknown key; the layer's name is the key above it")
            value = {key: item for key, item in value.items() if key != "name"}
        inherited = function.get("runtimes") if isinstance(function, dict) else None
        if inherited is None and "runtimes" not in value:
            self.say(at, "runtimes: missing, and there is no function to take them from")
            return None
        runtimes = value.get("runtimes", inherited)
        if "runtimes" not in value and self._broken(runtimes):
            runtimes = ["python3.13"]  # the function's own problem is enough
        value = self._with_places(at, value)
        if value.get("build") is not None:
            value = self._with_build(at, value)
            if "build" not in value and "files" not in value:
                return None  # its own problem is enough
        elif "files" not in value:
            self.say((*at, "files"), "missing; list the layer's files, or set build")
            return None
        return self.model(LayerSpec, at, {**value, "name": name, "runtimes": runtimes})

    @staticmethod
    def _broken(runtimes: object) -> bool:
        names = as_tuple(runtimes)
        return not isinstance(names, tuple) or not names or any(name not in RUNTIMES for name in map(str, names))

    def model(self, model: type[M], at: Location, value: object) -> M | None:
        """Parse `value` as a `model`; return None after noting its problems."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
        # A mistyped key is one problem, and not also a missing key.
        typed = [str(detail["loc"][-1]) for detail in details if detail["type"] == "extra_forbidden"]
        intended = {match for name in typed for match in alike(name, model.model_fields)}
        for detail in details:
            if detail["type"] != "missing" or str(detail["loc"][-1]) not in intended:
                self._explain(model, at, detail)
        return None

    def _explain(self, model: type[Spec], at: Location, detail: ErrorDetails) -> None:
        """Note one of pydantic's findings in our words."""
        where: Location = (*at, *(part for part in detail["loc"] if part != "[key]"))
        kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
        if kind == "extra_forbidden":
            holder = next((_NESTED[part] for part in detail["loc"][:-1] if part in _NESTED), model)
            fields = holder.model_fields.items()
            known = [field.alias or name for name, field in fields if (holder, name) != (LayerSpec, "name")]
            known += self.also if holder is FunctionSpec else ()
            self.unknown(where[:-1], {str(where[-1]): value}, known)
            return
        if kind == "missing":
            text = "missing" if model is not Dependencies else "is empty"
        elif kind == "value_error":
            text = str(context["error"])
        elif kind == "literal_error":
            text = f"must be {context['expected']}, not {self._typed(where, value)}"
        elif kind in ("greater_than_equal", "less_than_equal"):
            low, high = RANGES.get(str(where[-1]), (context.get("ge"), None))
            text = f"must be from {low} to {high}, not {value}" if high else f"must be at least {low}, not {value}"
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
        self.say(where, text)

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
            "float_type": "a number",
            "bool_type": "true or false",
            "tuple_type": "a list",
            "mapping_type": "a mapping (name: value)",
            "dict_type": "a mapping (name: value)",
            "model_type": "a mapping (key: value)",
        }.get(kind, "something else")
        shown = typed if isinstance(value, str | int | float) else _kind(value)
        return f"must be {wanted}, not {shown}"

    def _typed(self, where: Location, value: object) -> str:
        """Return a scalar as written in the file, text in quotes."""
        text = repr(value) if isinstance(value, str) else self.document.typed.get(where, str(value))
        return text if len(text) <= 80 else text[:77] + "..."

    def unknown(self, at: Location, value: Mapping[str, object], known: Iterable[str]) -> None:
        """Note the keys of a mapping that are not known."""
        known = list(known)
        for key in value:
            if key in known:
                continue
            self.say((*at, key), f"unknown key{nearest(key, known) or '; known are ' + ', '.join(known)}")

    def say(self, at: Location, text: str) -> None:
        """Note a problem of what is there."""
        self.problems.append((self.document.line(at), f"{self.document.label(at)}: {text}"))


def _label(at: Location) -> str:
    """Return a location as one text, by which `BuildSpec` finds its line."""
    return ".".join(str(part) for part in at)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else "text" if isinstance(value, str) else "a number"
