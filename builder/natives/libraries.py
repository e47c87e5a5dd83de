"""The shared libraries that files need and their runtime lacks, found on the machine that builds: what to ship in lib/.

Found as the dynamic linker finds them (ld.so(8)), by reading files: nothing is run, `ldd` included, which runs what it
is asked about. On Lambda they are found in lib/, /var/task/lib or /opt/lib, by LD_LIBRARY_PATH. A DT_RPATH comes before
that, but one that names directories of the build machine leads nowhere there and is passed over.

LD_LIBRARY_PATH on Lambda has /var/lang/lib, /lib64 and /usr/lib64 first. So what the runtime has cannot be replaced by
a newer one in lib/: where libstdc++ or libgcc_s is too old for a file, that is an error and not a reason to copy.
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
    """A native file of a component. `owner` as messages name it, `origin` its directory on disk, if it is there."""

    native: Native
    owner: str
    origin: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library to ship under the name that is asked for. `path` is where this machine has it, `size` in bytes.

    `needed_by`: names in the zip, or of other libraries that are shipped for the same reason.
    """

    soname: str
    path: Path
    size: int
    sha256: str
    needed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its place in the zip. There are no links in our zips: a file that two names are asked for is in it twice."""
        return f"{FOLDER}/{self.soname}"

    def as_json(self) -> TakenLibrary:
        """For the store and the reply."""
        return {
            "library": self.soname,
            "from": str(self.path),
            "size": self.size,
            "sha256": self.sha256,
            "needed_by": list(self.needed_by),
        }


@dataclass(frozen=True, kw_only=True)
class Collected:
    """`libraries` by name, and the names of those that are `missing` here too; `notes` say what was passed over."""

    libraries: tuple[Library, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """(name in the zip, path) of each library."""
        return tuple((library.name, library.path) for library in self.libraries)


NOTHING = Collected()


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where the dynamic linker looks besides RPATH and RUNPATH: first `given` (LD_LIBRARY_PATH), then the machine's."""

    given: tuple[Path, ...] = ()
    machine: tuple[Path, ...] = ()


def read_needing(files: Sequence[tuple[str, Path]], owner: str) -> tuple[Needing, ...]:
    """The native ones of a component's files, given as (name in the zip, path)."""
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
    """The libraries that `needing` need, and those that these need, as far as nobody has them yet.

    A library that the runtime is only believed to have is shipped to be sure, if it could be loaded there.

    Args:
        root: where Lambda unpacks the component, /var/task or /opt.
        provided: names of libraries that layers bring, where the dynamic linker finds them.
        optional: sonames that may be missing, and are not looked for.

    Raises:
        NativeMismatch: a file that must be loaded, or a library that it needs, is too new for the runtime or made for
            another machine; with all such problems.
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
    # What is missing may be in a layer that nobody has looked into yet: that is for the checks of the whole.
    natives.refuse(natives.judge(placed, target, complete=False, optional=tuple(optional), baseline=baseline))
    return Collected(
        libraries=tuple(each.library(soname) for soname, each in taken),
        missing=tuple(sorted(work.missing)),
        notes=tuple(work.notes),
    )


def differing(
    libraries: Sequence[Mapping[str, object]], missing: Sequence[str], *, target: Target, search: Search
) -> tuple[str, ...]:
    """Of an earlier collection, the names of libraries that this machine does not have as they were then.

    Args:
        libraries: `Library.as_json` of those that were found.
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
    """A file whose needs are to be met. `inherited`: the RPATHs of those that load it."""

    native: Native
    label: str
    origin: Path | None
    inherited: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Need:
    """A library's name, who asks for it, and where its dynamic linker would look."""

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
    """One walk through needs, breadth first as the dynamic linker goes. `settled` names need no library of ours."""

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
                continue  # a name with a slash is a path: it is not looked for anywhere
            elif certain is None:
                pending.extend(self._take(need))
            else:
                doubtful.setdefault(soname, []).append(need)
        for soname in sorted(doubtful):
            self._take_if_it_fits(soname, doubtful[soname])

    def _take_if_it_fits(self, soname: str, needs: Sequence[_Need]) -> None:
        """A library that the runtime may have itself: taken with all that it needs, or not at all."""
        if soname not in self.taken:
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
        # A file with RUNPATH is searched for by that alone, not by the RPATHs of those that load it (ld.so(8)).
        chain = () if native.runpath else (*_existing(native.rpath, loaded.origin), *loaded.inherited)
        folders = (*chain, *self.search.given, *_existing(native.runpath, loaded.origin), *self.search.machine)
        for soname in native.needed:
            yield _Need(soname=soname, label=loaded.label, folders=folders, chain=chain)

    def _take(self, need: _Need) -> Iterator[_Need]:
        """Take one library, if this machine has it; what it needs itself."""
        soname = need.soname
        found = None if is_of_glibc(soname) else next(_of_machine(soname, need.folders, self.target.machine), None)
        if found is None or is_of_glibc(soname, found[1]):
            self.missing.add(soname)
            self._note(need, is_private=found is not None or is_of_glibc(soname))
            return
        path, native = found
        self.missing.discard(soname)  # whoever asked before has other directories
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
    """Directories of an RPATH or RUNPATH on this machine."""
    folders = []
    for entry in entries:
        rest = below_origin(entry)
        if rest is not None and origin is not None:
            folders.append(origin / rest)
        elif rest is None and entry.startswith("/"):
            folders.append(Path(entry))
    return tuple(folders)
