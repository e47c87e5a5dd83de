"""What all kinds of build have in common: the one protocol, and the values that go through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from builder.python.prune import PruneOptions
from builder.runtimes import Target

if TYPE_CHECKING:
    from builder.commands import Secrets
    from builder.python.indexes import Indexes
    from builder.sources.access import GitCredentials, Network
    from builder.spec_builds import Recipe
    from builder.store import Store
    from builder.toolchains.toolbox import Toolbox
    from builder.workspace import Deadline, Workspace

Files = Sequence[tuple[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a kind has built.

    Args:
        files: (name in the component's zip, path below `Work.out` or of a source), sorted.
        notes: what the user should know of it, every time it is used.
        pruned: what was left out, [{rule, files, bytes}].
        contents: what went into it, for people: "express 5.1.0", …
    """

    files: Files
    notes: tuple[str, ...] = ()
    pruned: tuple[Mapping[str, str | int], ...] = ()
    contents: tuple[str, ...] = ()


R = TypeVar("R", bound="Recipe", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a component's sources are: `root` is the project's directory, `repository` what it may reach beyond it.

    `source_dir` is relative to `root`. `component` is its name, `is_function` whether it is the function, `handler` the
    function's; `label` is the key of the build file that asks for the build, for messages. `prune`: what the build file
    says of pruning.
    """

    root: Path
    repository: Path
    source_dir: str
    component: str
    is_function: bool
    label: str
    target: Target
    handler: str = ""
    prune: PruneOptions = field(default_factory=PruneOptions)

    @property
    def base(self) -> Path:
        """The directory that paths of the recipe are relative to."""
        return self.root / self.source_dir


@dataclass(frozen=True, kw_only=True)
class Work:
    """What building needs besides the sources.

    Args:
        out: an existing, empty directory for what is built; scratch: another one, for what is in between.
        environment: all that children inherit.
        owner: whose caches may be used: a repository, or a function.
        repository: URL of the project's repository, "" where it does not come from one.
        go_proxy, npm_registry: as in `builder.settings`; indexes: those of them, and of Python's, that want a login.
        memory_mb: of the builder; None where it has no limit of its own.
        commit_time: SOURCE_DATE_EPOCH of what runs.
        say: tells people who wait; listen: the same for what a program prints, of which they are told now and then.
    """

    out: Path
    scratch: Path
    workspace: Workspace
    store: Store
    toolbox: Toolbox
    deadline: Deadline
    environment: Mapping[str, str]
    owner: str
    repository: str
    go_proxy: str
    npm_registry: str
    indexes: Indexes
    memory_mb: int | None
    commit_time: int
    credentials: Callable[[], Sequence[GitCredentials]]
    network: Network
    secrets: Secrets | None
    say: Callable[[str], None]
    listen: Callable[[str], None]

    @property
    def jobs(self) -> int:
        """How many compilers may run at a time: each takes some hundred megabytes."""
        import os

        by_processor = len(os.sched_getaffinity(0))
        return by_processor if self.memory_mb is None else max(1, min(by_processor, self.memory_mb // 700))


class Kind(Protocol[R]):
    """A kind of build. One object each, without state."""

    name: str
    # Part of every key: changes when the same inputs would give other bytes.
    format: int
    # Whether rules of pruning apply to what it builds.
    prunes: bool

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        """The `function` of a build file for a project that has none but is clearly of this kind, else None.

        Args:
            name: of the function that is asked for: one of several commands may be called so.
        """

    def problem(self, recipe: R, place: Place) -> str | None:
        """What is wrong with the recipe, held against the files that are there."""

    def needs(self, recipe: R, place: Place) -> Sequence[str]:
        """Names of the toolchains; they and their versions are part of the key."""

    def reads_outside(self, recipe: R, place: Place) -> bool:
        """Whether it needs files of the repository outside of the project."""

    def inputs(self, recipe: R, place: Place) -> Files:
        """The files that what is built depends on, and nothing else: (name, path), sorted."""

    def build(self, recipe: R, place: Place, work: Work) -> Made:
        """Build it.

        Raises:
            CompilationFailed, CommandFailed: with the compiler's own words.
            OutOfTime, OutOfMemory, OutOfSpace: the builder's limits.
        """
