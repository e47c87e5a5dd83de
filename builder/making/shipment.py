"""What a component ships in the end: its own files, the native libraries that these need, and what to say of them.

The last step of every kind of build: it hands over its files, and gets back those to zip.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.making.project import Project, layer_files
from builder.natives import libraries
from builder.natives.described import described
from builder.natives.libraries import FOLDER, NOTHING, Collected, Needing, Search
from builder.natives.machine import Machine
from builder.plan import DEPENDENCIES, FUNCTION, Artifact
from builder.runtimes import Target

if TYPE_CHECKING:
    from builder.workshop.workshop import Workshop

# Part of the keys of components for which libraries are collected: changes when the same inputs give other bytes.
_FORMAT = 1
_SHELLS = frozenset({"sh", "bash"})
# What both Amazon Linux have besides, as Lambda has them.
_TOOLS = frozenset({"awk", "gawk", "sed"})
_BINARIES = ("/bin", "/usr/bin")
_SHEBANG_MAX = 256


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """`files` are all to zip, as (name in the zip, path); `notes` what the user should know."""

    files: tuple[tuple[str, Path], ...]
    collected: Collected = NOTHING
    notes: tuple[str, ...] = ()

    @property
    def libraries(self) -> tuple[Mapping[str, object], ...]:
        """For `Artifact.native_libraries`."""
        return rows(self.collected)


def rows(collected: Collected) -> tuple[Mapping[str, object], ...]:
    """The libraries as an artifact has them."""
    return tuple(library.as_json() for library in collected.libraries)


def shipment(
    project: Project, name: str, files: Sequence[tuple[str, Path]], shop: Workshop, *, search: Sequence[Path] = ()
) -> Shipment:
    """What the component `name` ships, given its own `files` as (name in the zip, path on disk).

    Args:
        search: directories of libraries that come before the machine's, such as a toolchain's.

    Raises:
        NativeMismatch: a file or a library that it needs cannot be loaded by the runtime.
    """
    notes = _script_notes(project.target, name, files)
    if not collects(project, name):
        return Shipment(files=tuple(files), notes=notes)
    needing = libraries.read_needing(files, owner(name))
    collected = _collect(project, name, needing, shop, search)
    return Shipment(files=(*files, *collected.files), collected=collected, notes=(*notes, *collected.notes))


def of_parts(project: Project, parts: Sequence[tuple[Path, str]], shop: Workshop) -> Collected:
    """The libraries that dependencies lack, which are spliced from `parts`: (zip, label)."""
    if not collects(project, DEPENDENCIES):
        return NOTHING
    needing = [
        Needing(native=native, owner=label)
        for path, label in parts
        for native in described(path.stem, lambda path=path: path, store=shop.store, workspace=shop.workspace)  # type: ignore[misc]  # the default binds it
    ]
    return _collect(project, DEPENDENCIES, needing, shop, ())


def collects(project: Project, name: str) -> bool:
    """Whether the build file asks for the libraries of this component. Dependencies go with the function."""
    if name in (FUNCTION, DEPENDENCIES):
        function = project.spec.function
        return function is not None and function.native_libraries == "auto"
    return project.layer(name).native_libraries == "auto"


def key(project: Project, name: str, shop: Workshop) -> str:
    """What collecting depends on and is known before a build: part of the component's key; empty if it does not.

    What the machine has can change under the same key: `differing` is for that.
    """
    if not collects(project, name):
        return ""
    target = project.target
    optional, provided = sorted(project.spec.optional_libraries), sorted(_provided(project, name))
    return repr((_FORMAT, _machine(target).system, shop.baseline(target).recorded, target.label, optional, provided))


def differing(project: Project, name: str, artifact: Artifact, shop: Workshop) -> tuple[str, ...]:
    """Names of the libraries in an artifact that this machine has otherwise now."""
    if not collects(project, name):
        return ()
    return libraries.differing(
        artifact.native_libraries,
        artifact.missing_libraries,
        target=project.target,
        search=_search(project.target, shop),
    )


def owner(name: str) -> str:
    """Whose files they are, for messages."""
    return "the function's files" if name == FUNCTION else f"layer {name}"


@functools.cache
def _machine(target: Target) -> Machine:
    return Machine.here(target.machine)


def _search(target: Target, shop: Workshop, first: Sequence[Path] = ()) -> Search:
    return Search(given=(*first, *shop.library_path), machine=_machine(target).directories)


def _collect(
    project: Project, name: str, needing: Sequence[Needing], shop: Workshop, search: Sequence[Path]
) -> Collected:
    shop.progress.say(f"looking for native libraries of {owner(name)}")
    return libraries.collect(
        needing,
        target=project.target,
        baseline=shop.baseline(project.target),
        search=_search(project.target, shop, search),
        root="/var/task" if name == FUNCTION else "/opt",
        provided=_provided(project, name),
        optional=project.spec.optional_libraries,
    )


def _provided(project: Project, name: str) -> set[str]:
    """Names of files that layers bring to /opt/lib, as far as that is known before anything is built.

    What a command or a kind of build will make is not known, and so may be shipped twice.
    """
    return {
        posixpath.basename(path)
        for layer in project.spec.layers
        if layer.name != name and layer.ships_files and not layer.preinstall
        for path, _ in layer_files(project.root, layer)
        if posixpath.dirname(path) == FOLDER
    }


def _script_notes(target: Target, name: str, files: Sequence[tuple[str, Path]]) -> tuple[str, ...]:
    """What will keep a `bootstrap` from being started that is a script, as far as it can be seen before."""
    if target.runtime.family != "provided":
        return ()
    named = dict(files)
    if "bootstrap" not in named:
        return ()
    with named["bootstrap"].open("rb") as file:
        line = file.read(_SHEBANG_MAX).partition(b"\n")[0].decode(errors="replace")
    notes = _shebang_notes(line, target, {f"/var/task/{each}" for each in named}) if line.startswith("#!") else []
    return tuple(f"{'' if name == FUNCTION else f'layer {name}: '}bootstrap {note}" for note in notes)


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
