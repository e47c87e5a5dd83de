"""Runs commands of a build file in a copy of the project, with variables and secrets for them alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.amounts import some
from builder.errors import CommandFailed, InvalidConfiguration, OutOfTime, SecretInArtifact
from builder.system import process
from builder.system.removal import remove

if TYPE_CHECKING:
    from builder.spec.base import SecretSpec
    from builder.workspace.directory import Deadline


class Secrets(Protocol):
    """Source of the secrets for commands."""

    def values(self, references: Sequence[str]) -> Mapping[str, str]:
        """Return the value of each reference."""

    def contained(self, content: bytes) -> bool:
        """Tell whether a secret that was read is in `content`."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Declarations of a build file for commands alone: variables, and secrets as variables or files."""

    environment: Mapping[str, str]
    secrets: Sequence[SecretSpec]


def run(
    lines: Sequence[str],
    given: Given,
    copy: Path,
    home: Path,
    *,
    label: str,
    environment: Mapping[str, str],
    secrets: Secrets | None,
    deadline: Deadline,
    memory_mb: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    listen: Callable[[str], None] | None = None,
) -> None:
    """Run commands in `copy`, with the new directory `home` as HOME, which is removed afterwards.

    Args:
        label: the component, for messages.
        environment: all that the commands inherit; the build file's declarations are added.
        memory_mb, listen: as in `process.run`. say: called with each command.

    Raises:
        CommandFailed, OutOfTime, OutOfMemory: with the last lines of the command.
        SecretMissing, AccessDenied, InvalidConfiguration: a secret cannot be had.
    """
    variables, files = _secrets(label, given, secrets)
    with _home(home, files):
        variables = {**environment, **given.environment, **variables, "HOME": str(home), "TMPDIR": str(home)}
        for command in lines:
            left = deadline.check(label)
            say(command)
            try:
                process.run(
                    # Strict, so that the first failure ends the command instead of an incomplete layer.
                    ["bash", "-euo", "pipefail", "-c", command],
                    cwd=copy,
                    environment=variables,
                    timeout_s=left,
                    what=f"{label}: {command}",
                    memory_mb=memory_mb,
                    listen=listen,
                )
            except (CommandFailed, OutOfTime) as error:
                error.hint = error.hint or (
                    "it ran with no credentials but those that secrets names; its last lines are above"
                )
                raise


def _secrets(label: str, given: Given, secrets: Secrets | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return variables, and files below HOME, with their contents."""
    if not given.secrets:
        return {}, {}
    if secrets is None:
        raise InvalidConfiguration(
            f"{label}: secrets are in AWS, and this build works without",
            hint="deploy with the builder function, or build only the other components",
        )
    values = secrets.values([secret.source for secret in given.secrets])
    variables = {secret.env: values[secret.source] for secret in given.secrets if secret.env is not None}
    files = {secret.file: values[secret.source] for secret in given.secrets if secret.file is not None}
    return variables, files


@contextlib.contextmanager
def _home(home: Path, files: Mapping[str, str]) -> Iterator[None]:
    home.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            path = home / name.removeprefix("~/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The mode first, the content afterwards: at no moment can another user read it.
            path.touch(mode=0o600)
            path.write_text(content)
        yield
    finally:
        # Even after a failure: the files hold secrets, and other code runs here later.
        remove(home)


def check_artifact(what: str, files: Sequence[tuple[str, Path]], secrets: Secrets | None) -> None:
    """Return if no secret of this build is in the files: artifacts are kept, and others can read them.

    Content that is packed inside them is searched as well.

    Raises:
        SecretInArtifact: some files contain one; the message names them.
    """
    if secrets is None:
        return
    from builder.archives.inside import Looking

    looking, contained = Looking(), secrets.contained
    leaking = [
        name for name, path in files if contained(name.encode()) or any(map(contained, looking.at(path.read_bytes())))
    ]
    if leaking:
        raise SecretInArtifact(
            f"{what}: the commands have left a secret in {some(leaking, 5)}",
            hint="use it without keeping it, remove the file with the last command, or leave it out of files",
        )
