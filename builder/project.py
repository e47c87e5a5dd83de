"""A project: a directory with a build file, what the file says, and what it is built for."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from builder.errors import InvalidBuildFile
from builder.plan import FUNCTION
from builder.python.prune import PruneOptions
from builder.runtimes import RUNTIMES, Architecture, Target
from builder.spec import BuildSpec, LayerSpec, find_build_file, read_build_file
from builder.spec_tree import check_against_tree


@dataclass(frozen=True, kw_only=True)
class Project:
    """A build file, the directory it lies in, what it is built for, and the lock of its dependencies if it has any.

    `repository` is the directory in which requirements may name local sources; None means `root` alone.
    `reads_outside`: the dependencies need files of the repository outside of the project.
    """

    root: Path
    spec: BuildSpec
    target: Target
    commit_time: int
    lock: str | None = None
    repository: Path | None = None
    reads_outside: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Its components: the layers that are built, in the order in which they are attached, then the function."""
        layers = tuple(layer for layer in self.spec.layer_order if isinstance(layer, str))
        return layers + ((FUNCTION,) if self.spec.function else ())

    @property
    def foreign(self) -> tuple[str, ...]:
        """ARNs of the layers from elsewhere; what is in them is not known here."""
        return tuple(layer.arn for layer in self.spec.layer_order if not isinstance(layer, str))

    @property
    def runtime_warning(self) -> str:
        """What to say of a runtime that AWS no longer supports; empty if it does."""
        runtime = self.target.runtime
        if runtime.deprecated is None or not runtime.is_deprecated(datetime.datetime.now(datetime.UTC).date()):
            return ""
        return f"{runtime.name} was deprecated by AWS on {runtime.deprecated}; move to a newer runtime"

    @property
    def prune(self) -> PruneOptions:
        """What the build file says of pruning."""
        return PruneOptions(disable=self.spec.prune.disable, keep=self.spec.prune.keep)

    def layer(self, name: str) -> LayerSpec:
        """The named layer of the build file."""
        return next(layer for layer in self.spec.layers if layer.name == name)


def read_project(
    root: Path,
    build_file: str | None,
    *,
    commit_time: int,
    runtime: str | None = None,
    architecture: Architecture | None = None,
    otherwise: Architecture = "x86_64",
    repository: Path | None = None,
) -> Project:
    """The project in the existing directory `root`; `runtime` and `architecture` win over what the build file says.

    `otherwise` is the architecture where neither says one.

    Raises:
        InvalidBuildFile: there is no build file, it is not valid, or it names files that are not there.
    """
    name = find_build_file([path.name for path in root.iterdir() if path.is_file()], build_file)
    spec = read_build_file((root / name).read_text(encoding="utf-8", errors="replace"), file=name)
    check_against_tree(spec, root)
    target = Target(
        runtime=RUNTIMES[runtime or _runtime(spec)],
        architecture=architecture or (spec.function.architecture if spec.function else None) or otherwise,
    )
    return Project(root=root, spec=spec, target=target, commit_time=commit_time, repository=repository)


def _runtime(spec: BuildSpec) -> str:
    """What the function, or else the first layer that says so, runs on."""
    named = [spec.function.runtimes] if spec.function else [layer.runtimes for layer in spec.layers if layer.runtimes]
    if not named:
        raise InvalidBuildFile(f"{spec.file}: no runtimes are named", hint="add runtimes: [python3.13] to the function")
    return named[0][0]
