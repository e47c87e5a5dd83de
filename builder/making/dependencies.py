"""The component of the locked dependencies, spliced from their wheels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from builder.making import shipment
from builder.making.project import Project
from builder.natives.libraries import NOTHING, Collected
from builder.plan import Artifact, Kind
from builder.python.inputs import read_inputs
from builder.python.layer import LayerOptions, build_layer, dependencies_key
from builder.python.pylock import select
from builder.runtimes import Target
from builder.workshop.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The distributions of the project's lock."""

    name: str
    project: Project
    workshop: Workshop
    kind: ClassVar[Kind] = "dependencies"
    uses_lock: ClassVar[bool] = True

    @functools.cached_property
    def runs_code(self) -> bool:
        """Whether a distribution is built from source, which runs its code."""
        return bool(select(self.project.lock or "", self.project.target).sources)

    def key(self) -> str:
        """Hash the lock and the options of packing."""
        return dependencies_key(self.project.lock or "", self._options())

    def inputs(self) -> dict[str, str]:
        """Return the locked distributions, and a hash of the options of packing."""
        selection = select(self.project.lock or "", self.project.target)
        return {
            **{wheel.name: wheel.version for wheel in selection.wheels},
            **{source.name: source.version or "#" for source in selection.sources},
            "options": "#" + self._options().key()[:16],
        }

    def make(self) -> Artifact:
        """Splice the wheels, with the native libraries that they lack."""
        return spliced(
            self.project,
            self.project.target,
            shipment.zip_of(self.name, self.workshop),
            self.workshop,
            asked=_asked(self.project),
            collect=functools.partial(shipment.of_parts, self.project, self.name, workshop=self.workshop),
        )

    def _options(self) -> LayerOptions:
        return _options(self.project, self.project.target, _asked(self.project))


def spliced(
    project: Project,
    target: Target,
    out: Path,
    workshop: Workshop,
    *,
    asked: tuple[str, ...] | None = None,
    collect: Callable[[Sequence[tuple[Path, str]]], Collected] = lambda parts: NOTHING,
) -> Artifact:
    """Write the artifact with the lock's distributions for `target` to `out`.

    Args:
        asked, collect: as in `build_layer` and its options.
    """
    workshop.deadline.check("building dependencies")
    selection = select(project.lock or "", target)
    wheels = selection.wheels
    if selection.sources or any(wheel.path for wheel in wheels):
        from builder.kinds.sdists import Bench, wheels_of  # most locks have wheels alone, and need none of it

        wheels = wheels_of(selection, Bench(target=target, root=project.root, workshop=workshop))
    return build_layer(
        wheels,
        out,
        options=_options(project, target, asked),
        workspace=workshop.workspace,
        store=workshop.store,
        indexes=workshop.indexes,
        collect=collect,
    )


def _options(project: Project, target: Target, asked: tuple[str, ...] | None) -> LayerOptions:
    return LayerOptions(target=target, prune=project.prune, bytecode=project.spec.bytecode, asked=asked)


def _asked(project: Project) -> tuple[str, ...] | None:
    """Return the project's requirements by name; None if packages of the runtime may not be used."""
    if project.spec.runtime_packages != "use":
        return None
    inputs = read_inputs(project.spec.dependencies, project.root, project.repository)
    if inputs.lock is not None:  # another tool's lock has versions, not the requirements behind them
        return tuple(f"{wheel.name}=={wheel.version}" for wheel in select(project.lock or "", project.target).wheels)
    return tuple(
        f"{each.name}{each.extras}{each.specifier}" if each.kind == "index" else f"{each.name} @ {each.place}"
        for each in (*inputs.requirements, *inputs.constraints)
        if each.name
    )
