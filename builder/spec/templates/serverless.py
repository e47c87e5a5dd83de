"""Reads the functions and layers of a serverless.yml as the document of a build file.

https://www.serverless.com/framework/docs/providers/aws/guide/packaging
https://www.serverless.com/framework/docs/guides/variables

What it says beyond packages (events, resources, roles) is the Serverless Framework's, and plugins are not run: they are
named in notes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from builder.spec.document import Document, Location, mapping_of, texts_of
from builder.spec.templates.reading import Template
from builder.spec.templates.values import Unresolved

# What the framework itself leaves out, besides git's own files; and what is here to build.
_LEFT_OUT = (
    "deploy.sh",
    "deploy.log",
    ".serverless",
    ".serverless_plugins",
    ".gitignore",
    ".DS_Store",
    "npm-debug.log",
    ".env",
    ".env.*",
)
_EVERYTHING = ("**", "*/**", "**/*", "*")
_BUILT = ("python", "nodejs", "provided")
# What it does is done here as well.
_DONE_HERE = "serverless-python-requirements"
_HOLE = re.compile(r"\$\{([^${}]*)\}")
_DEEPEST = 20


def is_serverless(value: object) -> bool:
    """Tell whether a document is a serverless.yml with functions."""
    return isinstance(value, dict) and {"service", "provider", "functions"} <= value.keys()


def build_file_of(document: Document, file: str, stage: str) -> tuple[Document, Template]:
    """Return a serverless.yml at a stage as the document of a build file, whose parts know their places in it."""
    template = _Reading(document, file, stage).read()
    stages: dict[str, object] = {"stages": {stage: {}}} if stage else {}
    return template.document(document, **stages), template


class _Reading:
    def __init__(self, document: Document, file: str, stage: str) -> None:
        self._root = mapping_of(document.value)
        self._provider = mapping_of(self._root.get("provider"))
        self._file, self._template = file, Template(kind="serverless")
        self._stage = stage or self._default_stage()

    def _default_stage(self) -> str:
        named = self._provider.get("stage")
        return named if isinstance(named, str) and "${" not in named else "dev"

    def read(self) -> Template:
        for name in texts_of(self._root.get("plugins")):
            if name != _DONE_HERE:
                self._template.left[f"plugin {name}"] = "plugins are not run here"
        for name, layer in mapping_of(self._root.get("layers")).items():
            self._layer(name, mapping_of(layer))
        for name, function in mapping_of(self._root.get("functions")).items():
            self._function(name, mapping_of(function))
        used = {layer for function in self._template.functions.values() for layer in texts_of(function["layers"])}
        for name in [name for name in self._template.layers if name not in used]:
            del self._template.layers[name]
            self._template.left[name] = "no function that is built here has it"
        return self._template

    def _function(self, name: str, given: Mapping[str, object]) -> None:
        at: Location = ("functions", name)
        package, common = mapping_of(given.get("package")), mapping_of(self._root.get("package"))
        runtime_at: Location = (*at, "runtime") if "runtime" in given else ("provider", "runtime")
        runtime = self._text(given.get("runtime", self._provider.get("runtime")), runtime_at)
        why = _left(given, package, runtime)
        if why is not None:
            self._template.left[name] = why
            return
        files, exclude = self._patterns(
            [*texts_of(common.get("patterns")), *texts_of(package.get("patterns"))], (*at, "package", "patterns")
        )
        function: dict[str, object] = {
            "runtimes": [runtime],
            "exclude": [self._file, *_LEFT_OUT, *exclude],
            "layers": self._layers_of(given, at),
        }
        if files:
            function["files"] = files
        places = {"runtimes": runtime_at, "files": (*at, "package", "patterns"), "layers": (*at, "layers")}
        if "handler" in given and not runtime.startswith("provided"):
            function["handler"] = self._text(given["handler"], (*at, "handler"))
            places["handler"] = (*at, "handler")
        architecture = given.get("architecture", self._provider.get("architecture"))
        if architecture is not None:
            function["architecture"] = self._text(architecture, (*at, "architecture"))
            places["architecture"] = (*at, "architecture") if "architecture" in given else ("provider", "architecture")
        variables = {**mapping_of(self._provider.get("environment")), **mapping_of(given.get("environment"))}
        if variables:
            # For the trial of the handler alone: values that the framework knows later are named, not known.
            function["environment"] = {key: self._text_or_name(value) for key, value in variables.items()}
            places["environment"] = (*at, "environment") if "environment" in given else ("provider", "environment")
        self._template.places["functions", name] = at
        self._template.places |= {("functions", name, key): place for key, place in places.items()}
        self._template.functions[name] = function

    def _patterns(self, patterns: Sequence[str], at: Location) -> tuple[list[str], list[str]]:
        """Return what patterns include and leave out; the later ones win, and everything is included at first."""
        files: list[str] = []
        exclude: list[str] = []
        everything = True
        for pattern in patterns:
            bare = pattern.removeprefix("!").removeprefix("./")
            if pattern.startswith("!") and bare in _EVERYTHING:
                files, exclude, everything = [], [], False
            elif pattern.startswith("!"):
                exclude.append(_directory(bare))
            elif not everything and not exclude:
                files.append(_directory(bare))
            elif exclude:
                self._say(
                    at, f"{pattern!r} brings back what an earlier pattern leaves out; list what belongs, after '!**'"
                )
        if not everything and not files:
            self._say(at, "leave everything out; list what belongs, after '!**'")
        return files, exclude

    def _layers_of(self, given: Mapping[str, object], at: Location) -> list[str]:
        named = given.get("layers", self._provider.get("layers"))
        layers: list[str] = []
        for layer in named if isinstance(named, list) else []:
            ref = layer.get("Ref") if isinstance(layer, dict) else None
            own = next((name for name in self._template.layers if _logical(name) == ref), None)
            if own:
                layers.append(own)
            elif isinstance(layer, str):
                text = self._text_or_name(layer)
                layers += [text] if text.startswith("arn:") else []
        return layers

    def _layer(self, name: str, given: Mapping[str, object]) -> None:
        at: Location = ("layers", name)
        if "artifact" in mapping_of(given.get("package")):
            self._template.left[name] = "it is a zip already"
            return
        files, exclude = self._patterns(
            texts_of(mapping_of(given.get("package")).get("patterns")), (*at, "package", "patterns")
        )
        if exclude:
            self._say((*at, "package", "patterns"), "of a layer, list what belongs, after '!**'")
        path = posixpath.normpath(self._text(given.get("path", "."), (*at, "path")))
        self._template.layers[name] = {"source_dir": path, "files": files or ["**"]}
        self._template.places["layers", name] = at
        self._template.places["layers", name, "source_dir"] = (*at, "path")

    # --- variables

    def _text(self, value: object, at: Location) -> str:
        try:
            return self._resolved(value, 0)
        except Unresolved as error:
            self._say(at, str(error))
            return ""

    def _text_or_name(self, value: object) -> str:
        try:
            return self._resolved(value, 0)
        except Unresolved:
            return _HOLE.sub(lambda hole: hole[1], value) if isinstance(value, str) else "unknown"

    def _resolved(self, value: object, depth: int) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if not isinstance(value, str | int | float):
            raise Unresolved("must be text" if value is not None else "is missing")
        text = str(value)
        while (hole := _HOLE.search(text)) is not None:
            if depth > _DEEPEST:
                raise Unresolved(f"{value}: the variables lead to each other")
            depth += 1
            text = text[: hole.start()] + self._variable(hole[1], depth) + text[hole.end() :]
        return text

    def _variable(self, said: str, depth: int) -> str:
        sources = [source.strip() for source in said.split(",")]
        for source in sources:
            quoted = re.fullmatch(r"'([^']*)'|\"([^\"]*)\"", source)
            if quoted:
                return quoted[1] or quoted[2] or ""
            if source in ("opt:stage", "sls:stage", "self:provider.stage"):
                return self._stage
            if source.startswith("self:"):
                found: object = self._root
                for key in source.removeprefix("self:").split("."):
                    found = mapping_of(found).get(key)
                if found is not None:
                    return self._resolved(found, depth)
        raise Unresolved(f"${{{said}}} is known to the Serverless Framework alone, and the build needs it")

    def _say(self, at: Location, text: str) -> None:
        self._template.problems.append((at, text))


def _left(given: Mapping[str, object], package: Mapping[str, object], runtime: str) -> str | None:
    """Say why a function needs no build; None if it does."""
    if "image" in given:
        return "it is a container image"
    if "artifact" in package:
        return "it is a zip already"
    if runtime and not runtime.startswith(_BUILT):
        return f"{runtime} is not built here"
    return None


def _directory(pattern: str) -> str:
    """Return a pattern as build files write it: a directory stands for all below it."""
    return pattern.removesuffix("/**") or pattern


def _logical(layer: str) -> str:
    """Return the name that the framework gives to a layer's resource."""
    return f"{layer[:1].upper()}{layer[1:]}LambdaLayer"
