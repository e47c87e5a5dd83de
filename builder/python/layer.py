"""Locked wheels become one artifact: a part per wheel, made once ever, then spliced."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from builder.amounts import megabytes
from builder.archives.splice import Part, splice
from builder.archives.zips import Entry, ZipSummary
from builder.errors import ArtifactConflict
from builder.hashing import sha256_of
from builder.natives.libraries import NOTHING, Collected
from builder.plan import MAX_UNZIPPED, Artifact
from builder.python.bytecode import is_bytecode
from builder.python.interpreters import Interpreter, compiling_for
from builder.python.parts import PartReport, fetch_part, part_key, read_report, read_requirements, store_parts
from builder.python.prune import PruneOptions, merged
from builder.python.pylock import LockedWheel
from builder.python.runtime_packages import SDK, Demand, known_versions, why_shipped
from builder.python.wheels import download
from builder.runtimes import Target
from builder.secrets.indexes import NO_LOGINS, Indexes
from builder.store.keeping import Store
from builder.workspace.directory import Workspace

_PARALLEL = 8
# Bytecode takes room that a function near Lambda's limit needs for itself: above this share it is left out.
_BYTECODE_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """How dependencies are packed for `target`: what is pruned, and whether bytecode is asked for.

    `asked` is what the project itself requires, if the runtime's own SDK may take the place of the locked one.
    """

    target: Target
    prune: PruneOptions
    bytecode: bool = True
    asked: tuple[str, ...] | None = None

    @property
    def compiler(self) -> Interpreter | None:
        """What makes bytecode; None if none is wanted, or nothing here can."""
        return compiling_for(self.target.runtime.python) if self.bytecode else None

    @property
    def tag(self) -> str:
        """Which bytecode is made; empty for none."""
        return self.compiler.tag if self.compiler else ""

    def key(self) -> str:
        """A text that is equal for equal effects."""
        runtime = "" if self.asked is None else repr((self.asked, known_versions(self.target.runtime.name)))
        return f"{self.target.label}\0{part_key('', self.prune, self.tag)}\0{runtime}"

    def notes(self) -> tuple[str, ...]:
        """What the user should know of these options."""
        if self.tag or not self.bytecode or self.target.runtime.python is None:
            return ()
        return (
            f"no bytecode for {self.target.runtime.name}: the builder runs Python {sys.version_info.major}."
            f"{sys.version_info.minor} and finds no {self.target.runtime.name}; imports will be slower at cold starts",
        )


def dependencies_key(lock: str, options: LayerOptions) -> str:
    """The content key of a dependency artifact: what is locked and how it is packed."""
    return hashlib.sha256(f"dependencies\0{options.key()}\0{lock}".encode()).hexdigest()


def build_layer(
    wheels: Sequence[LockedWheel],
    out: Path,
    *,
    options: LayerOptions,
    workspace: Workspace,
    store: Store,
    indexes: Indexes = NO_LOGINS,
    collect: Callable[[Sequence[tuple[Path, str]]], Collected] = lambda parts: NOTHING,
) -> Artifact:
    """Write the artifact of `wheels` to `out`; parts come from /tmp, else from the store, else from the index.

    Args:
        collect: finds the native libraries that (part, label) pairs lack; they are added.

    Raises:
        NativeMismatch: from `collect`.
        ArtifactConflict: two wheels have different content for one path.
        ResolutionFailed, AuthenticationFailed, SourceUnreachable: a wheel cannot be had or is not the locked one.
    """
    sdk = [wheel for wheel in wheels if options.asked is not None and wheel.name in SDK]
    rest = [wheel for wheel in wheels if wheel not in sdk]
    parts = _parts(rest, options, workspace, store, indexes)
    notes = list(options.notes())
    if sdk:
        runtime, locked = options.target.runtime.name, {wheel.name: wheel.version for wheel in sdk}
        reason = why_shipped(runtime, locked, _demands(rest, parts, options.asked or ()))
        if reason is None:
            used = known_versions(runtime)
            own = ", ".join(f"{name} {used[name]}" if name in used else name for name in sorted(locked))
            notes.append(f"runtime_packages: {runtime}'s own are used instead of the locked ones: {own}")
        else:
            notes.append(f"runtime_packages: the SDK is shipped, since {reason}")
            parts |= _parts(sdk, options, workspace, store, indexes)
    chosen = [(parts[wheel.sha256], f"{wheel.name} {wheel.version}") for wheel in wheels if wheel.sha256 in parts]
    collected = collect(chosen)
    entries = [Entry(name=name, source=path) for name, path in collected.files]
    artifact = _spliced(chosen, out, [*notes, *collected.notes], entries)
    libraries = tuple(library.as_json() for library in collected.libraries)
    return replace(artifact, native_libraries=libraries, missing_libraries=collected.missing)


def _parts(
    wheels: Sequence[LockedWheel], options: LayerOptions, workspace: Workspace, store: Store, indexes: Indexes
) -> dict[str, Path]:
    """The part of each wheel, by the wheel's sha256."""
    folder = workspace.cached("parts")
    keys = {wheel.sha256: part_key(wheel.sha256, options.prune, options.tag) for wheel in wheels}
    paths = {sha256: folder / f"{key}.zip" for sha256, key in keys.items()}

    def fetch(wheel: LockedWheel) -> bool:
        return fetch_part(paths[wheel.sha256], workspace, store)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        missing = [wheel for wheel, found in zip(wheels, pool.map(fetch, wheels), strict=True) if not found]
        if missing:
            files = download(missing, workspace.cached("wheels"), indexes)
            for sha256, path in files.items():
                workspace.seal(path, sha256)
            jobs = [(files[wheel.sha256], paths[wheel.sha256]) for wheel in missing]
            store_parts(jobs, options.prune, bytecode=options.compiler)
            hashes = {path: sha256_of(path) for _, path in jobs}
            for path, sha256 in hashes.items():
                workspace.seal(path, sha256)
            list(pool.map(lambda job: store.put(f"parts/{job[0].name}", job[0], sha256=job[1]), hashes.items()))
    return paths


def _demands(wheels: Sequence[LockedWheel], parts: Mapping[str, Path], asked: Sequence[str]) -> Iterator[Demand]:
    yield from (Demand(requirement=requirement, by="the project") for requirement in asked)
    for wheel in wheels:
        for requirement in read_requirements(parts[wheel.sha256]):
            yield Demand(requirement=requirement, by=f"{wheel.name} {wheel.version}")


def layer_of_wheels(
    wheels: Sequence[Path], out: Path, *, options: LayerOptions, scratch: Path, extra: Mapping[str, bytes]
) -> Artifact:
    """Write the artifact of wheel files at hand to `out`, with `extra` files added; for the builder's own layer."""
    jobs = [(wheel, scratch / f"{wheel.name}.part") for wheel in wheels]
    store_parts(jobs, options.prune, bytecode=options.compiler)
    entries = [Entry(name=name, source=content) for name, content in extra.items()]
    return _spliced([(part, " ".join(wheel.name.split("-")[:2])) for wheel, part in jobs], out, (), entries)


def _spliced(parts: Sequence[tuple[Path, str]], out: Path, notes: Sequence[str], entries: Sequence[Entry]) -> Artifact:
    chosen = [Part(path=path, label=label) for path, label in parts]
    reports = [read_report(path) for path, _ in parts]
    notes = [*notes, *(note for report in reports for note in report.notes)]
    notes += _shared([(label, report) for (_, label), report in zip(parts, reports, strict=True)])
    summary, note = _fitting(chosen, entries, out)
    notes += note
    if not summary.files:
        raise ArtifactConflict(
            "the dependencies install no files",
            hint="a layer cannot be empty: list a requirement, or take `dependencies` out of the build file's layers",
        )
    return Artifact(
        sha256=summary.sha256,
        size=summary.size,
        unzipped=summary.unzipped,
        files=summary.files,
        pruned=tuple(merged(row for report in reports for row in report.pruned)),
        contents=tuple(label for _, label in parts),
        parts=tuple(path.name for path, _ in parts),
        notes=tuple(notes),
    )


def _shared(parts: Sequence[tuple[str, PartReport]]) -> Iterator[str]:
    """What there is to say of packages of one distribution that another one has modules in, too."""
    owners: dict[str, list[str]] = {}
    for label, report in parts:
        for module in report.modules:
            owners.setdefault(module, []).append(label)
    for label, report in parts:
        for module in report.below:
            if module in owners:
                owners[module].append(label)
    for module, labels in sorted(owners.items()):
        if len(labels) > 1:
            yield f"{' and '.join(labels)} have the same module {module}: each may change what the other does"


def _fitting(parts: Sequence[Part], entries: Sequence[Entry], out: Path) -> tuple[ZipSummary, list[str]]:
    """The splice, without bytecode where that leaves too little of Lambda's limit; what to say of it."""
    with out.open("wb") as file:
        full = splice(file, parts, entries=entries)
    if full.unzipped <= MAX_UNZIPPED * _BYTECODE_SHARE:
        return full, []
    with out.open("wb") as file:
        bare = splice(file, parts, entries=entries, wanted=lambda name: not is_bytecode(name))
    if bare == full:
        return bare, []
    saved, limit = megabytes(full.unzipped - bare.unzipped, ".0f"), megabytes(MAX_UNZIPPED, ".0f")
    note = (
        f"bytecode left out ({saved}): with it the dependencies would be {full.unzipped / 1e6:.0f} of Lambda's "
        f"{limit}; imports will be slower at cold starts"
    )
    return bare, [note]
