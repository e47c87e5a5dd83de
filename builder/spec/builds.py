"""What a build file says under `build`: how a component is built that is not Python's own way. One class a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from builder.nearest import nearest
from builder.paths import PATH_PATTERN
from builder.spec.base import (
    Paths,
    PathsAnywhere,
    RelativePath,
    SecretSpec,
    Spec,
    Texts,
    VariableName,
    as_tuple,
    path_value,
    stated,
)

KIND_NAMES = ("go", "node", "command", "none")


def _package(value: str) -> str:
    """Check a Go package in Go's notation: `.`, `./cmd/api`; without `./` it would be in the standard library."""
    if not value:
        return value
    # `go build ./...` builds several commands and cannot write them to one file.
    if value == "...":
        raise ValueError("'...' names several packages; name the command itself, for example ./cmd/api")
    path_value(value.removeprefix("./") or ".")
    return value if value.startswith(".") else f"./{value}"


Package = Annotated[str, AfterValidator(_package), stated(pattern=f"^(?!\\.\\.\\.$){PATH_PATTERN}$")]


class GoBuild(Spec):
    """A Go command, or several."""

    kind: ClassVar[str] = "go"
    package: Package = ""
    """The command's package, for example `./cmd/api`; without it the directory itself, or the only command there is."""
    packages: Mapping[RelativePath, Package] = Field(default={})
    """Instead of `package`: several commands, as places in the zip and their packages, `{bin/api: ./cmd/api}`."""
    tags: Texts = ()
    """Build tags."""
    ldflags: str = ""
    """Flags for Go's linker, in one text, for example `-X main.version=7`."""
    cgo: bool = False
    """Build C code too, by a C compiler for the runtime's C library."""

    @model_validator(mode="after")
    def _one_way(self) -> GoBuild:
        if self.package and self.packages:
            raise ValueError("package and packages are both given; list them all in packages")
        return self


class NodeBuild(Spec):
    """npm's production dependencies beside the project's files; or, with `bundle`, what esbuild makes of that file."""

    kind: ClassVar[str] = "node"
    bundle: RelativePath | None = None
    """The file that the project's own esbuild makes one bundle of, for example `src/index.ts`."""
    external: Texts = ()
    """Packages that the bundle leaves out."""
    minify: bool = False
    """Make the bundle smaller."""
    sourcemap: bool = False
    """Ship a map from the bundle to the source."""
    scripts: bool = False
    """Run the install scripts of dependencies."""

    @model_validator(mode="after")
    def _of_bundles(self) -> NodeBuild:
        given = [name for name in ("external", "minify", "sourcemap") if getattr(self, name)]
        if given and not self.bundle:
            raise ValueError(f"{', '.join(given)}: only for bundle, and there is none")
        return self


class CommandBuild(Spec):
    """Any commands, run in a copy of the project."""

    kind: ClassVar[str] = "command"
    command: Annotated[Texts, Field(min_length=1)]
    """The commands, run one by one by bash in `source_dir` of a copy of the project."""
    output: Annotated[Paths, Field(min_length=1)]
    """What they leave to be shipped: a directory, whose content is taken; or files and patterns."""
    inputs: Paths = ()
    """Files and directories that the commands read: they run again when one of them changes. Without it everything."""
    toolchains: Texts = ()
    """Programs put on the PATH: `go`, `node`, `zig`, `cmake`, `ninja`, those of config.ini, and the machine's own."""
    environment: Mapping[VariableName, str] = Field(default={})
    """Variables for the commands."""
    secrets: Annotated[tuple[SecretSpec, ...], BeforeValidator(as_tuple)] = ()
    """Secrets for the commands, by where they are."""


class AsItIs(Spec):
    """`build: none`: the files are shipped as they are, whatever the project looks like."""

    kind: ClassVar[str] = "none"


class NpmLayer(Spec):
    """`layers.dependencies` of a Node function: `files` are package-lock.json or what it belongs to."""

    kind: ClassVar[str] = "npm"
    files: PathsAnywhere


Recipe = GoBuild | NodeBuild | CommandBuild | NpmLayer
Build = GoBuild | NodeBuild | CommandBuild | AsItIs


def chosen(value: object) -> tuple[type[Spec], object, str]:
    """Return the class for `build: value`, the mapping to make it of, and its key below `build`.

    Raises:
        ValueError: it names no kind, or several.
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
    raise ValueError(f"must be {forms}; {others[0]!r} is not one of these{nearest(others[0], KIND_NAMES)}")
