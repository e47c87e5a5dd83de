"""What has to be known of a project's directory while a stack is synthesized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import yaml

_NAMES = ("build.yaml", "build.yml", "build.json")


@dataclass(frozen=True, kw_only=True)
class BuildFile:
    """What a template has to name of a build file; the builder checks the file.

    `layers` are the layers in the order of the file: the names of those that are built, the ARNs of the others.
    `runtime` is the function's, None where the file does not say it plainly. `files` are the files that are listed,
    relative to the build file. `text` is the file as it is.
    """

    layers: tuple[str, ...]
    runtime: str | None
    files: tuple[str, ...]
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
        files=tuple(path for component in (function, *layers.values()) for path in _files(_mapping(component))),
        text=text,
    )


def _layers(layers: Mapping[str, object]) -> Iterator[str]:
    for name, value in layers.items():
        if isinstance(value, str) and value.startswith("arn:"):
            yield value
        elif value != []:  # `dependencies: []` is a layer that is not built
            yield str(name)


def _files(component: Mapping[str, object]) -> Iterator[str]:
    listed, base = component.get("files"), component.get("source_dir")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, str):
            yield str(PurePosixPath(base if isinstance(base, str) else "", one))


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
