"""What a build file says under `build`: how a component is built that is not Python's own way. One class a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from builder.spec_base import (
    Paths,
    RelativePath,
    SecretSpec,
    Spec,
    Texts,
    as_tuple,
    nearest,
    path_value,
    variable_name,
)

KIND_NAMES = ("go", "node", "command", "none")


def _package(value: str) -> str:
    """A Go package as Go names it: `.`, `./cmd/api`; without `./` it would be one of the standard library."""
    if not value:
        return value
    if value == "...":
        raise ValueError("'...' names several packages; name the command itself, for example ./cmd/api")
    path_value(value.removeprefix("./") or ".")
    return value if value.startswith(".") else f"./{value}"


Package = Annotated[str, AfterValidator(_package)]


class GoBuild(Spec):
    """A Go command, or several. `package` "" is found out: the directory itself, or the only command there is.

    `packages` maps places in the zip to packages. `cgo`: with a C compiler for the runtime's C library.
    """

    kind: ClassVar[str] = "go"
    package: Package = ""
    packages: Mapping[Annotated[str, AfterValidator(path_value)], Package] = Field(default={})
    tags: Texts = ()
    ldflags: str = ""
    cgo: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> GoBuild:
        if self.package and self.packages:
            raise ValueError("package and packages are both given; packages has them all")
        return self


class NodeBuild(Spec):
    """npm's production dependencies beside the project's files; or, with `bundle`, what esbuild makes of that file.

    `scripts`: run the install scripts of dependencies. `external`: what the bundle leaves out.
    """

    kind: ClassVar[str] = "node"
    bundle: RelativePath | None = None
    external: Texts = ()
    minify: bool = False
    sourcemap: bool = False
    scripts: bool = False

    @model_validator(mode="after")
    def _of_bundles(self) -> NodeBuild:
        given = [name for name in ("external", "minify", "sourcemap") if getattr(self, name)]
        if given and not self.bundle:
            raise ValueError(f"{', '.join(given)}: for bundle, and there is none")
        return self


class CommandBuild(Spec):
    """Any commands, run in a copy of the project; `output` is what they leave: a directory, or files and patterns.

    `inputs` are the files that they read; empty: all of the project. `toolchains` are put on the PATH.
    """

    kind: ClassVar[str] = "command"
    command: Annotated[Texts, Field(min_length=1)]
    output: Annotated[Paths, Field(min_length=1)]
    inputs: Paths = ()
    toolchains: Texts = ()
    environment: Mapping[Annotated[str, AfterValidator(variable_name)], str] = Field(default={})
    secrets: Annotated[tuple[SecretSpec, ...], BeforeValidator(as_tuple)] = ()


class AsItIs(Spec):
    """`build: none`: the files are shipped as they are, whatever the project looks like."""

    kind: ClassVar[str] = "none"


class NpmLayer(Spec):
    """`layers.dependencies` of a Node function: `files` are package-lock.json or what it belongs to."""

    kind: ClassVar[str] = "npm"
    files: Paths


Recipe = GoBuild | NodeBuild | CommandBuild | NpmLayer
Build = GoBuild | NodeBuild | CommandBuild | AsItIs


def chosen(value: object) -> tuple[type[Spec], object, str]:
    """Which class `build: value` is for, the mapping to make it of, and the key below `build` that it stands under.

    Raises:
        ValueError: it says no kind, or several.
    """
    forms = "go, node, none, or a mapping such as go: ./cmd/api or command: […]"
    if isinstance(value, str):
        if value == "none":
            return AsItIs, {}, ""
        if value in ("go", "node"):
            return (GoBuild if value == "go" else NodeBuild), {}, ""
        raise ValueError(f"must be {forms}, not {value!r}{nearest(value, KIND_NAMES)}")
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be {forms}")
    if "command" in value:
        return CommandBuild, value, ""
    kinds = [name for name in ("go", "node") if name in value]
    if len(kinds) == 1 and len(value) == 1:
        name, given = kinds[0], value[kinds[0]]
        short = {"go": "package", "node": "bundle"}[name]
        given = {} if given is None else {short: given} if isinstance(given, str) else given
        return (GoBuild if name == "go" else NodeBuild), given, name
    if len(kinds) == 2:
        raise ValueError("has both go and node; one component is built in one way")
    others = [str(name) for name in value if name not in ("go", "node")]
    if kinds:
        raise ValueError(f"{', '.join(others)}: unknown beside {kinds[0]}; put it below {kinds[0]}")
    raise ValueError(f"must be {forms}; {others[0]!r} is none of these{nearest(others[0], KIND_NAMES)}")
