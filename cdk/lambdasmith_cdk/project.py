"""What has to be known of a project's directory while a stack is synthesized."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

_NAMES = ("build.yaml", "build.yml", "build.json")
# What no build needs, and what synthesizing itself writes.
_NEVER = (".git", "cdk.out", ".venv", "__pycache__", "*.pyc")


def layers_of(project: Path, build_file: str | None) -> tuple[str, ...]:
    """Of the layers in the build file, in its order: the names of those that are built, the ARNs of the others.

    The builder checks the file; here is only looked at what the template has to name.

    Raises:
        ValueError: there is no build file, or it cannot be read.
    """
    names = [build_file] if build_file else [name for name in _NAMES if (project / name).is_file()]
    if len(names) != 1:
        raise ValueError(f"{project}: a project has one of {', '.join(_NAMES)}; found {', '.join(names) or 'none'}")
    try:
        build = yaml.safe_load((project / names[0]).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{project / names[0]} cannot be read: {error}") from error
    layers = build.get("layers") if isinstance(build, dict) else None
    if not isinstance(layers, dict):
        return ()
    return tuple(
        value if isinstance(value, str) and value.startswith("arn:") else str(name) for name, value in layers.items()
    )


def left_out(project: Path) -> Sequence[str]:
    """Patterns, in gitignore's syntax, of what stays on this machine."""
    found = list(_NEVER)
    for name in (".gitignore", ".lambdaignore"):
        if (project / name).is_file():
            lines = (project / name).read_text(encoding="utf-8").splitlines()
            found += [line for line in lines if line.strip() and not line.startswith("#")]
    return found
