"""Components that a kind of build makes, together with files of the project."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from builder.errors import ArtifactConflict
from builder.hashing import files_key, readable_hashes
from builder.kinds import table
from builder.making.own_files import own_files
from builder.making.project import Project
from builder.making.shipment import packed
from builder.plan import Artifact
from builder.plan import Kind as ComponentKind
from builder.spec.build_file import LayerSpec
from builder.spec.builds import CommandBuild, Recipe
from builder.workshop import commands
from builder.workshop.kind import Kind, Place, Work
from builder.workshop.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class KindBuild:
    """A component that is built by its recipe."""

    name: str
    project: Project
    workshop: Workshop
    recipe: Recipe
    runs_code: ClassVar[bool] = True
    uses_lock: ClassVar[bool] = False  # npm's lock is taken as it is

    @property
    def kind(self) -> ComponentKind:
        """Kind of the component: any of them can have a recipe."""
        return self.project.kind(self.name)

    def key(self) -> str:
        """Hash the recipe, the toolchains with their versions, the target, and the input files."""
        return files_key(self._how(), self._read())

    def inputs(self) -> dict[str, str]:
        """Return the input files, the toolchains with their versions, and a hash of the recipe."""
        tools = {tool: version for tool, _, version in (identity.rpartition(" ") for identity in self._tools())}
        how = hashlib.sha256(self._how().encode()).hexdigest()
        return {**readable_hashes(self._read()), **tools, "build": f"#{how[:16]}"}

    def make(self) -> Artifact:
        """Build it, and zip it with the files of the project that are listed beside it.

        Raises:
            BuildFailed, SourceError, ResolutionFailed: with the message of the tool that failed.
            ArtifactConflict: a listed file and a built one want the same place.
        """
        built = self._by_kind.build(self.recipe, self._place, _work(self.project, self.name, self.workshop))
        files = list(built.files)
        if isinstance(self.recipe, CommandBuild) and self.recipe.secrets:
            # Before it is zipped: artifacts are kept, and others can read them.
            commands.check_artifact(self._place.label, files, self.workshop.secrets)
        holder = self.project.holder(self.name)
        if isinstance(holder, LayerSpec):
            files = [(str(PurePosixPath(holder.dest_dir) / path), source) for path, source in files]
        made = replace(built, files=_joined(files, own_files(self.project, self.name), self._place))
        return packed(self.project, self.name, made, self.workshop, search=self._library_folders())

    @property
    def _by_kind(self) -> Kind[Any]:
        return table.of(self.recipe)

    @property
    def _place(self) -> Place:
        return self.project.place(self.name)

    def _read(self) -> list[tuple[str, Path]]:
        return [*self._by_kind.inputs(self.recipe, self._place), *own_files(self.project, self.name)]

    def _tools(self) -> list[str]:
        return [self.workshop.toolbox.identity(tool) for tool in self._by_kind.needs(self.recipe, self._place)]

    def _how(self) -> str:
        kind, place = self._by_kind, self._place
        layer = None if place.is_function else self.name
        prune = place.prune.key() if kind.prunes else ""
        target = self.project.target.label
        tools = self._tools()
        how = (kind.name, kind.format, self.recipe, tools, place.source_dir, layer, place.handler, prune, target)
        holder = self.project.holder(self.name)
        below = holder.dest_dir if isinstance(holder, LayerSpec) else ""
        return repr((*how, below) if below else how)  # left out if empty, so that older keys remain valid

    def _library_folders(self) -> tuple[Path, ...]:
        """Return the directories of libraries of the recipe's toolchains: they are beside their programs."""
        named = self.recipe.toolchains if isinstance(self.recipe, CommandBuild) else ()
        bins = [folder for name in named for folder in self.workshop.toolbox.get(name).bins]
        return tuple(folder.parent / each for folder in bins for each in ("lib", "lib64"))


def _joined(built: Sequence[tuple[str, Path]], own: Sequence[tuple[str, Path]], place: Place) -> list[tuple[str, Path]]:
    """Return the built files and the project's own files together, sorted."""
    if twice := sorted({path for path, _ in built} & {path for path, _ in own}):
        raise ArtifactConflict(
            f"{place.label} makes {', '.join(twice[:5])}, which files also ships",
            hint="remove it from files, or build it under another name",
        )
    return sorted([*built, *own])


def _work(project: Project, name: str, workshop: Workshop) -> Work:
    scratch, out = workshop.scratch / f"work-{name}", workshop.scratch / f"built-{name}"
    scratch.mkdir()
    out.mkdir()
    listen = _now_and_then(workshop.progress.say)
    return Work(workshop=workshop, out=out, scratch=scratch, commit_time=project.commit_time, listen=listen)


def _now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that calls `say` at most once a second: compilers name hundreds of packages."""
    last = -1.0

    def say_sometimes(message: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= 1:
            last = now
            say(message)

    return say_sometimes
