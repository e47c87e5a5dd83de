"""The values of a build file and what each may be; `builder.spec` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from pydantic.fields import FieldInfo

from builder.errors import InvalidBuildFile
from builder.npm.prune import RULES as NPM_RULES
from builder.python.prune import RULES
from builder.runtimes import RETIRED, RUNTIMES
from builder.spec_base import (
    VARIABLE,
    Paths,
    RelativePath,
    SecretSpec,
    Spec,
    Text,
    Texts,
    as_tuple,
    nearest,
    variable_name,
)
from builder.spec_builds import Build, CommandBuild, GoBuild, NodeBuild

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_LAYER_VERSION = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:layer:[A-Za-z0-9_-]{1,140}:[1-9]\d*", re.ASCII)
# What Lambda sets itself and refuses to be given.
_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)


def _runtime(name: str) -> str:
    if name in RETIRED:
        raise ValueError(f"{name!r} is retired, AWS creates no functions with it; {RETIRED[name]}")
    if name not in RUNTIMES:
        raise ValueError(f"{name!r} is not a runtime we know{nearest(name, RUNTIMES)}")
    return name


def _rule(name: str) -> str:
    known = list(dict.fromkeys(rule.id for rule in (*RULES, *NPM_RULES)))
    if name not in known:
        raise ValueError(f"{name!r} is not a rule{nearest(name, known) or '; rules are ' + ', '.join(known)}")
    return name


def _role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise ValueError(f"{value!r} is not a role's ARN (arn:aws:iam::123456789012:role/NAME)")
    return value


def layer_arn(value: str) -> str:
    """`value`, the ARN of a layer version.

    Raises:
        ValueError: it is something else.
    """
    if _LAYER_VERSION.fullmatch(value):
        return value
    if _LAYER_VERSION.fullmatch(f"{value}:1"):
        raise ValueError(f"{value!r} has no version; add it, for example {value}:1")
    raise ValueError(
        f"{value[:80]!r} is not a layer version's ARN (arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION); "
        "a layer of your own is a mapping with `files`"
    )


# Lambda's limits: MB, seconds, MB.
RANGES: Mapping[str, tuple[int, int]] = {"memory": (128, 10240), "timeout": (1, 900), "ephemeral_storage": (512, 10240)}


def _limited(name: str) -> FieldInfo:
    low, high = RANGES[name]
    field: FieldInfo = Field(ge=low, le=high)
    return field


# Days that CloudWatch Logs allows (botocore's description of logs.PutRetentionPolicy).
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        allowed = ", ".join(map(str, RETENTION_DAYS))
        raise ValueError(f"{days} days is not a period that CloudWatch Logs knows; it knows {allowed}")
    return days


def _url(value: object) -> object:
    if value is False:
        raise ValueError("must be true or a mapping; a URL is never removed, so leave the key out to have none made")
    return {} if value is True else value


Runtimes = Annotated[tuple[Annotated[str, AfterValidator(_runtime)], ...], BeforeValidator(as_tuple)]
Description = Annotated[str, StringConstraints(max_length=256)]
License = Annotated[str, StringConstraints(max_length=512)]


def makes_all(build: Build | None) -> bool:
    """Whether a build leaves nothing of the project's own files to be shipped beside it, unless they are listed."""
    return isinstance(build, GoBuild | CommandBuild) or (isinstance(build, NodeBuild) and build.bundle is not None)


class UrlSpec(Spec):
    """The function's URL. `cors` has Lambda's own names; None: leave it as it is."""

    auth: Literal["iam", "none"] = "iam"
    invoke_mode: Literal["buffered", "response_stream"] | None = None
    cors: Mapping[str, object] | None = None


class FunctionSpec(Spec):
    """The function itself. `memory` and `ephemeral_storage` in MB, `timeout` in seconds; None: leave it as it is.

    `runtimes[0]` is the function's, all go on the layers as compatible. `files` empty: everything below `source_dir`,
    or nothing where `build` makes the whole zip. `build` None: found out from the files.
    `native_libraries: auto`: what its files, and the dependencies, need and the runtime lacks is shipped with them.
    `log_retention` in days. `configuration` has Lambda's own names.
    """

    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    handler: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^\S+$")]
    files: Paths = ()
    source_dir: RelativePath = "."
    exclude: Paths = ()
    architecture: Literal["x86_64", "arm64"] | None = None
    role: Annotated[str, AfterValidator(_role)] | None = None
    memory: Annotated[int, _limited("memory")] | None = None
    timeout: Annotated[int, _limited("timeout")] | None = None
    environment: Mapping[str, str] | None = None
    native_libraries: Literal["auto", "none"] = "none"
    description: Description | None = None
    tags: Mapping[str, str] | None = None
    ephemeral_storage: Annotated[int, _limited("ephemeral_storage")] | None = None
    license: License | None = None
    log_retention: Annotated[int, AfterValidator(_retention)] | None = None
    url: Annotated[UrlSpec, BeforeValidator(_url)] | None = None
    configuration: Mapping[str, object] = Field(default={})
    build: Build | None = None

    @property
    def ships_files(self) -> bool:
        """Whether files of the project go into the zip as they are."""
        return bool(self.files) or not makes_all(self.build)

    @property
    def left_out(self) -> tuple[str, ...]:
        """`exclude`, and what a build takes the place of: npm's own directory and its settings, which may be logins."""
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
    def _handler(cls, value: str, info: ValidationInfo) -> str:
        runtimes = info.data.get("runtimes") or ("python",)
        if runtimes[0].startswith("provided"):
            return value  # the project's own bootstrap makes of it what it likes
        module, dot, function = value.rpartition(".")
        if not dot or not function or not all(re.split(r"[./]", module)):
            raise ValueError(f"{value!r} must be FILE.FUNCTION, for example lambda_function.lambda_handler")
        return value


class LayerSpec(Spec):
    """A named layer: run `preinstall` in a copy of `source_dir`, then zip `files` of it below `dest_dir`.

    `environment` and `secrets` are for the commands alone. With `build`, what that makes, and `files` if there are any.
    """

    name: str
    description: Description | None = None
    runtimes: Annotated[Runtimes, Field(min_length=1, max_length=15)]
    license: License | None = None
    preinstall: Texts = ()
    environment: Mapping[Annotated[str, AfterValidator(variable_name)], str] = Field(default={})
    secrets: Annotated[tuple[SecretSpec, ...], BeforeValidator(as_tuple)] = ()
    files: Paths = ()
    source_dir: RelativePath = "."
    dest_dir: RelativePath = ""
    build: Build | None = None
    native_libraries: Literal["auto", "none"] = "none"

    @property
    def ships_files(self) -> bool:
        """Whether files of the project go into the zip as they are."""
        return bool(self.files)

    @model_validator(mode="after")
    def _for_commands(self) -> LayerSpec:
        if not self.files and not self.build:
            raise ValueError("has neither files nor build")
        if self.build and self.preinstall:
            raise ValueError("has both build and preinstall; write the commands as build: command: […]")
        if (self.environment or self.secrets) and not self.preinstall:
            raise ValueError("environment and secrets are for preinstall, and there is none")
        names = [*self.environment, *(secret.env or secret.file or "" for secret in self.secrets)]
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
        """The ARN without the version: a function can have only one version of a layer."""
        return self.arn.rpartition(":")[0]


class PruneSpec(Spec):
    """Rules of the pruner not to apply, by id, and patterns of files that none of them may take."""

    disable: Annotated[tuple[Annotated[Text, AfterValidator(_rule)], ...], BeforeValidator(as_tuple)] = ()
    keep: Texts = ()


class BuildSpec(Spec):
    """A whole build file. `layers` are those that are built, without `dependencies`. `bytecode`: ship it with these.

    `layer_order` has all layers in the order of the file, which is that of attachment: names of those that are built,
    `dependencies` among them, and `LayerArn` for those from elsewhere. `keep`: versions that housekeeping leaves.
    `file` is the name it was read by, `lines` where things stand in it ("function.files.0" → 7), for messages.
    """

    file: str
    function: FunctionSpec | None
    dependencies: Paths = ()
    layers: tuple[LayerSpec, ...] = ()
    layer_order: tuple[str | LayerArn, ...] = ()
    keep: int | None = None
    prune: PruneSpec = PruneSpec()
    bytecode: bool = True
    runtime_packages: Literal["use", "ship"] = "ship"
    trial: Literal["import", "none"] = "import"
    optional_libraries: Texts = ()
    lines: Mapping[str, int] = Field(default={}, repr=False)

    def at(self, label: str) -> str:
        """`file:line: label`, the beginning of a message."""
        return f"{self.file}:{self.lines.get(label, 1)}: {label}"


class PackingSpec(Spec):
    """Keys beside `function` and `layers` that say how dependencies are packed."""

    bytecode: bool = True
    runtime_packages: Literal["use", "ship"] = "ship"


class CheckingSpec(Spec):
    """Keys beside `function` and `layers` that say what is checked before publishing.

    `try: none` leaves out the import of the handler; `optional_libraries` are sonames that may be missing.
    """

    trial: Literal["import", "none"] = Field(default="import", alias="try")
    optional_libraries: Texts = ()


class KeepingSpec(Spec):
    """The key beside `function` and `layers` that says how many old versions stay."""

    keep: Annotated[int, Field(ge=1)] | None = None


class Dependencies(Spec):
    """The one key of `layers` that is not a layer: files that name what to install."""

    dependencies: Paths


def invalid(file: str, problems: list[str]) -> InvalidBuildFile:
    """The error that says all that is wrong with a build file; each problem as `file:line: key: what is wrong`."""
    if len(problems) == 1:
        message = problems[0]
    else:
        message = f"{file} has {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems)
    return InvalidBuildFile(message, hint="build.yaml.example describes every key", problems=problems)
