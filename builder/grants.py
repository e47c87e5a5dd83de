"""The secrets that one order may have, by value: what travels to the worker with it, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from builder.errors import LambdasmithError
from builder.sources.access import GitCredentials, credentials_for

if TYPE_CHECKING:
    from builder.context import Context
    from builder.order import Order
    from builder.spec import BuildSpec

_PARALLEL = 8


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
                {"username": one.username, "token": one.token, "base": one.base, "modules": list(one.modules)}
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
                    username=one["username"], token=one["token"], base=one["base"], modules=tuple(one["modules"])
                )
                for one in git
            ),
            indexes={name: (user, password) for name, (user, password) in indexes.items()},
            refused=dict(cast("Mapping[str, str]", value["refused"])),
            commands=dict(cast("Mapping[str, str]", value["commands"])),
        )


def granted(order: Order, context: Context) -> Granted:
    """The logins that the order may use: all that the builder has, for a commit that its repository vouches for.

    Code of any other commit gets what is needed to fetch it.

    Raises:
        InvalidConfiguration, SecretMissing, AccessDenied: a forge's login cannot be had.
    """
    from builder import credentials, fetching

    known = credentials.git_credentials(context)
    if order.resolved is not None:
        if not order.domain.vouched:
            own = credentials_for(order.repository, known)
            known = (own,) if own else ()
        known = (*known, *fetching.of_codecommit(order.repository, context))
    logins = credentials.indexes(context)
    if not order.domain.vouched or not context.settings.logins.indexes:
        return Granted(git=known)
    found: dict[str, tuple[str, str]] = {}
    refused: dict[str, str] = {}
    with ThreadPoolExecutor(_PARALLEL) as pool:
        reading = {index.name: pool.submit(logins.read, index) for index in context.settings.logins.indexes}
        for name, login in reading.items():
            try:
                found[name] = login.result()
            except LambdasmithError as error:  # most builds use none of them
                refused[name] = error.message
    return Granted(git=known, indexes=found, refused=refused)


def for_commands(spec: BuildSpec, order: Order, context: Context, given: Granted) -> Granted:
    """`given` with the secrets that the build file names for its commands.

    Raises:
        SecretNotAllowed: the operator does not allow them to this project, or to this commit.
        SecretMissing, AccessDenied: one cannot be had.
    """
    from builder import allowance, credentials
    from builder.spec_base import secrets_in

    allowance.check(spec, order.function, order.resolved, context)
    wanted = list(dict.fromkeys(secret.source for _, secret in secrets_in(spec)))
    return replace(given, commands=credentials.CommandSecrets(context).values(wanted))
