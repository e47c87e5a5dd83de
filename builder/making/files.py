"""Components with files of the project as they are: functions, and layers without commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from builder.errors import InvalidBuildFile
from builder.hashing import files_key, readable_hashes
from builder.making.own_files import own_files
from builder.making.project import Project, layer_files
from builder.making.shipment import packed
from builder.plan import Artifact, Kind
from builder.spec.build_file import LayerSpec
from builder.workshop.kind import Made
from builder.workshop.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function whose files are shipped as they are."""

    name: str
    project: Project
    workshop: Workshop
    kind: ClassVar[Kind] = "function"
    runs_code: ClassVar[bool] = False
    uses_lock: ClassVar[bool] = False

    def key(self) -> str:
        """Hash the files."""
        return files_key("function", own_files(self.project, self.name))

    def inputs(self) -> dict[str, str]:
        """Return the files."""
        return readable_hashes(own_files(self.project, self.name))

    def make(self) -> Artifact:
        """Zip the files."""
        return packed(self.project, self.name, Made(files=own_files(self.project, self.name)), self.workshop)


@dataclass(frozen=True, kw_only=True)
class FilesLayer:
    """A layer whose files lie in the project."""

    name: str
    project: Project
    workshop: Workshop
    layer: LayerSpec
    kind: ClassVar[Kind] = "layer"
    runs_code: ClassVar[bool] = False
    uses_lock: ClassVar[bool] = False

    def key(self) -> str:
        """Hash the files."""
        return files_key("layer", layer_files(self.project, self.layer))

    def inputs(self) -> dict[str, str]:
        """Return the files."""
        return readable_hashes(layer_files(self.project, self.layer))

    def make(self) -> Artifact:
        """Zip the files."""
        files = layer_files(self.project, self.layer)
        refuse_empty(self.project, self.layer, files)
        return packed(self.project, self.name, Made(files=files), self.workshop)


def refuse_empty(project: Project, layer: LayerSpec, files: Sequence[tuple[str, Path]]) -> None:
    """Raise if a layer has no files: Lambda refuses an empty layer."""
    if not files:
        raise InvalidBuildFile(
            f"{project.spec.file}: layers.{layer.name}: no files match", hint="check files and source_dir of this layer"
        )
