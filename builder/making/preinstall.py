"""Layers with `preinstall`, whose files commands make in a copy of the project."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from builder.archives.zips import unpack
from builder.errors import PathNotFound
from builder.hashing import files_key, readable_hashes
from builder.making.dependencies import spliced
from builder.making.files import refuse_empty
from builder.making.project import Project, layer_files, with_placed
from builder.making.shipment import packed
from builder.plan import Artifact, Kind
from builder.python.scripts import console_scripts
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.sources.local import select_files
from builder.spec.build_file import LayerSpec
from builder.workshop import commands
from builder.workshop.kind import Made
from builder.workshop.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class CommandsLayer:
    """A layer with `preinstall`."""

    name: str
    project: Project
    workshop: Workshop
    layer: LayerSpec
    kind: ClassVar[Kind] = "layer"
    runs_code: ClassVar[bool] = True
    uses_lock: ClassVar[bool] = True

    def key(self) -> str:
        """Hash the commands, their variables and secrets' references, and every file of the project."""
        project, layer = self.project, self.layer
        how = (self._commands, layer.source_dir, layer.dest_dir, layer.files, project.lock, project.target.label)
        return files_key(repr(how), self._everything())

    def inputs(self) -> dict[str, str]:
        """Return every file of the project, and a hash of the commands, their variables and secrets' references."""
        run = hashlib.sha256(repr((self._commands, self.project.lock)).encode()).hexdigest()
        return {
            **readable_hashes(with_placed(self._everything(), self.project, self.layer)),
            "preinstall": f"#{run[:16]}",
        }

    def make(self) -> Artifact:
        """Run the commands and zip the files that the layer names."""
        files = layer_files(self.project, self.layer, _preinstalled(self.project, self.layer, self.workshop))
        refuse_empty(self.project, self.layer, files)
        if self.layer.secrets:
            commands.check_artifact(f"layer {self.name}", files, self.workshop.secrets)
        return packed(self.project, self.name, Made(files=files), self.workshop)

    @property
    def _commands(self) -> object:
        # References of secrets, never their values: the key is the name of an object.
        given = [(secret.env, secret.file, secret.source) for secret in self.layer.secrets]
        return self.layer.preinstall, sorted(self.layer.environment.items()), given

    def _everything(self) -> tuple[tuple[str, Path], ...]:
        # All of them, since a command may read any file of the project; no path of the project begins with a slash.
        placed = with_placed((), self.project, self.layer)
        everything = select_files(self.project.root, ".", (), (), to_ship=False)
        return (*everything, *((f"/{name}", path) for name, path in placed))


def _preinstalled(project: Project, layer: LayerSpec, workshop: Workshop) -> Path:
    """Return a copy of the project in which the layer's commands have run."""
    copy = workshop.scratch / f"preinstall-{layer.name}"
    # A copy, since other components are made from the project's own files.
    shutil.copytree(project.root, copy, symlinks=True)
    environment = dict(workshop.environment)
    tools = workshop.scratch / f"tools-{layer.name}"
    tools.mkdir()
    for name in ("python", "python3"):
        (tools / name).symlink_to(sys.executable)
    search = [str(tools), str(Path(sys.executable).parent)]
    if project.lock is not None:
        installed = workshop.scratch / f"installed-{layer.name}"
        _install(project, installed, workshop)
        environment["PYTHONPATH"] = str(installed / "python")
        search.insert(1, str(installed / "bin"))
    environment["PATH"] = os.pathsep.join([*search, environment.get("PATH", "")])
    environment["SOURCE_DATE_EPOCH"] = str(project.commit_time)
    commands.run(
        layer.preinstall,
        commands.Given(environment=layer.environment, secrets=layer.secrets),
        copy,
        workshop.scratch / f"home-{layer.name}",
        label=f"preinstall of layer {layer.name}",
        environment=environment,
        secrets=workshop.secrets,
        deadline=workshop.deadline,
        memory_mb=workshop.memory_mb,
    )
    if layer.secrets:
        workshop.workspace.sweep()  # code that runs later must not find a secret that the commands have left in /tmp
    missing = [name for name in layer.files if not any((copy / layer.source_dir).glob(name.rstrip("/")))]
    if missing:
        raise PathNotFound(
            f"{project.spec.file}: layers.{layer.name}.files: {', '.join(missing)} does not exist after preinstall",
            hint="check where the commands write: they run at the root of a copy of the project, and `files` are paths "
            "below source_dir",
        )
    return copy


def _install(project: Project, into: Path, workshop: Workshop) -> None:
    """Unpack the dependencies for the builder's own Python, so that commands can import them."""
    # Not for the function's target: the commands run here.
    own = RUNTIMES.get(f"python{sys.version_info.major}.{sys.version_info.minor}", project.target.runtime)
    target = Target(runtime=own, architecture=architecture_of(os.uname().machine))
    archive = into.with_suffix(".zip")
    spliced(project, target, archive, workshop)
    into.mkdir()
    unpack(archive, into)
    # With the packages' scripts, which artifacts lack: commands of a build file use them (`nltk`, `spacy`, `flask`).
    (into / "bin").mkdir(exist_ok=True)
    for path in sorted((into / "python").glob("*.dist-info/entry_points.txt")):
        for name, content in console_scripts(path.read_text(encoding="utf-8", errors="replace")).items():
            script = into / "bin" / name
            if not script.exists():
                script.write_bytes(content)
                script.chmod(0o755)
