"""A component that is built by one of the kinds: its key, its inputs for people, the files that it becomes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from builder.errors import ArtifactConflict
from builder.hashing import files_key, told
from builder.kinds import table
from builder.making.own_files import own_files
from builder.making.project import Project
from builder.plan import FUNCTION
from builder.spec.builds import CommandBuild, Recipe
from builder.workshop import commands
from builder.workshop.kind import Made, Work
from builder.workshop.workshop import Workshop


def key(recipe: Recipe, project: Project, name: str, shop: Workshop) -> str:
    """The content key: the recipe, the toolchains with their versions, the target, the files that count."""
    files = [*table.of(recipe).inputs(recipe, project.place(name)), *own_files(project, name)]
    return files_key(_how(recipe, project, name, shop), files)


def inputs(recipe: Recipe, project: Project, name: str, shop: Workshop) -> dict[str, str]:
    """What it is made of, for people to compare: file → `#hash`, toolchain → version."""
    place, kind = project.place(name), table.of(recipe)
    identities = (shop.toolbox.identity(tool) for tool in kind.needs(recipe, place))
    tools = {tool: version for tool, _, version in (identity.rpartition(" ") for identity in identities)}
    files = told([*kind.inputs(recipe, place), *own_files(project, name)])
    how = hashlib.sha256(_how(recipe, project, name, shop).encode()).hexdigest()
    return {**files, **tools, "build": f"#{how[:16]}"}


def _how(recipe: Recipe, project: Project, name: str, shop: Workshop) -> str:
    kind, place = table.of(recipe), project.place(name)
    tools = [shop.toolbox.identity(tool) for tool in kind.needs(recipe, place)]
    layer = None if name == FUNCTION else name
    prune = place.prune.key() if kind.prunes else ""
    how = (kind.name, kind.format, recipe, tools, place.source_dir, layer, place.handler, prune, project.target.label)
    return repr(how)


def build(recipe: Recipe, project: Project, name: str, shop: Workshop) -> Made:
    """The component: what its kind builds, with the files of the project that are listed beside it.

    Raises:
        BuildFailed, SourceError, ResolutionFailed: with the words of what failed.
        ArtifactConflict: a listed file and a built one want the same place.
    """
    place = project.place(name)
    made = table.of(recipe).build(recipe, place, _work(project, name, shop))
    files = list(made.files)
    if isinstance(recipe, CommandBuild) and recipe.secrets:
        commands.check_artifact(place.label, files, shop.secrets)
    if name != FUNCTION and name in {layer.name for layer in project.spec.layers}:
        below = project.layer(name).dest_dir
        files = [(str(PurePosixPath(below) / path), source) for path, source in files]
    own = own_files(project, name)
    if twice := sorted({path for path, _ in files} & {path for path, _ in own}):
        raise ArtifactConflict(
            f"{place.label} makes {', '.join(twice[:5])}, which files also ships",
            hint="remove it from files, or build it under another name",
        )
    return replace(made, files=sorted([*files, *own]))


def library_folders(recipe: Recipe, shop: Workshop) -> tuple[Path, ...]:
    """Where the toolchains that a recipe names have their libraries: beside their programs."""
    named = recipe.toolchains if isinstance(recipe, CommandBuild) else ()
    bins = [folder for name in named for folder in shop.toolbox.get(name).bins]
    return tuple(folder.parent / each for folder in bins for each in ("lib", "lib64"))


def _work(project: Project, name: str, shop: Workshop) -> Work:
    scratch, out = shop.scratch / f"work-{name}", shop.scratch / f"built-{name}"
    scratch.mkdir()
    out.mkdir()
    listen = _now_and_then(shop.progress.say)
    return Work(shop=shop, out=out, scratch=scratch, commit_time=project.commit_time, listen=listen)


def _now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` at most once a second: compilers name hundreds of packages, and progress is for people."""
    last = -1.0

    def told(message: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= 1:
            last = now
            say(message)

    return told
