"""A layer whose files commands make: `preinstall` of the build file, run in a copy of the project."""

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
from builder.hashing import files_key, told
from builder.making.dependencies import spliced
from builder.making.files import refuse_empty
from builder.making.project import Project, layer_files
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
    shop: Workshop
    layer: LayerSpec
    kind: ClassVar[Kind] = "layer"
    runs_code: ClassVar[bool] = True
    uses_lock: ClassVar[bool] = True

    def key(self) -> str:
        """Hash the commands, what they are given, and every file."""
        project, layer = self.project, self.layer
        how = (self._commands, layer.source_dir, layer.dest_dir, layer.files, project.lock, project.target.label)
        return files_key(repr(how), self._everything())

    def inputs(self) -> dict[str, str]:
        """Return every file, and a hash of the commands and of what they are given."""
        run = hashlib.sha256(repr((self._commands, self.project.lock)).encode()).hexdigest()
        return {**told(self._everything()), "preinstall": f"#{run[:16]}"}

    def make(self) -> Artifact:
        """Run the commands and zip the files that the layer names."""
        files = layer_files(_preinstalled(self.project, self.layer, self.shop), self.layer)
        refuse_empty(self.project, self.layer, files)
        if self.layer.secrets:
            commands.check_artifact(f"layer {self.name}", files, self.shop.secrets)
        return packed(self.project, self.name, Made(files=files), self.shop)

    @property
    def _commands(self) -> object:
        # Where the secrets are, never what they are.
        given = [(secret.env, secret.file, secret.source) for secret in self.layer.secrets]
        return self.layer.preinstall, sorted(self.layer.environment.items()), given

    def _everything(self) -> tuple[tuple[str, Path], ...]:
        # A command may read anything in the project.
        return select_files(self.project.root, ".", (), (), to_ship=False)


def _preinstalled(project: Project, layer: LayerSpec, shop: Workshop) -> Path:
    """Return a copy of the project in which the layer's commands have run."""
    copy = shop.scratch / f"preinstall-{layer.name}"
    shutil.copytree(project.root, copy, symlinks=True)
    environment = dict(shop.environment)
    tools = shop.scratch / f"tools-{layer.name}"
    tools.mkdir()
    for name in ("python", "python3"):
        (tools / name).symlink_to(sys.executable)
    search = [str(tools), str(Path(sys.executable).parent)]
    if project.lock is not None:
        installed = shop.scratch / f"installed-{layer.name}"
        _install(project, installed, shop)
        environment["PYTHONPATH"] = str(installed / "python")
        search.insert(1, str(installed / "bin"))
    environment["PATH"] = os.pathsep.join([*search, environment.get("PATH", "")])
    environment["SOURCE_DATE_EPOCH"] = str(project.commit_time)
    commands.run(
        layer.preinstall,
        commands.Given(environment=layer.environment, secrets=layer.secrets),
        copy,
        shop.scratch / f"home-{layer.name}",
        label=f"preinstall of layer {layer.name}",
        environment=environment,
        secrets=shop.secrets,
        deadline=shop.deadline,
        memory_mb=shop.memory_mb,
    )
    if layer.secrets:
        shop.workspace.sweep()  # a secret that the commands have put beside their places is not for what runs next
    missing = [name for name in layer.files if not any((copy / layer.source_dir).glob(name.rstrip("/")))]
    if missing:
        raise PathNotFound(
            f"{project.spec.file}: layers.{layer.name}.files: {', '.join(missing)} does not exist after preinstall",
            hint="check where the commands write: they run at the root of a copy of the project, and `files` are paths "
            "below source_dir",
        )
    return copy


def _install(project: Project, into: Path, shop: Workshop) -> None:
    """Unpack the dependencies for the builder's own Python, so that commands can import them."""
    own = RUNTIMES.get(f"python{sys.version_info.major}.{sys.version_info.minor}", project.target.runtime)
    target = Target(runtime=own, architecture=architecture_of(os.uname().machine))
    archive = into.with_suffix(".zip")
    spliced(project, target, archive, shop)
    into.mkdir()
    unpack(archive, into)
    # Artifacts have no generated commands, but here people type them: `nltk`, `spacy`, `flask`.
    (into / "bin").mkdir(exist_ok=True)
    for path in sorted((into / "python").glob("*.dist-info/entry_points.txt")):
        for name, content in console_scripts(path.read_text(encoding="utf-8", errors="replace")).items():
            script = into / "bin" / name
            if not script.exists():
                script.write_bytes(content)
                script.chmod(0o755)
