"""What all parts of a build file are made of: the strict base class, texts, paths, names, secrets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from builder.references import Reference
from builder.sources.paths import path_problem

VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
# What the builder says to a project's commands.
_OF_COMMANDS = frozenset({"HOME", "TMPDIR", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH"})


def as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def nearest(typed: str, known: Iterable[str]) -> str:
    """`; did you mean X?` if something known is like `typed`, else nothing."""
    near = difflib.get_close_matches(typed[:80], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def path_value(path: str) -> str:
    """`path`, relative and below the project; ValueError if it is not."""
    if problem := path_problem(path):
        raise ValueError(problem)
    return path


Text = Annotated[str, StringConstraints(min_length=1)]
Paths = Annotated[tuple[Annotated[Text, AfterValidator(path_value)], ...], BeforeValidator(as_tuple)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(as_tuple)]
RelativePath = Annotated[str, AfterValidator(path_value)]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _reference(text: str) -> str:
    Reference.parse(text)
    return text


def variable_name(name: str) -> str:
    """`name` of a variable that commands may be given; ValueError if it is none, or ours."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a variable (a letter, then letters, digits and _)")
    if name in _OF_COMMANDS:
        raise ValueError(f"{name} is set by the builder, and cannot be set here")
    return name


def _below_home(path: str) -> str:
    below = path.removeprefix("~/")
    if not path.startswith("~/") or not below or path_problem(below):
        raise ValueError(f"{path!r} is not a file below ~/, for example ~/.netrc")
    return path


class SecretSpec(Spec):
    """A secret for the commands: as a variable `env`, or as a `file` that is there while they run.

    `source` says where it is, never what it is.
    """

    env: Annotated[str, AfterValidator(variable_name)] | None = None
    file: Annotated[str, AfterValidator(_below_home)] | None = None
    source: Annotated[str, AfterValidator(_reference)] = Field(alias="from")

    @model_validator(mode="after")
    def _one_way(self) -> SecretSpec:
        if (self.env is None) == (self.file is None):
            raise ValueError("has either env, the name of a variable, or file, a path such as ~/.netrc")
        return self
