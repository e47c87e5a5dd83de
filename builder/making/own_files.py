"""The project's own files in a component."""

from __future__ import annotations

from pathlib import Path

from builder.making.project import Project, layer_files
from builder.plan import DEPENDENCIES, FUNCTION
from builder.sources.local import select_files


def own_files(project: Project, name: str) -> tuple[tuple[str, Path], ...]:
    """The project's files that go into the function or a named layer as they are: (place in the zip, path)."""
    function = project.spec.function
    if name == DEPENDENCIES:
        return ()
    if name != FUNCTION:
        layer = project.layer(name)
        return layer_files(project.root, layer) if layer.ships_files else ()
    if function is None or not function.ships_files:
        return ()
    return select_files(project.root, function.source_dir, function.files, function.left_out)
