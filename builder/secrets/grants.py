"""The secrets that one order may have, by value: they travel to the worker with it, and no others do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import cast

from builder.network.access import GitCredentials


@dataclass(frozen=True, kw_only=True)
class Granted:
    """Secrets of an order.

    Args:
        git: logins of forges.
        indexes: name of a configured package index → (user, password).
        refused: name of an index whose login cannot be had → the reason.
        commands: reference → value, for commands of the build file.
    """

    git: tuple[GitCredentials, ...] = field(default=(), repr=False)
    indexes: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict, repr=False)

    def values(self) -> tuple[str, ...]:
        """Return everything in it that is secret."""
        git = (login.token for login in self.git)
        indexes = (password for _, password in self.indexes.values())
        return tuple(filter(None, (*git, *indexes, *self.commands.values())))

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the worker."""
        return {
            "git": [
                {name: value for name, value in asdict(one).items() if name != "modules"}
                | {"modules": list(one.modules)}
                for one in self.git
            ],
            "indexes": {name: list(login) for name, login in self.indexes.items()},
            "refused": dict(self.refused),
            "commands": dict(self.commands),
        }

    @classmethod
    def parse(cls, value: Mapping[str, object]) -> Granted:
        """Parse the output of `as_json`.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        git = cast("list[Mapping[str, str]]", value["git"])
        indexes = cast("Mapping[str, list[str]]", value["indexes"])
        return cls(
            git=tuple(
                GitCredentials(
                    username=one["username"],
                    token=one["token"],
                    base=one["base"],
                    modules=tuple(one["modules"]),
                    called=one["called"],
                    renewal=one["renewal"],
                )
                for one in git
            ),
            indexes={name: (user, password) for name, (user, password) in indexes.items()},
            refused=dict(cast("Mapping[str, str]", value["refused"])),
            commands=dict(cast("Mapping[str, str]", value["commands"])),
        )
