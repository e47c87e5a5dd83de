"""The secrets that one order may have, by value: they travel to the worker with it, and no others do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from builder.errors import SecretMissing
from builder.network.access import GitCredentials
from builder.store.values import Fields


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
                {name: value for name, value in asdict(replace(one, refused=None)).items() if value is not None}
                | {"modules": list(one.modules)}
                | ({"refused": one.refused.message, "hint": one.refused.hint} if one.refused else {})
                for one in self.git
            ],
            "indexes": {name: list(login) for name, login in self.indexes.items()},
            "refused": dict(self.refused),
            "commands": dict(self.commands),
        }

    @classmethod
    def parse(cls, sent: Fields) -> Granted:
        """Parse the output of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        logins = sent.fields("indexes")
        indexes = {name: logins.texts(name) for name in logins.value}
        return cls(
            git=tuple(
                GitCredentials(
                    username=one.text("username"),
                    token=one.text("token"),
                    base=one.text_or_none("base") if "base" in one else None,
                    modules=one.texts("modules"),
                    called=one.text("called"),
                    renewal=one.text("renewal"),
                    refused=SecretMissing(one.text("refused"), hint=one.text("hint")) if "refused" in one else None,
                )
                for one in sent.rows("git")
            ),
            indexes={name: (user, password) for name, (user, password) in indexes.items()},
            refused=sent.fields("refused").all_texts(),
            commands=sent.fields("commands").all_texts(),
        )
