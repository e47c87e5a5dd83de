"""The build file: what a project says about itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FunctionSpec(_Spec):
    runtimes: tuple[str, ...]
    handler: str
    files: tuple[str, ...] = ()
    source_dir: str = "."
    exclude: tuple[str, ...] = ()
    architecture: Literal["x86_64", "arm64"] | None = None
    role: str | None = None
    memory: int | None = None
    timeout: int | None = None
    environment: Mapping[str, str] | None = None
    description: str | None = None
    tags: Mapping[str, str] | None = None
    ephemeral_storage: int | None = None
    license: str | None = None


class LayerSpec(_Spec):
    name: str
    description: str | None = None
    runtimes: tuple[str, ...]
    license: str | None = None
    preinstall: tuple[str, ...] = ()
    files: tuple[str, ...]
    source_dir: str = "."
    dest_dir: str = ""


class PruneSpec(_Spec):
    disable: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


class BuildSpec(_Spec):
    file: str
    function: FunctionSpec | None
    dependencies: tuple[str, ...] = ()
    layers: tuple[LayerSpec, ...] = ()
    prune: PruneSpec = PruneSpec()


def read_build_file(text: str, *, file: str) -> BuildSpec:
    raise NotImplementedError


def find_build_file(names: Collection[str], wanted: str | None) -> str:
    raise NotImplementedError


def check_against_tree(spec: BuildSpec, root: Path) -> None:
    raise NotImplementedError
