"""The paths of a repository that a function is made of.

Only they need to be written, and a later commit that does not touch them does not change the function: a fingerprint
covers what the build file says of it, and git's ids of the paths. Where it cannot be told which files count, the whole
repository does: too much is then written, or made again, and nothing is left out by mistake.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from builder.errors import LambdasmithError
from builder.python.inputs import UnclearError, paths_named, split_entry
from builder.sources.local import fixed_part
from builder.sources.reads import Reads
from builder.sources.snapshot import Snapshot
from builder.spec.build_file import NAMES, TEMPLATES, find_build_file
from builder.spec.builds import AsItIs
from builder.spec.members import BuildFile, read_functions
from builder.spec.tree import own_requirements
from builder.spec.values import BuildSpec, FunctionSpec, LayerSpec, Parameters

_ALL = ""


class _Unclear(Exception):
    """Any file may count."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository's files, of which not all need to be on disk: `read` returns one by its path there.

    `project` is the project's directory, "" for the root.
    """

    snapshot: Snapshot
    project: str
    read: Callable[[str], bytes]
    texts: dict[str, str] = field(default_factory=dict)

    def text(self, path: str) -> str:
        """Return the content of a file of the project, which several functions may ask for."""
        full = posixpath.normpath(posixpath.join(self.project, path))
        if full not in self.texts:
            self.texts[full] = self.read(full).decode("utf-8", "replace")
        return self.texts[full]

    def has(self, path: str) -> bool:
        """Tell whether the project, or the repository around it, has a file or directory at the path."""
        return bool(self.snapshot.id_of(posixpath.normpath(posixpath.join(self.project, path))))

    def text_or_none(self, path: str) -> str | None:
        """Return the content of a file, None if there is none."""
        return self.text(path) if self.has(path) else None


def on_disk(snapshot: Snapshot, project: str) -> Source:
    """Return the files of a snapshot that were written."""
    return Source(snapshot=snapshot, project=project, read=lambda path: (snapshot.root / path).read_bytes())


def reads_of(spec: BuildSpec, name: str, source: Source) -> Reads:
    """Return what a function is made of; `name` is what Lambda calls it, `spec` what the build file says of it."""
    paths = _full_paths(spec, source)
    return Reads(paths=tuple(paths), fingerprint=_fingerprint(spec, name, paths, source.snapshot))


def still_holds(reads: Reads, spec: BuildSpec, name: str, snapshot: Snapshot) -> bool:
    """Tell whether a function would be made of the same again."""
    # What is not there has no id, and still has none when a new link or submodule leads to it.
    here = all(snapshot.is_reached_here(path) for path in reads.paths)
    return here and _fingerprint(spec, name, reads.paths, snapshot) == reads.fingerprint


def unchanged(file: BuildFile, known: Mapping[str, Reads], snapshot: Snapshot) -> list[str]:
    """Return the functions, by their keys, that would be made of the same again."""
    return [
        key
        for key, spec in file.functions.items()
        if key in known and still_holds(known[key], spec, file.names[key], snapshot)
    ]


def needed(
    source: Source,
    *,
    build_file: str | None,
    stage: str,
    parameters: Parameters,
    words: Collection[str],
    key: str,
    known: Mapping[str, Reads],
) -> Collection[str] | None:
    """Return the paths of the repository that have to be on disk to make what is asked for; None for all.

    Args:
        words: names of the wanted functions and components; none for all.
        key: the function that is meant, "" for any.
        known: what functions were made of for which nothing is left to do, if it holds.
    """
    snapshot, project = source.snapshot, source.project
    prefix = f"{project}/" if project else ""
    try:
        names = [
            name
            for name in (*NAMES, *TEMPLATES, *([build_file] if build_file else []))
            if snapshot.id_of(prefix + name)
        ]
        name = find_build_file(names, build_file)
        file = read_functions(source.text(name), file=name, stage=stage, parameters=parameters)
        # A word is a key, or what Lambda calls the function.
        keys = {**{name: each for each, name in file.names.items()}, **{each: each for each in file.functions}}
        wanted = [key] if key else [keys[word] for word in words if word in keys] or [*file.functions]
        same = {*unchanged(file, known, snapshot)}
        specs = [file.functions[each] for each in wanted if each not in same]
    except (LambdasmithError, KeyError):
        return None  # the error is reported with everything at hand: it may name what is meant
    paths = {prefix + name, *(path for spec in specs for path in _full_paths(spec, source))}
    return None if _ALL in paths else paths


def _fingerprint(spec: BuildSpec, name: str, paths: Sequence[str], snapshot: Snapshot) -> str:
    # Where things stand in the file does not matter.
    said = spec.model_dump(mode="json", exclude={"lines", "places"}, warnings=False)
    made_of = [said, name, [(path, snapshot.identity_of(path)) for path in paths]]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _full_paths(spec: BuildSpec, source: Source) -> list[str]:
    """Return the paths that count, in the repository; "" alone if all may count."""
    try:
        return sorted({_in_repository(path, source) for path in _paths(spec, source)})
    except (_Unclear, LambdasmithError):
        return [_ALL]


def _in_repository(path: str, source: Source) -> str:
    full, snapshot = posixpath.normpath(posixpath.join(source.project, path)), source.snapshot
    # A link's content is elsewhere, what is in a submodule has no id here, and .gitmodules decides whether it is there.
    if full == "." or full.startswith("..") or snapshot.leads_elsewhere(full) or snapshot.has_submodule(full):
        raise _Unclear
    return full


def _paths(spec: BuildSpec, source: Source) -> Iterator[str]:
    """Yield the paths that count, relative to the project.

    Raises:
        _Unclear: any may.
    """
    function = spec.function
    holders: list[FunctionSpec | LayerSpec] = [*([function] if function else []), *spec.layers]
    # What other languages read, their tools know: a module may be anywhere above.
    if not all(holder.runtimes[0].startswith("python") for holder in holders) or any(map(_runs, holders)):
        raise _Unclear
    for holder in holders:
        everything = () if isinstance(holder, LayerSpec) and holder.placed else ("",)
        for entry in holder.files or everything:
            yield posixpath.join(holder.source_dir, fixed_part(entry))
        for placed in holder.placed:
            yield posixpath.join(holder.source_dir, placed.source)
    own = [*own_requirements(spec)]
    yield from own
    there = next((path for path in own if source.has(path)), None)
    named = spec.dependencies if spec.adds_own or not there else ()
    for entry in (*named, *((there,) if there else ())):
        try:
            yield from paths_named(split_entry(entry)[0], source.text_or_none)
        except (UnclearError, OSError, KeyError):
            raise _Unclear from None


def _runs(holder: FunctionSpec | LayerSpec) -> bool:
    recipe = holder.build
    commands = isinstance(holder, LayerSpec) and holder.preinstall
    return bool(commands) or (recipe is not None and not isinstance(recipe, AsItIs))
