"""Everything that the core uses to reach the world, made by an entry point and handed down."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from builder.aws import Clients
from builder.errors import LambdasmithError
from builder.network.access import GitCredentials, Greeting
from builder.progress import Progress
from builder.secrets.grants import Granted
from builder.secrets.logins import IndexLogin
from builder.secrets.masking import Masker
from builder.settings import Settings
from builder.sources.snapshot import Resolved
from builder.store.s3 import S3Store
from builder.workspace.directory import Deadline, Workspace
from builder.workspace.domains import Domain


@dataclass(frozen=True, kw_only=True)
class Context:
    """Surroundings of one invocation. `environment` is the process's without logins; children get a part of it.

    `ambient_indexes` are indexes that it names with a login, each with user and password.

    `secret_texts` are the secrets read so far, by name, `refused_logins` the errors of forges' logins that cannot be
    had, by section; `allowed_secrets` the references that the project may use in its commands. `tips` are refs by the
    commit that they point to, as far as they were asked for, and `greetings` the first answers of git servers.
    `until_end` is closed when all is done, the record included. `granted` is set in the worker, which has no other
    secrets.
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
    until_end: ExitStack = field(default_factory=ExitStack)
    granted: Granted | None = None

    def kept(self, domain: Domain) -> S3Store:
        """Return the store for results of the domain's code; the worker has no other."""
        return self.store if self.granted is not None else self.store.below(domain.folder)
