"""The project's own files in a component, with their places in the zip."""

from __future__ import annotations

from pathlib import Path

from builder.making.project import Project, layer_files, with_placed
from builder.sources.local import select_files
from builder.spec.build_file import FunctionSpec, LayerSpec


def own_files(project: Project, name: str) -> tuple[tuple[str, Path], ...]:
    """Return the files that go into the function or a named layer as they are: (place in the zip, path)."""
    match project.holder(name):
        case FunctionSpec() as function:
            chosen: tuple[tuple[str, Path], ...] = ()
            if function.ships_files:
                chosen = select_files(project.root, function.source_dir, function.files, function.left_out)
            return with_placed(chosen, project, function)
        case LayerSpec(ships_files=True) as layer:
            return layer_files(project, layer)
        case _:
            return ()
