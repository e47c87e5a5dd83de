"""The values of a build file and what each may be; `builder.spec.build_file` reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from builder.arns import layer_of
from builder.errors import InvalidBuildFile
from builder.runtimes import RUNTIMES
from builder.spec.accepted import (
    RESERVED,
    RETENTION_DAYS,
    ROLE,
    Description,
    License,
    Rule,
    Runtimes,
    Tags,
    Variables,
    limited,
    retention,
    role_arn,
)
from builder.spec.base import (
    VARIABLE,
    Entries,
    Paths,
    PathsAnywhere,
    Placed,
    RelativePath,
    SecretSpec,
    Spec,
    Texts,
    VariableName,
    as_tuple,
    listed_in,
    placed_in,
    stated,
)
from builder.spec.builds import Build, CommandBuild, GoBuild, NodeBuild


def _url(value: object) -> object:
    if value is False:
        raise ValueError("must be true or a mapping; a URL is never removed, so leave the key out to make none")
    return {} if value is True else value


def makes_all(build: Build | None) -> bool:
    """Tell whether a build leaves none of the project's own files to ship beside it, unless they are listed."""
    return isinstance(build, GoBuild | CommandBuild) or (isinstance(build, NodeBuild) and build.bundle is not None)


# The handler of a Python function that names none, as the Lambda console calls it.
DEFAULT_HANDLER = "lambda_function.lambda_handler"


class UrlSpec(Spec):
    """An HTTPS address of the function's own; a mere `true` is one with the defaults. It is never removed."""

    auth: Literal["iam", "none"] = "iam"
    """Who may call it: callers that IAM allows, or, with `none`, everyone (`AuthType`)."""
    invoke_mode: Literal["buffered", "response_stream"] | None = None
    """Whether answers come whole or as a stream (`InvokeMode`); without it as it is."""
    cors: Mapping[str, object] | None = None
    """Which web pages may call it, in Lambda's own names, for example `AllowOrigins` (`Cors`)."""


class FunctionSpec(Spec):
    """The function itself. What is not named stays as it is in Lambda."""

    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    """Lambda's name of the runtime; of several the first is the function's, and all go on its layers as compatible."""
    handler: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^\S+$")]
    """`FILE.FUNCTION`; a custom runtime (`provided…`) needs none, and Python none where `lambda_function.py` is: its
    `lambda_handler`."""
    entries: Entries = Field(default=(), alias="files")
    """Files, directories with all below them, and patterns such as `pkg/**`, relative to `source_dir`. Without it
    everything there, or nothing where `build` makes the whole zip. `{from: ../shared/util.py, to: util.py}` adds a file
    or directory of the repository at another place."""
    source_dir: RelativePath = "."
    """Where the files are; they keep their path relative to it."""
    exclude: Paths = ()
    """What is taken away again: files, directories, patterns; a pattern without `/` counts at any depth."""
    architecture: Literal["x86_64", "arm64"] | None = None
    """The processor; without it as the function is, and a new one as the builder is."""
    role: Annotated[str, AfterValidator(role_arn), stated(pattern=f"^{ROLE.pattern}$")] | None = None
    """ARN of the function's role; needed when the function does not exist yet."""
    memory: Annotated[int, limited("memory")] | None = None
    """Memory in MB."""
    timeout: Annotated[int, limited("timeout")] | None = None
    """Seconds after which Lambda ends an invocation."""
    environment: Variables | None = None
    """All variables that the function is to have, as text: it replaces those that are there."""
    native_libraries: Literal["auto", "none"] = "none"
    """`auto` ships what native files, those of dependencies too, need and the runtime lacks, from the machine that
    builds; else what is missing is an error."""
    description: Description | None = None
    """What the function is for."""
    tags: Annotated[Tags, stated(maxProperties=50)] | None = None
    """Tags of the function; others that it has stay."""
    ephemeral_storage: Annotated[int, limited("ephemeral_storage")] | None = None
    """Size of `/tmp` in MB."""
    license: License | None = None
    """The project's license, for people: Lambda keeps none of functions."""
    log_retention: Annotated[int, AfterValidator(retention), stated(enum=[*RETENTION_DAYS])] | None = None
    """Days that CloudWatch keeps the function's logs (`retentionInDays`); the log group is made if there is none."""
    url: Annotated[UrlSpec, BeforeValidator(_url, json_schema_input_type=Literal[True] | UrlSpec)] | None = None
    """An HTTPS address of the function's own: `true`, or a mapping."""
    configuration: Mapping[str, object] = Field(default={})
    """Everything else that Lambda can be told of a function, in Lambda's own names."""
    build: Build | None = None
    """How it is built if it is not Python: `go`, `node`, `none` (the files as they are), or a mapping with `go`,
    `node` or `command`. Without it the files tell."""

    @property
    def files(self) -> tuple[str, ...]:
        """Entries of `files` that keep their place."""
        return listed_in(self.entries)

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Entries of `files` that get another place."""
        return placed_in(self.entries)

    @property
    def ships_files(self) -> bool:
        """Whether files of the project go into the zip unchanged."""
        return bool(self.files) or not makes_all(self.build)

    @property
    def left_out(self) -> tuple[str, ...]:
        """`exclude`, and files that a build replaces: npm's own directory and its settings, which may hold logins."""
        return (*self.exclude, *(("node_modules", ".npmrc") if isinstance(self.build, NodeBuild) else ()))

    @field_validator("build")
    @classmethod
    def _of_its_runtime(cls, build: Build | None, info: ValidationInfo) -> Build | None:
        wanted = {"go": "provided", "node": "nodejs"}.get(build.kind if build else "")
        runtimes = info.data.get("runtimes") or ()
        if build and wanted and runtimes and RUNTIMES[runtimes[0]].family != wanted:
            usual = {"provided": "provided.al2023", "nodejs": "nodejs24.x"}[wanted]
            raise ValueError(f"{build.kind} is for the runtime {usual}, not {runtimes[0]}")
        return build

    @field_validator("environment")
    @classmethod
    def _environment(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        wrong = [name for name in value or {} if not VARIABLE.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a name of a variable (a letter, then letters, digits and _)")
        reserved = sorted(RESERVED.intersection(value or {}))
        if reserved:
            raise ValueError(f"{', '.join(reserved)}: Lambda sets it itself and does not allow it here")
        # As Lambda counts: names and values of all variables, in bytes.
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
    def _handler(cls, value: str, info: ValidationInfo) -> str:
        runtimes = info.data.get("runtimes") or ("python",)
        if runtimes[0].startswith("provided"):
            return value  # the project's own bootstrap makes of it what it likes
        module, dot, function = value.rpartition(".")
        if not dot or not function or not all(re.split(r"[./]", module)):
            raise ValueError(f"{value!r} must be FILE.FUNCTION, for example lambda_function.lambda_handler")
        return value


class LayerSpec(Spec):
    """A layer with files of your own, below its name; they are unpacked under `/opt`."""

    name: str
    description: Description | None = None
    """What is in the layer."""
    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    """Runtimes that it is for; without it the function's."""
    license: License | None = None
    """Its license, for example `Apache-2.0`."""
    preinstall: Texts = ()
    """Commands that make the files, run at the root of a copy of the project, with the dependencies at hand."""
    environment: Mapping[VariableName, str] = Field(default={})
    """Variables for the commands of `preinstall`."""
    secrets: Annotated[tuple[SecretSpec, ...], BeforeValidator(as_tuple)] = ()
    """Secrets for the commands of `preinstall`, by where they are."""
    entries: Entries = Field(default=(), alias="files")
    """What goes into the layer: files, directories and patterns, relative to `source_dir`; or, with another place,
    `{from: ../shared, to: shared}`."""
    source_dir: RelativePath = "."
    """Directory of the project that the files are in, also those that `preinstall` makes."""
    dest_dir: RelativePath = ""
    """Where below `/opt` they end up."""
    build: Build | None = None
    """How it is built, as for the function; instead of `preinstall`."""
    native_libraries: Literal["auto", "none"] = "none"
    """As for the function."""

    @property
    def files(self) -> tuple[str, ...]:
        """Entries of `files` that keep their place."""
        return listed_in(self.entries)

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Entries of `files` that get another place."""
        return placed_in(self.entries)

    @property
    def ships_files(self) -> bool:
        """Whether files of the project go into the zip unchanged."""
        return bool(self.entries)

    @model_validator(mode="after")
    def _for_commands(self) -> LayerSpec:
        if not self.entries and not self.build:
            raise ValueError("has neither files nor build")
        if self.build and self.preinstall:
            raise ValueError("has both build and preinstall; write the commands as build: command: […]")
        if (self.environment or self.secrets) and not self.preinstall:
            raise ValueError("environment and secrets are for preinstall, and there is none")
        names = [*self.environment, *(secret.env or secret.file or "" for secret in self.secrets)]
        # The later one would silently win.
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)}: given twice in environment and secrets")
        return self


class LayerArn(Spec):
    """A layer from elsewhere: a version that is attached as it is. Only the build file knows it by `name`."""

    name: str
    arn: str

    @property
    def layer(self) -> str:
        """ARN without the version: a function can have only one version of a layer."""
        return layer_of(self.arn)


class PruneSpec(Spec):
    """What is left out of dependencies to make them smaller."""

    disable: Annotated[tuple[Rule, ...], BeforeValidator(as_tuple, json_schema_input_type=Rule | tuple[Rule, ...])] = ()
    """Rules not to apply, by id; the reply lists what each rule took."""
    keep: Texts = ()
    """Patterns of files that no rule may take, for example `*/testing/*`."""


Parameters = tuple[tuple[str, str], ...]
"""Values of a template's parameters by their names, sorted."""


class BuildSpec(Spec):
    """A whole build file. `layers` are those that are built, without `dependencies`. `bytecode`: ship it with these.

    `layer_order` has all layers in the order of the file, which is that of attachment: names of those that are built,
    `dependencies` among them, and `LayerArn` for those from elsewhere. `keep`: versions that housekeeping leaves.
    `file` is the name it was read by, `lines` where things stand in it ("function.files.0" → 7), for messages.

    Of a file with several functions it is what the file says of one of them, whose name there is `key`, at a `stage`;
    `places` tells where in the file its labels are ("function" → "functions.orders"). Unless `says_dependencies`, what
    lies beside its handler may still name some: the first of `own_files` that exists, which with `adds_own` is
    installed together with the others instead of replacing them. `parameters` are those that a template was read with,
    `layers_with_code` layers of it that may have files besides the named requirements.
    """

    file: str
    function: FunctionSpec | None
    dependencies: PathsAnywhere = ()
    layers: tuple[LayerSpec, ...] = ()
    layer_order: tuple[str | LayerArn, ...] = ()
    keep: int | None = None
    prune: PruneSpec = PruneSpec()
    bytecode: bool = True
    runtime_packages: Literal["use", "ship"] = "ship"
    trial: Literal["import", "none"] = "import"
    optional_libraries: Texts = ()
    lines: Mapping[str, int] = Field(default={}, repr=False)
    places: Mapping[str, str] = Field(default={}, repr=False)
    key: str = ""
    stage: str = ""
    says_dependencies: bool = True
    own_files: Texts = ("requirements.txt",)
    adds_own: bool = False
    parameters: Parameters = ()
    layers_with_code: Mapping[str, str] = Field(default={})

    def with_dependencies(self, files: tuple[str, ...]) -> BuildSpec:
        """Return the same with these files as its dependencies, in the place of others."""
        order = self.layer_order if "dependencies" in self.layer_order else ("dependencies", *self.layer_order)
        return self.model_copy(update={"dependencies": files, "layer_order": order if files else self.layer_order})

    def without_layers(self, names: Collection[str]) -> BuildSpec:
        """Return the same without layers of these names."""
        layers = tuple(layer for layer in self.layers if layer.name not in names)
        order = tuple(layer for layer in self.layer_order if layer not in names)
        return self.model_copy(update={"layers": layers, "layer_order": order})

    def without_dependencies(self) -> BuildSpec:
        """Return the same without a layer of dependencies."""
        order = tuple(layer for layer in self.layer_order if layer != "dependencies")
        return self.model_copy(update={"dependencies": (), "layer_order": order})

    def at(self, label: str) -> str:
        """Return `file:line: label`, the beginning of a message."""
        line, known = self.lines.get(label), label
        while line is None and known:
            known = known.rpartition(".")[0]
            line = self.lines.get(known)
        return f"{self.file}:{line or 1}: {self.named(label)}"

    def named(self, label: str) -> str:
        """Return a label as it is in the file: that of one function of several has the function's name."""
        known, rest = label, ""
        while known and known not in self.places:
            known, dot, last = known.rpartition(".")
            rest = f"{dot or '.'}{last}{rest}"
        return f"{self.places[known]}{rest}" if known else label


class PackingSpec(Spec):
    """Keys beside `function` and `layers` that say how dependencies are packed."""

    bytecode: bool = True
    """Ship compiled Python; without it artifacts get some 20 % smaller, and cold starts slower."""
    runtime_packages: Literal["use", "ship"] = "ship"
    """`use` leaves boto3 and what it needs to the runtime, where its known versions fit."""


class CheckingSpec(Spec):
    """Keys beside `function` and `layers` that say what is checked before publishing."""

    trial: Literal["import", "none"] = Field(default="import", alias="try")
    """Whether the handler is imported before anything is published. With `import`, a new function whose import needs a
    variable that `environment` does not name is refused."""
    optional_libraries: Texts = ()
    """Native libraries that may be missing, because what needs them is never used; for example `libtbb.so.12`."""


class KeepingSpec(Spec):
    """The key beside `function` and `layers` that says how many old versions stay."""

    keep: Annotated[int, Field(ge=1)] | None = None
    """Remove versions of the function and its layers that the last so many builds and no alias need."""


class Dependencies(Spec):
    """The one key of `layers` that is not a layer: files that name what to install."""

    dependencies: PathsAnywhere
    """Files that name what to install, as a layer of its own: `requirements.txt`, `pyproject.toml`, `uv.lock`,
    `pylock.toml`, `poetry.lock`, `Pipfile.lock`, with `[EXTRA]` or `#group=NAME` behind where there are such; with
    `../` also elsewhere in the repository."""


def invalid(file: str, problems: list[str]) -> InvalidBuildFile:
    """Return the error with all problems of a build file; each is `file:line: key: what is wrong`."""
    if len(problems) == 1:
        message = problems[0]
    else:
        message = f"{file} has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    return InvalidBuildFile(message, hint="build.yaml.example describes every key", problems=problems)
