"""The base of all parts of a build file: the strict base class, texts, paths, names, secrets.

The text below a field of a `Spec` explains its key to people: it goes into the JSON Schema and the reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WrapValidator,
    model_validator,
)
from pydantic.fields import FieldInfo

from builder.paths import PATH_PATTERN, path_problem
from builder.secrets.references import Reference

VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
# Variables that the builder sets for a project's commands.
_OF_COMMANDS = frozenset({"HOME", "TMPDIR", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH"})


def as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def path_value(path: str) -> str:
    """Return `path`, relative and below the project; raise ValueError if it is not."""
    if problem := path_problem(path):
        raise ValueError(problem)
    return path


def given(name: str, **schema: JsonValue) -> dict[str, JsonValue]:
    """Return JSON Schema of mappings that have the key, not as null."""
    wanted: dict[str, JsonValue] = {"not": {"type": "null"}, **schema}
    return {"required": [name], "properties": {name: wanted}}


def stated(**schema: JsonValue) -> FieldInfo:
    """Express what a validator wants, as far as JSON Schema can."""
    field: FieldInfo = Field(json_schema_extra=schema)
    return field


# The message is for editors; validators don't know the key.
_RELATIVE = stated(pattern=f"^{PATH_PATTERN}$", patternErrorMessage="must be a relative path that stays in the project")
Text = Annotated[str, StringConstraints(min_length=1)]
RelativePath = Annotated[str, AfterValidator(path_value), _RELATIVE]
_Path = Annotated[Text, AfterValidator(path_value), _RELATIVE]
# A single value needs no list.
Paths = Annotated[tuple[_Path, ...], BeforeValidator(as_tuple, json_schema_input_type=_Path | tuple[_Path, ...])]
Texts = Annotated[tuple[Text, ...], BeforeValidator(as_tuple, json_schema_input_type=Text | tuple[Text, ...])]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_UP = "../"


def _anywhere(path: str) -> str:
    """Return `path`, relative and, after steps up, below a directory; raise ValueError if it is not."""
    below = path
    while below.startswith(_UP):
        below = below.removeprefix(_UP)
    if below in ("", "..", "."):
        raise ValueError(f"{path!r} names no file or directory")
    if problem := path_problem(below):
        raise ValueError(problem)
    return path


_Anywhere = Annotated[Text, AfterValidator(_anywhere), stated(pattern=rf"^(?:\.\./)*{PATH_PATTERN}$")]
# Paths that may lead out of the project, and never out of its repository.
PathsAnywhere = Annotated[
    tuple[_Anywhere, ...], BeforeValidator(as_tuple, json_schema_input_type=_Anywhere | tuple[_Anywhere, ...])
]


class Placed(Spec):
    """A file or directory that gets another place in the zip."""

    source: _Anywhere = Field(alias="from")
    """Where it is, relative to `source_dir`: with `../` also elsewhere in the repository."""
    to: Annotated[RelativePath, StringConstraints(min_length=1)]
    """Its place in the zip; of a directory, where what is in it goes."""


def _entry(value: object, path: Callable[[object], str]) -> object:
    return value if isinstance(value, Placed) else path(value)


_Entry = Annotated[_Path, WrapValidator(_entry, json_schema_input_type=_Path | Placed)]
# Paths; those with another place are `Placed`, which `Reader` has made of them.
Entries = Annotated[tuple[_Entry, ...], BeforeValidator(as_tuple, json_schema_input_type=_Path | tuple[_Entry, ...])]


def listed_in(entries: tuple[object, ...]) -> tuple[str, ...]:
    """Return the entries of `files` that keep their place."""
    return tuple(entry for entry in entries if isinstance(entry, str))


def placed_in(entries: tuple[object, ...]) -> tuple[Placed, ...]:
    """Return the entries of `files` that get another place."""
    return tuple(entry for entry in entries if isinstance(entry, Placed))


def _reference(text: str) -> str:
    Reference.parse(text)
    return text


def variable_name(name: str) -> str:
    """Return `name` of a variable for commands; raise ValueError if it is not one, or ours."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a variable (a letter, then letters, digits and _)")
    # A command's own HOME or PATH would break the isolation that the builder sets up.
    if name in _OF_COMMANDS:
        raise ValueError(f"{name} is set by the builder, and cannot be set here")
    return name


def _below_home(path: str) -> str:
    below = path.removeprefix("~/")
    if not path.startswith("~/") or not below or path_problem(below):
        raise ValueError(f"{path!r} is not a file below ~/, for example ~/.netrc")
    return path


VariableName = Annotated[
    str, AfterValidator(variable_name), stated(pattern=f"^(?!(?:{'|'.join(sorted(_OF_COMMANDS))})$){VARIABLE.pattern}$")
]


class SecretSpec(Spec):
    """A secret for the commands, which config.ini must allow to the project."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [given("env"), given("file")]})

    env: VariableName | None = None
    """The variable that has it while the commands run."""
    file: Annotated[str, AfterValidator(_below_home), stated(pattern="^~/.")] | None = None
    """Instead of `env`: the file below `~/` that has it while the commands run, for example `~/.netrc`."""
    source: Annotated[str, AfterValidator(_reference), stated(pattern=r"^\s*(?:secretsmanager|ssm):\S+\s*$")] = Field(
        alias="from"
    )
    """Where it is, never what it is: `secretsmanager:NAME`, `secretsmanager:NAME#key` or `ssm:NAME`."""

    @model_validator(mode="after")
    def _one_way(self) -> SecretSpec:
        if (self.env is None) == (self.file is None):
            raise ValueError("has either env, the name of a variable, or file, a path such as ~/.netrc")
        return self


def secrets_in(value: object, at: tuple[str, ...] = ()) -> Iterator[tuple[str, SecretSpec]]:
    """Yield every secret that a build file, or a part of one, names, with its place (`layers.data.secrets.0`).

    Whatever reads, checks or resolves secrets uses this, so that a new place for them cannot be forgotten.
    """
    if isinstance(value, SecretSpec):
        yield ".".join(at), value
    elif isinstance(value, Spec):
        for name, field in type(value).model_fields.items():
            yield from secrets_in(getattr(value, name), (*at, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_in(item, (*at, str(key)))
    elif isinstance(value, Collection) and not isinstance(value, str | bytes):
        for position, item in enumerate(value):
            # Layers are a list here, but have names in the file.
            yield from secrets_in(item, (*at, str(getattr(item, "name", position))))
