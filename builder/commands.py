"""The commands of a layer, run in a copy of the project, with what the build file declares for them alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder import process
from builder.errors import CommandFailed, InvalidConfiguration, OutOfTime, SecretInArtifact

if TYPE_CHECKING:
    from builder.spec import LayerSpec
    from builder.workspace import Deadline


class Secrets(Protocol):
    """What gives commands their secrets."""

    def values(self, references: Sequence[str]) -> Mapping[str, str]:
        """The value of each reference."""

    def contained(self, content: bytes) -> bool:
        """Whether something that was read is in `content`."""


def run(
    layer: LayerSpec,
    copy: Path,
    home: Path,
    *,
    environment: Mapping[str, str],
    secrets: Secrets | None,
    deadline: Deadline,
) -> None:
    """Run the layer's commands in `copy`, with the new directory `home` as HOME; it is gone afterwards.

    Args:
        environment: all that the commands inherit; what the build file declares is added.

    Raises:
        CommandFailed, OutOfTime: with the last lines of the command.
        SecretMissing, AccessDenied, InvalidConfiguration: a secret cannot be had.
    """
    where = f"preinstall of layer {layer.name}"
    variables, files = _secrets(layer, secrets)
    with _home(home, files):
        given = {**environment, **layer.environment, **variables, "HOME": str(home), "TMPDIR": str(home)}
        for command in layer.preinstall:
            left = deadline.check(where)
            try:
                process.run(
                    ["bash", "-euo", "pipefail", "-c", command],
                    cwd=copy,
                    environment=given,
                    timeout_s=left,
                    what=f"{where}: {command}",
                )
            except (CommandFailed, OutOfTime) as error:
                error.hint = error.hint or (
                    "it ran in the builder, with no credentials but those that secrets names; its last lines are above"
                )
                raise


def _secrets(layer: LayerSpec, secrets: Secrets | None) -> tuple[dict[str, str], dict[str, str]]:
    """Variables, and files below HOME, with their contents."""
    if not layer.secrets:
        return {}, {}
    if secrets is None:
        raise InvalidConfiguration(
            f"layers.{layer.name}.secrets: secrets are in AWS, and this build works without",
            hint="deploy with the builder function, or build the other components alone",
        )
    values = secrets.values([secret.source for secret in layer.secrets])
    variables = {secret.env: values[secret.source] for secret in layer.secrets if secret.env is not None}
    files = {secret.file: values[secret.source] for secret in layer.secrets if secret.file is not None}
    return variables, files


@contextlib.contextmanager
def _home(home: Path, files: Mapping[str, str]) -> Iterator[None]:
    home.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            path = home / name.removeprefix("~/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(content)
        yield
    finally:
        shutil.rmtree(home, ignore_errors=True)


def check_artifact(layer: LayerSpec, files: Sequence[tuple[str, Path]], secrets: Secrets | None) -> None:
    """Return if no secret that was read in this build is in the files: layers are kept, and others can read them.

    Raises:
        SecretInArtifact: names the files.
    """
    if secrets is None or not layer.secrets:
        return
    leaking = [name for name, path in files if secrets.contained(name.encode()) or secrets.contained(path.read_bytes())]
    if leaking:
        shown = ", ".join(leaking[:5]) + (f" and {len(leaking) - 5} more" if len(leaking) > 5 else "")
        raise SecretInArtifact(
            f"layer {layer.name}: the commands have left a secret in {shown}",
            hint="use it without keeping it, remove the file at the end of preinstall, or leave it out of files",
        )
