"""The protocol of all kinds of build, and the values that it uses."""

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
    """The result of a build.

    Args:
        files: (name in the component's zip, path below `Work.out` or of a source), sorted.
        notes: warnings for the user, repeated each time it is used.
        pruned: files that were left out, [{rule, files, bytes}].
        contents: packages inside, for people: "express 5.1.0", …
    """

    files: Files
    notes: tuple[str, ...] = ()
    pruned: tuple[PrunedRow, ...] = ()
    contents: tuple[str, ...] = ()


R = TypeVar("R", bound="Recipe", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a component's sources: `root` is the project's directory, `repository` what it may reach beyond it.

    `source_dir` is relative to `root`. `component` is its name, `is_function` whether it is the function, `handler` the
    function's; `label` is the key of the build file that asks for the build, for messages. `prune`: the build file's
    options of pruning.
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
        """Directory that the recipe's paths are relative to."""
        return self.root / self.source_dir


@dataclass(frozen=True, kw_only=True)
class Work:
    """What building needs besides the sources.

    Args:
        workshop: the builder's means, the same for every component.
        out: an existing, empty directory for the results; scratch: another one, for intermediate files.
        commit_time: SOURCE_DATE_EPOCH of children.
        listen: called with a program's output, of which people see a line now and then.
    """

    workshop: Workshop
    out: Path
    scratch: Path
    commit_time: int
    listen: Callable[[str], None]


class Kind(Protocol[R]):
    """A kind of build. One object each, without state."""

    name: str
    # Part of every key: raised when the same inputs would give other bytes.
    format: int
    # Whether rules of pruning apply to its results.
    prunes: bool

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        """Return the `function` of a build file for a project without one that is clearly of this kind, else None.

        Args:
            name: of the requested function: one of several commands may have it.
        """

    def problem(self, recipe: R, place: Place) -> str | None:
        """Say what is wrong with the recipe, compared with the existing files."""

    def needs(self, recipe: R, place: Place) -> Sequence[str]:
        """Return the names of its toolchains; they and their versions are part of the key."""

    def reads_outside(self, recipe: R, place: Place) -> bool:
        """Tell whether it needs files of the repository outside of the project."""

    def inputs(self, recipe: R, place: Place) -> Files:
        """Return all files that the result depends on, and no others: (name, path), sorted."""

    def build(self, recipe: R, place: Place, work: Work) -> Made:
        """Build it.

        Raises:
            CompilationFailed, CommandFailed: with the compiler's own words.
            OutOfTime, OutOfMemory, OutOfSpace: the builder's limits.
        """
