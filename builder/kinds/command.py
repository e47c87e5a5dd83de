"""Runs any commands in a copy of the project, with the toolchains that they name; their output is what is built."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import LambdasmithError, PathNotFound
from builder.sources.local import select_files
from builder.spec.builds import CommandBuild
from builder.system.removal import remove
from builder.toolchains import zig
from builder.workshop import commands
from builder.workshop.kind import Files, Made, Place, Work

# Files that say which packages of others a build uses: while they stay the same, so does most of its cache.
_LOCKS = frozenset(
    {"go.sum", "package-lock.json", "Cargo.lock", "cabal.project.freeze", "stack.yaml.lock", "uv.lock", "poetry.lock"}
)
# Directories where tools keep what they may need again, by the variable that sets them.
_CACHES: Mapping[str, str] = {
    "XDG_CACHE_HOME": "xdg",
    "GOCACHE": "go/build",
    "GOMODCACHE": "go/modules",
    "GOPATH": "go/path",
    "npm_config_cache": "npm",
    "CARGO_HOME": "cargo",
    "CABAL_DIR": "cabal",
    "STACK_ROOT": "stack",
    "CCACHE_DIR": "ccache",
    "ZIG_GLOBAL_CACHE_DIR": "zig",
    "ZIG_LOCAL_CACHE_DIR": "zig",
}


class _Command:
    name = "command"
    format = 1
    prunes = False

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        return None

    def problem(self, recipe: CommandBuild, place: Place) -> str | None:
        return None

    def needs(self, recipe: CommandBuild, place: Place) -> Sequence[str]:
        return recipe.toolchains

    def reads_outside(self, recipe: CommandBuild, place: Place) -> bool:
        return False

    def inputs(self, recipe: CommandBuild, place: Place) -> Files:
        source_dir = place.source_dir if recipe.inputs else "."
        return select_files(place.root, source_dir, recipe.inputs, (), to_ship=False)

    def build(self, recipe: CommandBuild, place: Place, work: Work) -> Made:
        workshop = work.workshop
        # Compilers write the paths of their sources into their results, so this path is the same every time.
        with workshop.workspace.build_place() as folder:
            copy = folder / "source"
            # A copy, since other components are built from the project's own files.
            shutil.copytree(place.root, copy, symlinks=True)
            base = copy / place.source_dir
            tools = (workshop.toolbox.identity(name) for name in recipe.toolchains)
            # Toolchains are part of the name: one version's cache can break another's build.
            cache = workshop.cache("command", place.component, place.target.label, *tools)
            cache.restore()
            commands.run(
                recipe.command,
                commands.Given(environment=recipe.environment, secrets=recipe.secrets),
                base,
                folder / "home",
                label=place.label,
                environment=_environment(recipe, place, work, folder, cache.folder),
                secrets=workshop.secrets,
                deadline=workshop.deadline,
                memory_mb=workshop.memory_mb,
                say=workshop.progress.say,
                listen=work.listen,
            )
            if recipe.secrets:
                # Results may contain the secret, and must not reach whatever runs next.
                workshop.workspace.sweep()
                remove(cache.folder)
            else:
                cache.keep(_fingerprint(recipe, place))
            return Made(files=_taken(recipe, place, base, work.out))


COMMAND = _Command()


def _environment(recipe: CommandBuild, place: Place, work: Work, folder: Path, cache: Path) -> dict[str, str]:
    workshop, path = work.workshop, []
    environment = dict(workshop.environment)
    for name in recipe.toolchains:
        installed = workshop.toolbox.get(name)
        path += [str(place) for place in installed.bins]
        if name == "zig":
            environment |= zig.compiler(place.target, folder, workshop.toolbox)
            path += [str(zig.programs(folder)), str(installed.root / "ziglang")]
        if name == "go":
            environment |= {"GOROOT": str(installed.root / "go"), "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw"}
    environment |= {variable: str(cache / below) for variable, below in _CACHES.items()}
    return environment | {
        "PATH": os.pathsep.join([*path, workshop.environment.get("PATH", "")]),
        # Tools that embed a date use this one, so that the same commit gives the same bytes.
        "SOURCE_DATE_EPOCH": str(work.commit_time),
        "ARCHITECTURE": place.target.architecture,
        "RUNTIME": place.target.runtime.name,
        "JOBS": str(workshop.jobs),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


def _fingerprint(recipe: CommandBuild, place: Place) -> str:
    digest = hashlib.sha256(repr(recipe.command).encode())
    for path in sorted(place.root.rglob("*")):
        if path.name in _LOCKS and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _taken(recipe: CommandBuild, place: Place, base: Path, out: Path) -> Files:
    """Copy the output to `out`. A single directory contributes its contents; anything else keeps its own path."""
    entries = recipe.output
    only = base / entries[0] if len(entries) == 1 else None
    folder, chosen = (entries[0], ()) if only is not None and only.is_dir() else (".", entries)
    try:
        found = select_files(base, folder, chosen, ())
    except PathNotFound as error:
        raise _missing(place, error.problems) from error
    except LambdasmithError as error:
        error.message = f"{place.label}.output: {error.message}"
        raise
    if not found:
        raise _missing(place, (f"{entries[0]!r} is empty",))
    taken = []
    for name, path in found:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        taken.append((name, target))
    return tuple(taken)


def _missing(place: Place, problems: Sequence[str]) -> PathNotFound:
    return PathNotFound(
        f"{place.label}.output: {'; '.join(problems)} after the commands",
        hint="check where the commands write; paths are relative to source_dir",
    )
