"""The paths of a repository that a function is made of, by which a later commit shows whether it changes the function.

A fingerprint covers what the build file says of the function and git's ids of these paths. Where it cannot be told
which files count, the whole repository does: a function is then made again for nothing, and never left out by mistake.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Sequence

from builder.errors import LambdasmithError
from builder.python.inputs import read_inputs
from builder.sources.local import fixed_part
from builder.sources.reads import Reads
from builder.sources.snapshot import Snapshot
from builder.spec.builds import AsItIs
from builder.spec.tree import own_requirements, with_own_dependencies
from builder.spec.values import BuildSpec, FunctionSpec, LayerSpec

_ALL = ""
# Relative to the project, as the others; no path of a build file leads there.
_EVERYTHING = ".."


def still_holds(reads: Reads, spec: BuildSpec, snapshot: Snapshot) -> bool:
    """Tell whether a function would be made of the same again."""
    return _fingerprint(spec, reads.paths, snapshot) == reads.fingerprint


def reads_of(spec: BuildSpec, snapshot: Snapshot, project: str) -> Reads:
    """Return what a function is made of.

    Args:
        spec: what the build file says of it. project: the project's directory in the repository, "" for its root.
    """
    paths = sorted({_in_repository(path, snapshot, project) for path in _paths(spec, snapshot, project)})
    if _ALL in paths:
        paths = [_ALL]
    return Reads(paths=tuple(paths), fingerprint=_fingerprint(spec, paths, snapshot))


def _fingerprint(spec: BuildSpec, paths: Sequence[str], snapshot: Snapshot) -> str:
    # Where things stand in the file does not matter.
    said = spec.model_dump(mode="json", exclude={"lines", "places"})
    return hashlib.sha256(json.dumps([said, [(path, snapshot.id_of(path)) for path in paths]]).encode()).hexdigest()


def _in_repository(path: str, snapshot: Snapshot, project: str) -> str:
    """Return a path of the project as one of the repository; all of that if its id would not tell enough."""
    full = posixpath.normpath(posixpath.join(project, path))
    if path == _EVERYTHING or full == "." or full.startswith(".."):
        return _ALL
    # A link's content is elsewhere, and what is in a submodule has no id here.
    unknown = not snapshot.id_of(full) and (snapshot.root / full).exists()
    return _ALL if unknown or snapshot.leads_elsewhere(full) else full


def _paths(spec: BuildSpec, snapshot: Snapshot, project: str) -> Iterator[str]:
    """Yield the paths that count, relative to the project."""
    root, function = snapshot.root / project, spec.function
    # What other languages read, their tools know: a module may be anywhere above.
    if function is None or not function.runtimes[0].startswith("python") or _has_recipe(function):
        yield _EVERYTHING
        return
    yield from _files(function)
    yield from own_requirements(spec)
    for layer in spec.layers:
        if _has_recipe(layer) or layer.preinstall:
            yield _EVERYTHING
        yield from _files(layer)
    named = with_own_dependencies(spec, root).dependencies
    try:
        inputs = read_inputs(named, root, snapshot.root)
    except LambdasmithError:
        yield _EVERYTHING
        return
    yield from (*inputs.contents, *inputs.trees)
    # The files of other tools may mean projects around them, and their own locks.
    if not all(name.endswith(".txt") for name in inputs.contents) or inputs.options.find_links:
        yield _EVERYTHING


def _has_recipe(holder: FunctionSpec | LayerSpec) -> bool:
    return holder.build is not None and not isinstance(holder.build, AsItIs)


def _files(holder: FunctionSpec | LayerSpec) -> Iterator[str]:
    for entry in holder.files or ("",):
        yield posixpath.join(holder.source_dir, fixed_part(entry))
