"""Reads the functions and layers of a SAM or CloudFormation template as the document of a build file.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html

What a template says beyond the build (events, policies, other resources) is CloudFormation's, and stays as it is. So do
functions that need no build: their code is in the template, in S3 or in an image.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from builder.nearest import nearest
from builder.spec.document import Document, Location, mapping_of, texts_of
from builder.spec.templates.values import Unresolved, Values

FUNCTIONS = {"AWS::Serverless::Function": "CodeUri", "AWS::Lambda::Function": "Code"}
LAYERS = {"AWS::Serverless::LayerVersion": "ContentUri", "AWS::Lambda::LayerVersion": "Content"}
"""Types of resources that have code, with the property that says where it is."""

# Runtimes that are built here; with any other the code stays where it is.
_BUILT = ("python", "nodejs", "provided")
_BUILT_BY = re.compile(r"python\d.*|python-uv|nodejs.*|esbuild|go.*|makefile")
# Where a makefile's target leaves its files: below the copy that it runs in.
_ARTIFACTS = "lambdasmith-artifacts"
# A layer's version whose every part is known here.
_ARN = re.compile(r"arn:[a-z-]+:lambda:[^:{}$]+:[^:{}$]+:layer:[^:{}$]+:[0-9]+")
# SAM's names of esbuild's options, and ours.
_ESBUILD = {"External": "external", "Minify": "minify", "Sourcemap": "sourcemap"}


@dataclass(kw_only=True)
class Template:
    """The functions and layers of a template, or of another tool's file, that are built, and what is left as it is.

    `places` are locations in the template by those in the build file; `left` are reasons by logical id. `packages` are
    layers that are made of a requirements file or a lock, with that file. `uv` are functions that uv builds in SAM.
    """

    kind: Literal["cloudformation", "serverless"] = "cloudformation"
    functions: dict[str, dict[str, object]] = field(default_factory=dict)
    layers: dict[str, dict[str, object]] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    uv: set[str] = field(default_factory=set)
    places: dict[Location, Location] = field(default_factory=dict)
    problems: list[tuple[Location, str]] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is not built."""
        return tuple(f"{name} is left as it is: {why}" for name, why in self.left.items())

    @property
    def layers_with_code(self) -> dict[str, str]:
        """Layers that may have files of their own beside the requirements that are named; neither has to be there."""
        return {name: file for name, file in self.packages.items() if name in self.layers}

    def document(self, source: Document, **more: object) -> Document:
        """Return the document of a build file with these functions and layers, whose parts know their places.

        Args:
            source: what the template was read from. more: other members of the build file.
        """
        layers = {"layers": self.layers} if self.layers else {}
        problems = ((source.line(at), f"{'.'.join(map(str, at))}: {text}") for at, text in self.problems)
        return Document(
            value={"functions": self.functions, **layers, **more},
            lines={at: source.line(place) for at, place in self.places.items()},
            typed={},
            problems=tuple(problems),
            places=self.places,
        )

    def own_files(self, function: str) -> tuple[str, ...]:
        """Return names of files beside a function's code of which the first that exists says what it needs."""
        return ("uv.lock", "pyproject.toml", "requirements.txt") if function in self.uv else ("requirements.txt",)


def is_template(value: object) -> bool:
    """Tell whether a document is a template with a function."""
    return any(each.get("Type") in FUNCTIONS for each in resources_of(value).values())


def resources_of(value: object) -> Mapping[str, Mapping[str, object]]:
    """Return the resources of a template by logical id; none of anything else."""
    found = value.get("Resources") if isinstance(value, dict) else None
    return {key: item for key, item in mapping_of(found).items() if isinstance(item, dict)}


def build_file_of(document: Document, parameters: Mapping[str, str] | None = None) -> tuple[Document, Template]:
    """Return the template as the document of a build file, whose parts know their places in the template.

    Args:
        parameters: values of the template's parameters, instead of their defaults.
    """
    template = _Reading(document, parameters or {}).read()
    return template.document(document), template


class _Reading:
    def __init__(self, document: Document, parameters: Mapping[str, str]) -> None:
        root = document.value if isinstance(document.value, dict) else {}
        self._all, self._resources = mapping_of(root.get("Resources")), resources_of(root)
        self._globals = mapping_of(mapping_of(root.get("Globals")).get("Function"))
        self._given, self._values = parameters, Values(root, parameters)
        self._template = Template()

    def read(self) -> Template:
        for name in self._given:
            if name not in self._values.parameters:
                self._say(("Parameters",), f"there is no {name}{nearest(name, self._values.parameters)}")
            elif self._values.is_secret(name):
                self._say(("Parameters", name), "is a secret (NoEcho), and a build does not read it; leave it out")
        for name, resource in self._resources.items():
            if resource.get("Type") in LAYERS:
                self._layer(name, resource)
        for name, resource in self._resources.items():
            if resource.get("Type") in FUNCTIONS:
                self._function(name, resource)
            elif resource.get("Type") == "AWS::Serverless::Application" and _is_file(resource):
                self._template.left[name] = "its functions are in another template: build that one by itself"
        for name, item in self._all.items():
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html
            if name.startswith("Fn::ForEach::") and any(kind in repr(item) for kind in FUNCTIONS):
                self._template.left[name] = "only CloudFormation knows its functions; write them one by one"
        used = {layer for function in self._template.functions.values() for layer in texts_of(function["layers"])}
        for name in [name for name in self._template.layers if name not in used]:
            # It has no function here that would say for which runtime it is made.
            del self._template.layers[name]
            self._template.packages.pop(name, None)
            self._template.left[name] = "no function that is built here has it"
        return self._template

    # --- functions

    def _function(self, name: str, resource: Mapping[str, object]) -> None:
        at: Location = ("Resources", name)
        serverless = resource.get("Type") == "AWS::Serverless::Function"
        own, common = mapping_of(resource.get("Properties")), self._globals if serverless else {}
        given = {key: (own if key in own else common).get(key) for key in {*own, *common}}
        places = {key: (*at, "Properties", key) if key in own else ("Globals", "Function", key) for key in given}
        key = FUNCTIONS[str(resource["Type"])]
        metadata = mapping_of(resource.get("Metadata"))
        runtime = self._text(given, "Runtime", places)
        why = self._left_as_it_is(given, given.get(key), metadata, runtime)
        if why is not None:
            self._template.left[name] = why
            return
        source = self._place(given.get(key), places, key)
        if not runtime:
            if "Runtime" not in given:
                self._say(at, "has no Runtime")
            return
        function: dict[str, object] = {"runtimes": [runtime], "source_dir": source}
        self._template.places["functions", name] = at
        self._placed(name, "runtimes", places.get("Runtime", at))
        self._placed(name, "source_dir", places.get(key, at))
        handler = self._text(given, "Handler", places)
        if handler is not None and not runtime.startswith("provided"):
            function["handler"] = handler
            self._placed(name, "handler", places["Handler"])
        architectures = given.get("Architectures")
        if isinstance(architectures, list) and architectures:
            function["architecture"] = self._resolved(architectures[0], places["Architectures"])
            self._placed(name, "architecture", places["Architectures"])
        variables = mapping_of(mapping_of(common.get("Environment")).get("Variables"))
        variables = {**variables, **mapping_of(mapping_of(own.get("Environment")).get("Variables"))}
        if variables:
            # For the trial of the handler alone: values that CloudFormation knows later are named, not known.
            function["environment"] = {key: self._values.text_or_name(value) for key, value in variables.items()}
            self._placed(name, "environment", places["Environment"])
        named = [*self._listed(common.get("Layers")), *self._listed(own.get("Layers"))]
        self._layers_of(name, function, named, places)
        self._build(name, function, metadata, at)
        self._template.functions[name] = function

    def _left_as_it_is(
        self, given: Mapping[str, object], code: object, metadata: Mapping[str, object], runtime: str | None
    ) -> str | None:
        """Say why a function needs no build; None if it does."""
        if given.get("PackageType") == "Image" or "ImageUri" in given or "ImageUri" in mapping_of(code):
            return "it is a container image"
        if "InlineCode" in given or "ZipFile" in mapping_of(code):
            return "its code is in the template"
        if metadata.get("SkipBuild") in (True, "true", "True"):
            return "SkipBuild says so"
        if why := _elsewhere(code):
            return why
        method = metadata.get("BuildMethod")
        if isinstance(method, str) and not _BUILT_BY.fullmatch(method):
            return f"BuildMethod {method} is not built here"
        if runtime and not runtime.startswith(_BUILT):
            return f"{runtime} is not built here"
        return None

    def _build(self, name: str, holder: dict[str, object], metadata: Mapping[str, object], at: Location) -> None:
        method, where = metadata.get("BuildMethod"), (*at, "Metadata", "BuildMethod")
        if method == "python-uv":
            self._template.uv.add(name)
        options = mapping_of(metadata.get("BuildProperties"))
        if method == "makefile":
            holder["build"] = _makefile(name)
        elif method == "esbuild":
            entries = options.get("EntryPoints")
            if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], str):
                self._say((*at, "Metadata", "BuildProperties"), "needs one EntryPoints: a bundle is one file")
                return
            bundle = {ours: options[theirs] for theirs, ours in _ESBUILD.items() if theirs in options}
            holder["build"] = {"node": {"bundle": entries[0].removeprefix("./"), **bundle}}
            where = (*at, "Metadata", "BuildProperties")
        elif isinstance(method, str) and method.startswith("go"):
            holder["build"] = "go"
        else:
            return
        self._placed(name, "build", where)

    def _layers_of(
        self, name: str, function: dict[str, object], named: list[object], places: Mapping[str, Location]
    ) -> None:
        layers: list[str] = []
        packages: list[str] = []
        for layer in named:
            known = layer.get("Ref") if isinstance(layer, dict) else None
            if known in self._template.packages:
                packages.append(self._template.packages[str(known)])
            if known in self._template.layers:
                layers.append(str(known))
            elif known not in self._template.packages:
                try:
                    arn = self._values.text(layer)
                except Unresolved:
                    continue  # of a layer that is made elsewhere nothing is known here
                if _ARN.fullmatch(arn):
                    layers.append(arn)
        if packages:
            function["dependencies"] = [*dict.fromkeys(packages)]
            self._placed(name, "dependencies", places["Layers"])
        function["layers"] = layers
        self._placed(name, "layers", places.get("Layers", ("Resources", name)))

    # --- layers

    def _layer(self, name: str, resource: Mapping[str, object]) -> None:
        at: Location = ("Resources", name)
        own, key = mapping_of(resource.get("Properties")), LAYERS[str(resource["Type"])]
        places = {each: (*at, "Properties", each) for each in own}
        if why := _elsewhere(own.get(key)):
            self._template.left[name] = why
            return
        metadata = mapping_of(resource.get("Metadata"))
        method, source = metadata.get("BuildMethod"), self._place(own.get(key), places, key)
        if isinstance(method, str) and (method.startswith(("python", "nodejs"))):
            file = "package-lock.json" if method.startswith("nodejs") else "requirements.txt"
            self._template.packages[name] = posixpath.normpath(posixpath.join(source, file))
            if file == "package-lock.json":
                return
        elif method not in (None, "makefile"):
            self._template.left[name] = f"BuildMethod {method} is not built here"
            return
        layer: dict[str, object] = {"source_dir": source}
        if name in self._template.packages:
            layer["dest_dir"] = "python"  # where SAM copies the files beside the requirements
        layer |= {"build": _makefile(name)} if method == "makefile" else {"files": ["**"]}
        self._template.layers[name] = layer
        self._template.places["layers", name] = at
        self._template.places["layers", name, "source_dir"] = places.get(key, at)
        self._template.places["layers", name, "files"] = places.get(key, at)

    # --- values

    def _listed(self, value: object) -> list[object]:
        """Return the items of a list that the conditions choose."""
        try:
            found = self._values.chosen(value)
        except Unresolved:
            return []
        items: list[object] = []
        for item in found.split(",") if isinstance(found, str) else _items(found):
            try:
                items.append(self._values.chosen(item))
            except Unresolved:
                continue
        return [item for item in items if item is not None]

    def _place(self, code: object, places: Mapping[str, Location], key: str) -> str:
        if code is None:
            return "."
        text = self._resolved(code, places[key])
        return posixpath.normpath(text.strip("/") if text != "/" else text) if text else "."

    def _text(self, given: Mapping[str, object], key: str, places: Mapping[str, Location]) -> str | None:
        return self._resolved(given[key], places[key]) if key in given else None

    def _resolved(self, value: object, at: Location) -> str:
        try:
            return self._values.text(value)
        except Unresolved as error:
            self._say(at, str(error))
            return ""

    def _placed(self, name: str, key: str, at: Location) -> None:
        self._template.places["functions", name, key] = at

    def _say(self, at: Location, text: str) -> None:
        self._template.problems.append((at, text))


def _is_file(application: Mapping[str, object]) -> bool:
    return isinstance(mapping_of(application.get("Properties")).get("Location"), str)


def _elsewhere(code: object) -> str | None:
    """Say where code is that is not in a directory beside the template; None if it is."""
    if isinstance(code, str) and code.startswith("s3://"):
        return "its code is in S3 already"
    if isinstance(code, dict) and {"Bucket", "Key", "S3Bucket", "S3Key"} & code.keys():
        return "its code is in S3 already"
    if isinstance(code, str) and code.endswith((".zip", ".jar")):
        return "its code is an archive already"
    return None


def _makefile(name: str) -> dict[str, object]:
    # As SAM does it: the target build-NAME, in a copy of the code's directory.
    # https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/building-custom-runtimes.html
    made = f'mkdir {_ARTIFACTS}; make build-{name} ARTIFACTS_DIR="$PWD/{_ARTIFACTS}"'
    return {"command": [made], "output": _ARTIFACTS}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
