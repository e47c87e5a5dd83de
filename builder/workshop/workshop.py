"""What building needs besides the project, made by an entry point and handed down to all builds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.natives.judging import Baseline, Recorded, baseline_record
from builder.network.access import GitCredentials, Network
from builder.progress import Progress
from builder.runtimes import Target
from builder.secrets.indexes import NO_LOGINS, Indexes
from builder.store.keeping import Store
from builder.workshop.commands import Secrets
from builder.workspace.directory import Deadline, Workspace

if TYPE_CHECKING:
    from builder.toolchains.catalogue import ArchiveTool
    from builder.toolchains.toolbox import Toolbox
    from builder.workshop.caches import BuildCache


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What building needs besides the project: places, time, listeners, and the environment of children.

    `store` has content that is verified by its hash, or made without running foreign code, and is shared; `kept` has
    results of this trust domain's code, for this domain alone; `caches` is the directory of its compilers' caches.

    `credentials` returns those of git dependencies, called only if there are any; `network` limits what they reach;
    `indexes` are the package indexes that want a login. `secrets` reads the secrets of a build file's commands; None if
    none can be read. `toolchains`, `go_proxy` and `npm_registry` are those of the configuration. `repository` is the
    project's URL, "" if it has none. `memory_mb` is the builder's; None without a limit. `library_path` are the
    directories of the builder's own LD_LIBRARY_PATH.
    """

    workspace: Workspace
    scratch: Path
    store: Store
    kept: Store
    caches: Path
    deadline: Deadline
    progress: Progress
    environment: Mapping[str, str]
    credentials: Callable[[], Sequence[GitCredentials]] = tuple
    network: Network = field(default_factory=Network)
    indexes: Indexes = NO_LOGINS
    secrets: Secrets | None = None
    toolchains: tuple[ArchiveTool, ...] = ()
    repository: str = ""
    go_proxy: str = ""
    npm_registry: str = ""
    memory_mb: int | None = None
    library_path: tuple[Path, ...] = ()
    _baselines: dict[str, Baseline] = field(default_factory=dict)

    @property
    def toolbox(self) -> Toolbox:
        """Compilers and build tools."""
        from builder.toolchains.toolbox import Toolbox

        return Toolbox(
            workspace=self.workspace,
            store=self.store,
            environment=self.environment,
            indexes=self.indexes,
            deadline=self.deadline,
            configured=self.toolchains,
            say=self.progress.say,
        )

    def cache(self, *of: str) -> BuildCache:
        """Return a compiler's cache, for this domain alone; `of`: the kind of build, versions of tools, target."""
        from builder.workshop.caches import BuildCache

        return BuildCache(root=self.caches, workspace=self.workspace, store=self.kept, name="\0".join(of))

    @property
    def jobs(self) -> int:
        """Number of compilers that may run at a time: each takes some hundred megabytes."""
        by_processor = len(os.sched_getaffinity(0))
        return by_processor if self.memory_mb is None else max(1, min(by_processor, self.memory_mb // 700))

    def baseline(self, target: Target) -> Baseline:
        """Return the libraries of the target's runtime: as a builder recorded them, else as this version knows."""
        if target.label not in self._baselines:
            recorded = self.store.find(baseline_record(target), Recorded.parse)
            self._baselines[target.label] = Baseline.of(target, recorded)
        return self._baselines[target.label]
