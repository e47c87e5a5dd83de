"""What has to be known of a project's directory while a stack is synthesized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import yaml

_NAMES = ("build.yaml", "build.yml", "build.json")
# Keys whose values name files, as the builder sees it: docs/reference.md#what-is-left-out-by-default.
_NAMING = frozenset({"files", "inputs", "preinstall", "command", "dependencies", "source_dir"})


@dataclass(frozen=True, kw_only=True)
class BuildFile:
    """What a template has to name of a build file; the builder checks the file.

    `layers` are the layers in the order of the file: the names of those that are built, the ARNs of the others.
    `runtime` is the function's, None where the file does not say it plainly. `named` are paths that the file names,
    relative to it, some of which may not exist. `text` is the file as it is.
    """

    layers: tuple[str, ...]
    runtime: str | None
    named: tuple[str, ...]
    text: str


def read_build_file(folder: Path, name: str | None) -> BuildFile:
    """The build file of the project in `folder`.

    Raises:
        ValueError: there is no build file, or it cannot be read.
    """
    names = [name] if name else [known for known in _NAMES if (folder / known).is_file()]
    if len(names) != 1:
        raise ValueError(f"{folder}: a project has one of {', '.join(_NAMES)}; found {', '.join(names) or 'none'}")
    try:
        text = (folder / names[0]).read_text(encoding="utf-8")
        build = _mapping(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{folder / names[0]} cannot be read: {error}") from error
    layers, function = _mapping(build.get("layers")), _mapping(build.get("function"))
    runtimes = function.get("runtimes")
    first = runtimes[0] if isinstance(runtimes, list) and runtimes else None
    return BuildFile(
        layers=tuple(_layers(layers)),
        runtime=first if isinstance(first, str) else None,
        named=tuple(_named(build)),
        text=text,
    )


def _layers(layers: Mapping[str, object]) -> Iterator[str]:
    for name, value in layers.items():
        if isinstance(value, str) and value.startswith("arn:"):
            yield value
        elif value != []:  # `dependencies: []` is a layer that is not built
            yield str(name)


def _named(build: Mapping[str, object]) -> Iterator[str]:
    said = list(_said(build, ""))
    folders = dict.fromkeys(("", *(value for key, value in said if key == "source_dir")))
    yield from dict.fromkeys(str(PurePosixPath(folder, value)) for folder in folders for _, value in said)


def _said(value: object, key: str) -> Iterator[tuple[str, str]]:
    """(key, value) for all that the keys say that name files; of commands, every word."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _said(one, str(name))
    elif isinstance(value, list):
        for one in value:
            yield from _said(one, key)
    elif isinstance(value, str) and key in _NAMING:
        yield from ((key, text) for text in {value: None, **dict.fromkeys(value.split())})


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
