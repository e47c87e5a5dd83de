"""Finds on the build machine the shared libraries that files need and their runtime lacks, to ship them in lib/.

They are found as the dynamic linker finds them (ld.so(8)), by reading files. Nothing is run, `ldd` included, which
runs the program that it is asked about. On Lambda they are found in lib/, /var/task/lib or /opt/lib, by
LD_LIBRARY_PATH. A DT_RPATH comes before that, but one that names directories of the build machine leads nowhere there.

LD_LIBRARY_PATH on Lambda has /var/lang/lib, /lib64 and /usr/lib64 first, so a library of the runtime cannot be
replaced by a newer one in lib/: a libstdc++ or libgcc_s that is too old for a file is an error, not a reason to copy.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.hashing import sha256_of
from builder.natives import judging as natives
from builder.natives.elf import Native, below_origin, read_native
from builder.natives.judging import Baseline, Placed, is_of_glibc
from builder.natives.machine import find
from builder.runtimes import Target

if TYPE_CHECKING:
    from builder.replies.deploys import TakenLibrary

FOLDER = "lib"


@dataclass(frozen=True, kw_only=True)
class Needing:
    """A native file of a component: `owner` for messages, `origin` its directory on disk, if it is there."""

    native: Native
    owner: str
    origin: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library to ship under the name that is asked for. `path` is its place on this machine, `size` in bytes.

    `needed_by`: names in the zip, or of other libraries shipped for the same reason.
    """

    soname: str
    path: Path
    size: int
    sha256: str
    needed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """Place in the zip. Our zips have no links: a file that is needed under two names is in it twice."""
        return f"{FOLDER}/{self.soname}"

    def as_json(self) -> TakenLibrary:
        """Return it as JSON for the store and the reply."""
        return {
            "library": self.soname,
            "from": str(self.path),
            "size": self.size,
            "sha256": self.sha256,
            "needed_by": list(self.needed_by),
        }


@dataclass(frozen=True, kw_only=True)
class Collected:
    """`libraries` by name, and names that are `missing` here as well; `notes` say what was skipped."""

    libraries: tuple[Library, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """(Name in the zip, path) of each library."""
        return tuple((library.name, library.path) for library in self.libraries)


NOTHING = Collected()


@dataclass(frozen=True, kw_only=True)
class Search:
    """Directories that the dynamic linker searches besides RPATH: first `given` (LD_LIBRARY_PATH), then `machine`."""

    given: tuple[Path, ...] = ()
    machine: tuple[Path, ...] = ()


def read_needing(files: Sequence[tuple[str, Path]], owner: str) -> tuple[Needing, ...]:
    """Return the native ones of a component's files, given as (name in the zip, path)."""
    found = ((read_native(path, name), path) for name, path in files)
    return tuple(Needing(native=native, owner=owner, origin=path.parent) for native, path in found if native)


def collect(
    needing: Sequence[Needing],
    *,
    target: Target,
    baseline: Baseline,
    search: Search,
    root: str,
    provided: Collection[str] = (),
    optional: Collection[str] = (),
) -> Collected:
    """Return the libraries that `needing` need, and those that these need, as far as they are not there yet.

    A library that the runtime is only believed to have is shipped to be sure, if it can be loaded there.

    Args:
        root: where Lambda unpacks the component, /var/task or /opt.
        provided: names of libraries in layers, where the dynamic linker finds them.
        optional: sonames that may be missing, and are not searched.

    Raises:
        NativeMismatch: a file that must be loaded, or a library that it needs, is too new for the runtime or made for
            another machine; all such problems are named.
    """
    own = {name for each in needing for name in (posixpath.basename(each.native.path), each.native.soname)}
    work = _Collecting(target=target, baseline=baseline, search=search, settled=own.union(provided, optional))
    work.start([_Loaded(native=each.native, label=each.native.path, origin=each.origin) for each in needing])
    taken = sorted(work.taken.items())
    placed = [Placed(native=each.native, root=root, owner=each.owner) for each in needing]
    placed += [
        Placed(
            native=replace(each.native, path=f"{FOLDER}/{soname}"),
            root=root,
            owner=f"the build machine ({each.path})",
            collected=True,
        )
        for soname, each in taken
    ]
    # A library may also be in a layer that has not been examined yet: the checks of the whole build decide.
    natives.refuse(natives.judge(placed, target, complete=False, optional=tuple(optional), baseline=baseline))
    return Collected(
        libraries=tuple(each.library(soname) for soname, each in taken),
        missing=tuple(sorted(work.missing)),
        notes=tuple(work.notes),
    )


def differing(
    libraries: Sequence[Mapping[str, object]], missing: Sequence[str], *, target: Target, search: Search
) -> tuple[str, ...]:
    """Return names of libraries of an earlier collection that this machine no longer has in the same form.

    Args:
        libraries: `Library.as_json` of the libraries that were found.
        missing: names of those that were not.
    """
    changed = [str(row["library"]) for row in libraries if not _is_same(Path(str(row["from"])), str(row["sha256"]))]
    folders = (*search.given, *search.machine)
    changed += [name for name in missing if any(_of_machine(name, folders, target.machine))]
    return tuple(sorted(changed))


def _is_same(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _of_machine(soname: str, folders: Sequence[Path], machine: str) -> Iterator[tuple[Path, Native]]:
    for path in find(soname, folders):
        native = read_native(path)
        if native is not None and native.machine == machine:
            yield path, native


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A file whose needs are to be met. `inherited`: the RPATHs of the files that load it."""

    native: Native
    label: str
    origin: Path | None
    inherited: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Need:
    """A library's name, the file that needs it, and where its dynamic linker would search."""

    soname: str
    label: str
    folders: tuple[Path, ...]
    chain: tuple[Path, ...]


@dataclass(kw_only=True)
class _Taken:
    path: Path
    native: Native
    needed_by: set[str]

    def library(self, soname: str) -> Library:
        return Library(
            soname=soname,
            path=self.path,
            size=self.path.stat().st_size,
            sha256=sha256_of(self.path),
            needed_by=tuple(sorted(self.needed_by)),
        )


@dataclass(kw_only=True)
class _Collecting:
    """A walk through needs, breadth first as the dynamic linker does. `settled` names need no library of ours."""

    target: Target
    baseline: Baseline
    search: Search
    settled: set[str]
    taken: dict[str, _Taken] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)  # a set that keeps its order

    def start(self, loaded: Sequence[_Loaded]) -> None:
        """Take what `loaded` need until nothing more is needed."""
        self._meet(need for each in loaded for need in self._needs(each))

    def _meet(self, needs: Iterable[_Need]) -> None:
        doubtful: dict[str, list[_Need]] = {}
        pending = deque(needs)
        while pending:
            need = pending.popleft()
            soname = need.soname
            certain = self.baseline.libraries.get(soname)
            if soname in self.taken:
                self.taken[soname].needed_by.add(need.label)
            elif soname in self.settled or certain or "/" in soname:
                continue  # a name with a slash is a path, which is never searched
            elif certain is None:
                pending.extend(self._take(need))
            else:
                doubtful.setdefault(soname, []).append(need)
        # Last, when it is known which other libraries are shipped anyway: only then is it clear whether these fit.
        for soname in sorted(doubtful):
            self._take_if_it_fits(soname, doubtful[soname])

    def _take_if_it_fits(self, soname: str, needs: Sequence[_Need]) -> None:
        """Take a library that the runtime may already have, with all that it needs, or not at all."""
        if soname not in self.taken:
            # On a copy, since one missing or too new library among its needs undoes all of them.
            attempt = replace(
                self, settled={*self.settled}, taken={**self.taken}, missing={*self.missing}, notes={**self.notes}
            )
            attempt._meet(attempt._take(needs[0]))
            new = {name: each for name, each in attempt.taken.items() if name not in self.taken}
            missing = attempt.missing - self.missing
            if missing or not new or any(attempt._is_too_new(each.native) for each in new.values()):
                self.settled.add(soname)
                return
            self.settled, self.taken, self.notes = attempt.settled, attempt.taken, attempt.notes
        self.taken[soname].needed_by.update(need.label for need in needs)

    def _is_too_new(self, native: Native) -> bool:
        return any(
            any(self.baseline.too_new(native, soname))
            for soname in native.needed
            if soname not in self.taken and soname not in self.settled
        )

    def _needs(self, loaded: _Loaded) -> Iterator[_Need]:
        native = loaded.native
        # A file with RUNPATH is searched by that alone, not by the RPATHs of the files that load it (ld.so(8)).
        chain = () if native.runpath else (*_existing(native.rpath, loaded.origin), *loaded.inherited)
        folders = (*chain, *self.search.given, *_existing(native.runpath, loaded.origin), *self.search.machine)
        for soname in native.needed:
            yield _Need(soname=soname, label=loaded.label, folders=folders, chain=chain)

    def _take(self, need: _Need) -> Iterator[_Need]:
        """Take one library, if this machine has it; return what it needs itself."""
        soname = need.soname
        found = None if is_of_glibc(soname) else next(_of_machine(soname, need.folders, self.target.machine), None)
        # Parts of the C library only work with the loader that they were built with.
        if found is None or is_of_glibc(soname, found[1]):
            self.missing.add(soname)
            self._note(need, is_private=found is not None or is_of_glibc(soname))
            return
        path, native = found
        self.missing.discard(soname)  # an earlier file that needs it had other directories
        self.taken[soname] = _Taken(path=path, native=native, needed_by={need.label})
        yield from self._needs(_Loaded(native=native, label=soname, origin=path.parent, inherited=need.chain))

    def _note(self, need: _Need, *, is_private: bool) -> None:
        soname, machine = need.soname, self.target.machine
        if is_private:
            self.notes[
                f"{soname}, which {need.label} needs, is a part of the build machine's C library and would not work "
                f"with the runtime's: build {need.label} for {self.baseline.name}"
            ] = None
            return
        others = [(path, native) for path in find(soname, need.folders) if (native := read_native(path))]
        if others:
            path, native = others[0]
            self.notes[
                f"{soname}, which {need.label} needs, is here for {native.machine} only ({path}), and wanted for "
                f"{machine}: install it for {machine}, or build on such a machine"
            ] = None


def _existing(entries: Sequence[str], origin: Path | None) -> tuple[Path, ...]:
    """Return the directories of an RPATH or RUNPATH on this machine."""
    folders = []
    for entry in entries:
        rest = below_origin(entry)
        if rest is not None and origin is not None:
            folders.append(origin / rest)
        elif rest is None and entry.startswith("/"):
            folders.append(Path(entry))
    return tuple(folders)
