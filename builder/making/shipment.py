"""The content of a finished component: its own files, the native libraries that they need, and notes for the user.

`packed` is the last step of every component that is made of files; dependencies are spliced from parts instead.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.archives.zips import Entry, write_zip
from builder.hashing import is_executable
from builder.making.project import Project, layer_files
from builder.natives import libraries
from builder.natives.kept import natives_of
from builder.natives.libraries import FOLDER, NOTHING, Collected, Needing, Search
from builder.natives.machine import Machine
from builder.plan import Artifact
from builder.runtimes import Target
from builder.workshop.kind import Made

if TYPE_CHECKING:
    from builder.workshop.workshop import Workshop

# Part of the keys of components for which libraries are collected: raised when the same inputs would give other bytes.
_FORMAT = 1
_SHELLS = frozenset({"sh", "bash"})
# Other interpreters that both versions of Amazon Linux have in Lambda.
_TOOLS = frozenset({"awk", "gawk", "sed"})
_BINARIES = ("/bin", "/usr/bin")
_SHEBANG_MAX = 256
# Number of files that the artifact's contents name; more would fill its record and messages.
_FEW = 20


@dataclass(frozen=True, kw_only=True)
class _Shipment:
    """Content of a component: all `files` to zip, as (name in the zip, path), and `notes` for the user."""

    files: tuple[tuple[str, Path], ...]
    collected: Collected = NOTHING
    notes: tuple[str, ...] = ()


def zip_of(name: str, workshop: Workshop) -> Path:
    """Return the path at which the zip of a component is made."""
    return workshop.scratch / f"{name}.zip"


def packed(project: Project, name: str, made: Made, workshop: Workshop, *, search: Sequence[Path] = ()) -> Artifact:
    """Zip the files of the component `name`, with the libraries that they need, to `zip_of`.

    Args:
        search: directories of libraries that come before the machine's, such as a toolchain's.

    Raises:
        NativeMismatch: a file or a library that it needs cannot be loaded by the runtime.
    """
    shipped = _shipment(project, name, made.files, workshop, search)
    entries = [Entry(name=place, source=path, executable=is_executable(path)) for place, path in shipped.files]
    with zip_of(name, workshop).open("wb") as file:
        summary = write_zip(file, entries)
    few = tuple(place for place, _ in shipped.files) if len(shipped.files) <= _FEW else ()
    return Artifact(
        sha256=summary.sha256,
        size=summary.size,
        unzipped=summary.unzipped,
        files=summary.files,
        pruned=made.pruned,
        contents=made.contents or few,
        notes=(*shipped.notes, *made.notes),
        native_libraries=tuple(library.as_json() for library in shipped.collected.libraries),
        missing_libraries=shipped.collected.missing,
    )


def _shipment(
    project: Project, name: str, files: Sequence[tuple[str, Path]], workshop: Workshop, search: Sequence[Path]
) -> _Shipment:
    """Return the content of a component, given its own files as (name in the zip, path)."""
    notes = _script_notes(project, name, files)
    if not collects(project, name):
        return _Shipment(files=tuple(files), notes=notes)
    needing = libraries.read_needing(files, project.owner(name))
    collected = _collect(project, name, needing, workshop, search)
    return _Shipment(files=(*files, *collected.files), collected=collected, notes=(*notes, *collected.notes))


def of_parts(project: Project, name: str, parts: Sequence[tuple[Path, str]], workshop: Workshop) -> Collected:
    """Return the libraries that dependencies lack, which are spliced from `parts`: (zip, label)."""
    if not collects(project, name):
        return NOTHING
    needing = [
        Needing(native=native, owner=label)
        for path, label in parts
        for native in natives_of(path.stem, lambda path=path: path, store=workshop.store, workspace=workshop.workspace)  # type: ignore[misc]  # the default binds it
    ]
    return _collect(project, name, needing, workshop, ())


def collects(project: Project, name: str) -> bool:
    """Tell whether the build file asks for native libraries of the component; dependencies follow the function."""
    holder = project.holder(name)
    asking = [holder] if holder else project.functions.values()
    return any(each.native_libraries == "auto" for each in asking)


def key(project: Project, name: str, workshop: Workshop) -> str:
    """Return the inputs of collecting that are known before a build, for the component's key.

    The machine's libraries can change under the same key: see `differing`.
    """
    target = project.target
    optional, provided = sorted(project.spec.optional_libraries), sorted(_provided(project, name))
    return repr(
        (_FORMAT, _machine(target).system, workshop.baseline(target).recorded, target.label, optional, provided)
    )


def differing(project: Project, name: str, artifact: Artifact, workshop: Workshop) -> tuple[str, ...]:
    """Return names of the libraries in an artifact that differ from the machine's present ones."""
    if not collects(project, name):
        return ()
    return libraries.differing(
        artifact.native_libraries,
        artifact.missing_libraries,
        target=project.target,
        search=_search(project.target, workshop),
    )


@functools.cache
def _machine(target: Target) -> Machine:
    return Machine.here(target.machine)


def _search(target: Target, workshop: Workshop, first: Sequence[Path] = ()) -> Search:
    return Search(given=(*first, *workshop.library_path), machine=_machine(target).directories)


def _collect(
    project: Project, name: str, needing: Sequence[Needing], workshop: Workshop, search: Sequence[Path]
) -> Collected:
    workshop.progress.say(f"looking for native libraries of {project.owner(name)}")
    return libraries.collect(
        needing,
        target=project.target,
        baseline=workshop.baseline(project.target),
        search=_search(project.target, workshop, search),
        root=project.mount(name),
        provided=_provided(project, name),
        optional=project.spec.optional_libraries,
    )


def _provided(project: Project, name: str) -> set[str]:
    """Return names of files that layers add to /opt/lib, as far as they are known before a build.

    Results of commands and of kinds of build are not known, so such a library may be shipped twice.
    """
    return {
        posixpath.basename(path)
        for layer in project.spec.layers
        if layer.name != name and layer.ships_files and not layer.preinstall
        for path, _ in layer_files(project, layer)
        if posixpath.dirname(path) == FOLDER
    }


def _script_notes(project: Project, name: str, files: Sequence[tuple[str, Path]]) -> tuple[str, ...]:
    """Return warnings about a `bootstrap` script that Lambda could not start."""
    target = project.target
    if target.runtime.family != "provided":
        return ()
    named = dict(files)
    if "bootstrap" not in named:
        return ()
    with named["bootstrap"].open("rb") as file:
        line = file.read(_SHEBANG_MAX).partition(b"\n")[0].decode(errors="replace")
    notes = _shebang_notes(line, target, {f"/var/task/{each}" for each in named}) if line.startswith("#!") else []
    whose = "" if name in project.functions else f"{project.owner(name)}: "
    return tuple(f"{whose}bootstrap {note}" for note in notes)


def _shebang_notes(line: str, target: Target, shipped: set[str]) -> list[str]:
    if line.endswith("\r"):
        return ["has Windows line ends, which Linux takes for a part of the interpreter's name: use LF only"]
    words = line.removeprefix("#!").split()
    program = words[0] if words else ""
    if posixpath.basename(program) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        program = f"/usr/bin/{named[0]}" if named else ""
    folder, _, tool = program.rpartition("/")
    if (folder in _BINARIES and tool in _SHELLS | _TOOLS) or program in shipped or program.startswith("/opt/"):
        return []
    return [
        f"is a script for {program or 'nothing'}, which {target.runtime.name} does not have: write it for /bin/sh or "
        "/bin/bash, choose a runtime that has it, or ship it and name it by its path, /var/task/…"
    ]
