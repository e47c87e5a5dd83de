"""Commands of a build file, run in a copy of the project, with what it declares for them alone."""

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
    """What gives commands their secrets."""

    def values(self, references: Sequence[str]) -> Mapping[str, str]:
        """The value of each reference."""

    def contained(self, content: bytes) -> bool:
        """Whether something that was read is in `content`."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a build file declares for commands alone: variables, and secrets as variables or files."""

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
    """Run commands in `copy`, with the new directory `home` as HOME; it is gone afterwards.

    Args:
        label: whose commands they are, for messages.
        environment: all that the commands inherit; what the build file declares is added.
        memory_mb, listen: as in `process.run`. say: is told each command.

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
    """Variables, and files below HOME, with their contents."""
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
            path.touch(mode=0o600)
            path.write_text(content)
        yield
    finally:
        remove(home)


def check_artifact(what: str, files: Sequence[tuple[str, Path]], secrets: Secrets | None) -> None:
    """Return if no secret that was read in this build is in the files: artifacts are kept, and others can read them.

    Looks into what is packed in them as well.

    Raises:
        SecretInArtifact: names the files.
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
