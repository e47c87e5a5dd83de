"""Everything that the core uses to reach the world, made by an entry point and handed down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from builder.aws import Clients
from builder.errors import LambdasmithError
from builder.network.access import GitCredentials, Greeting
from builder.progress import Progress
from builder.secrets.grants import Granted
from builder.secrets.logins import IndexLogin
from builder.secrets.masking import Masker
from builder.settings import Settings
from builder.sources.snapshot import Resolved, Snapshot
from builder.store.s3 import S3Store
from builder.system.removal import remove
from builder.workspace.directory import Deadline, Workspace
from builder.workspace.domains import Domain


@dataclass(kw_only=True)
class SharedCheckout:
    """The place in which several functions of one project are made, one by one, from files that were fetched once.

    `scratch` is None until there is one. `snapshots` are by source and directory, `count` is the number of functions.
    """

    scratch: Path | None = None
    snapshots: dict[object, Snapshot] = field(default_factory=dict)
    count: int = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """Yield an empty directory for one function, which is removed afterwards."""
        if self.scratch is None:
            raise AssertionError("the checkout is there before something is made of it")
        self.count += 1
        place = self.scratch / f"{self.count}"
        place.mkdir()
        try:
            yield place
        finally:
            remove(place)


@dataclass(frozen=True, kw_only=True)
class Context:
    """Surroundings of one invocation. `environment` is the process's without logins; children get a part of it.

    `ambient_indexes` are indexes that it names with a login, each with user and password.

    `secret_texts` are the secrets read so far, by name, `refused_logins` the errors of forges' logins that cannot be
    had, by section; `allowed_secrets` the references that the project may use in its commands. `tips` are refs by the
    commit that they point to, as far as they were asked for, and `greetings` the first answers of git servers.
    `checkout` is where several functions of one project are made. `until_end` is closed when all is done, the record
    included. `granted` is set in the worker, which has no other secrets.
    """

    settings: Settings
    clients: Clients
    store: S3Store
    workspace: Workspace
    deadline: Deadline
    progress: Progress
    environment: Mapping[str, str]
    secrets: Masker
    secret_texts: dict[str, str] = field(default_factory=dict, repr=False)
    refused_logins: dict[str, LambdasmithError] = field(default_factory=dict, repr=False)
    ambient_indexes: Mapping[IndexLogin, tuple[str, str]] = field(default_factory=dict, repr=False)
    allowed_secrets: set[str] = field(default_factory=set)
    tips: dict[Resolved, tuple[str, ...]] = field(default_factory=dict)
    greetings: dict[tuple[str, GitCredentials | None], Greeting] = field(default_factory=dict, repr=False)
    checkout: SharedCheckout = field(default_factory=SharedCheckout, repr=False)
    until_end: ExitStack = field(default_factory=ExitStack)
    granted: Granted | None = None

    def kept(self, domain: Domain) -> S3Store:
        """Return the store for results of the domain's code; the worker has no other."""
        return self.store if self.granted is not None else self.store.below(domain.folder)
