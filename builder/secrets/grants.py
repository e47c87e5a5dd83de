"""The secrets that one order may have, by value: what travels to the worker with it, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import cast

from builder.network.access import GitCredentials


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What an order was given.

    Args:
        git: logins of forges.
        indexes: name of a configured package index → (user, password).
        refused: name of one whose login cannot be had → why.
        commands: reference → value, for commands of the build file.
    """

    git: tuple[GitCredentials, ...] = field(default=(), repr=False)
    indexes: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict, repr=False)

    def values(self) -> tuple[str, ...]:
        """Everything in it that is secret."""
        git = (login.token for login in self.git)
        indexes = (password for _, password in self.indexes.values())
        return tuple(filter(None, (*git, *indexes, *self.commands.values())))

    def as_json(self) -> dict[str, object]:
        """For the worker."""
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
        """What `as_json` has made.

        Raises:
            KeyError, TypeError, ValueError: somebody else has made it.
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
