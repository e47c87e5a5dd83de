"""What all kinds of build have in common: the one protocol, and the values that go through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from builder.python.prune import PruneOptions
from builder.runtimes import Target

if TYPE_CHECKING:
    from builder.replies.deploys import PrunedRow
    from builder.spec.builds import Recipe
    from builder.workshop.workshop import Workshop

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
    pruned: tuple[PrunedRow, ...] = ()
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
        shop: the builder's means, the same for every component.
        out: an existing, empty directory for what is built; scratch: another one, for what is in between.
        commit_time: SOURCE_DATE_EPOCH of what runs.
        listen: told what a program prints, passes it on to people now and then.
    """

    shop: Workshop
    out: Path
    scratch: Path
    commit_time: int
    listen: Callable[[str], None]


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
