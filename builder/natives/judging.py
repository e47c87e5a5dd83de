"""Decides whether the target can load a build's native files, by what the artifacts and the runtime have.

Modules that Python can import, programs, and all that those need must be loadable: anything else is an error. Files
that are only opened by name (plugins, ctypes) may never be opened: what they lack is a warning.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builder.errors import NativeMismatch
from builder.natives.elf import Native
from builder.runtimes import Target
from builder.store.values import Fields, UnfitError

_DATA = Path(__file__).with_name("baselines")
# Where LD_LIBRARY_PATH leads on Lambda, as far as a project can put files there.
_LIBRARY_PATH = ("/var/task", "/var/task/lib", "/opt/lib")
_VERSION = re.compile(r"(?P<family>GLIBC|GLIBCXX|CXXABI|GCC)_(?P<number>\d+(?:\.\d+)*)")
# The one version of the C library that is not a number.
_NAMED_VERSIONS = {"GLIBC_ABI_DT_RELR": "GLIBC_2.36"}
_TESTS = re.compile(r"/tests?/")
# Parts of the C library, which only work with each other: the dynamic linker, libc and those beside them.
_OF_GLIBC = re.compile(
    r"libnsl\.so\.1|ld-linux[\w-]*\.so\.\d+|ld64\.so\.\d+|"
    r"lib(?:c|m|mvec|pthread|dl|rt|resolv|util|anl|nss_\w+|thread_db|BrokenLocale|c_malloc_debug)\.so\.[\d.]+"
)
# The compiler's libraries. A newer one in lib/ is not used, because /lib64 comes before it.
_OF_COMPILER = ("libstdc++.so.6", "libgcc_s.so.1")
_SYSTEM_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
# One missing library can break hundreds of files.
_SHOWN = 12
_SHIP = (
    "ship {soname} in a layer's lib/, or choose a wheel that bundles it, or build where it is installed and set "
    "native_libraries: auto"
)


def data_version() -> str:
    """Return a hash of the data that judgements are based on."""
    digest = hashlib.sha256()
    for path in sorted(_DATA.glob("*.json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Libraries of a runtime: `libraries` is soname → whether that is certain, `versions` the newest ones it offers.

    `recorded` is the hash of the data recorded on such a system; empty if only this version's own data is known.
    """

    name: str
    libraries: Mapping[str, bool]
    versions: Mapping[str, tuple[int, ...]]
    recorded: str = ""

    @classmethod
    def of(cls, target: Target, recorded: Recorded | None = None) -> Baseline:
        """Return the data `recorded` for the target's system and architecture, else the data that is shipped for them.

        Recorded libraries that belong to the runtime count for the same runtime only.
        """
        known = shipped(target.runtime.system, target.architecture) if recorded is None else recorded.value
        document = Fields(known)
        libraries = {
            soname: entry.value.get("certain", True) is not False
            for soname, entry in document.fields("libraries").members()
        }
        if recorded is not None and recorded.runtime == target.runtime.name:
            libraries |= dict.fromkeys(recorded.runtime_libraries, True)
        if target.runtime.python is not None:
            major, minor = target.runtime.python
            # Where the runtime has its Python, not the system.
            libraries |= {f"libpython{major}.{minor}.so.1.0": True, f"libpython{major}.so": True}
        versions = document.fields("versions").all_texts()
        return cls(
            name=f"{target.runtime.name} on {target.architecture}",
            libraries=libraries,
            versions={family: _numbers(text) for family, text in versions.items()},
            recorded="" if recorded is None else _hash(recorded.value),
        )

    def too_new(self, native: Native, soname: str) -> Iterator[tuple[str, str]]:
        """Yield the versions that a file needs of a library and that are too new: (needed, offered)."""
        for name in native.versions.get(soname, ()):
            match = _VERSION.fullmatch(_NAMED_VERSIONS.get(name, name))
            ceiling = self.versions.get(match["family"]) if match else None
            if match and ceiling and _numbers(match["number"]) > ceiling:
                yield name, f"{match['family']}_{'.'.join(map(str, ceiling))}"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Libraries that a builder has found in its system and runtime; `value` has the form of `baselines/`."""

    runtime: str
    runtime_libraries: tuple[str, ...]
    value: Mapping[str, object]

    @classmethod
    def parse(cls, kept: Fields) -> Recorded:
        """Parse the output of `probe.survey`."""
        for _, entry in kept.fields("libraries").members():
            entry.text("path")
        if any(
            not re.fullmatch(r"\d+(\.\d+)*", text, re.ASCII) for text in kept.fields("versions").all_texts().values()
        ):
            raise UnfitError("versions are not numbers")
        return cls(
            runtime=kept.text("runtime"),
            runtime_libraries=tuple(kept.fields("runtime_libraries").value),
            value=kept.value,
        )


def shipped(system: str, architecture: str) -> Mapping[str, object]:
    """Return the data shipped for a system (AL2, AL2023) and architecture: {"versions", "libraries", …}."""
    document: Mapping[str, object] = json.loads((_DATA / f"{system.lower()}-{architecture}.json").read_text())
    return document


def baseline_record(target: Target) -> str:
    """Return the name in the store of the data recorded for the target's system and architecture."""
    return f"baselines/{target.runtime.system}-{target.architecture}.json"


def newest(names: Sequence[str]) -> dict[str, str]:
    """Return the newest symbol version of each family whose versions are compared: {"GLIBC": "2.34"}."""
    found: dict[str, tuple[int, ...]] = {}
    for match in filter(None, map(_VERSION.fullmatch, names)):
        found[match["family"]] = max(found.get(match["family"], ()), _numbers(match["number"]))
    return {family: ".".join(map(str, numbers)) for family, numbers in sorted(found.items())}


def is_of_glibc(soname: str, native: Native | None = None) -> bool:
    """Tell whether a library is part of the C library: by its name, or because it uses another part's internals."""
    private = native is not None and any("GLIBC_PRIVATE" in names for names in native.versions.values())
    return private or bool(_OF_GLIBC.fullmatch(soname))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A native file at its place on Lambda. `owner` is the distribution or component that it belongs to.

    `collected`: it is a copy of a file of the build machine.
    """

    native: Native
    root: str
    owner: str
    collected: bool = False

    @cached_property
    def path(self) -> str:
        """Absolute path."""
        return f"{self.root}/{self.native.path}"

    @property
    def names(self) -> set[str]:
        """Names by which it can be asked for."""
        return {posixpath.basename(self.path), self.native.soname} - {""}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A file that will not load. `fatal` if something that must load needs it; `library` is missing."""

    owner: str
    message: str
    fix: str
    fatal: bool
    library: str = ""


def judge(
    files: Sequence[Placed],
    target: Target,
    *,
    complete: bool,
    optional: Sequence[str] = (),
    baseline: Baseline | None = None,
) -> list[Finding]:
    """Return which of `files` the target cannot load, in the order of the files.

    Args:
        baseline: libraries of the target; None for the data of this version.
        complete: whether `files` is all there will be; layers from elsewhere may have what is missing here.
        optional: sonames whose absence the project accepts.
    """
    judged_by = baseline or Baseline.of(target)
    return list(_Judge(files, target, complete=complete, optional=optional, baseline=judged_by).findings())


def refuse(findings: Sequence[Finding]) -> None:
    """Raise NativeMismatch with all fatal findings, if there are any."""
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    problems = list(dict.fromkeys(finding.message for finding in fatal))
    shown = problems[:_SHOWN] + ([f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])
    fixes = list(dict.fromkeys(finding.fix for finding in fatal))
    if libraries := ", ".join(sorted({finding.library for finding in fatal if finding.library})):
        fixes.append(
            f"if they are never used, allow them to be missing: optional_libraries: [{libraries}] in the build file"
        )
    message = shown[0] if len(shown) == 1 else "native files that the runtime cannot load:\n  " + "\n  ".join(shown)
    raise NativeMismatch(message, hint="; ".join(fixes), problems=problems)


class _Judge:
    def __init__(
        self,
        files: Sequence[Placed],
        target: Target,
        *,
        complete: bool,
        optional: Sequence[str],
        baseline: Baseline,
    ) -> None:
        self._files = files
        self._target = target
        self._complete = complete
        self._optional = optional
        self._baseline = baseline
        self._paths = {file.path: file for file in files}
        self._named: dict[str, list[Placed]] = {}
        for file in files:
            for name in file.names:
                self._named.setdefault(name, []).append(file)
        document = json.loads((_DATA / "hints.json").read_text())
        self._fixes: Mapping[str, str] = document["fixes"]
        self._may_fail = [str(entry["files"]) for entry in document["optional"]]

    def findings(self) -> Iterator[Finding]:
        must_load = self._must_load()
        for file in self._files:
            yield from self._of(file, fatal=file.path in must_load)

    def _must_load(self) -> set[str]:
        """Return paths of modules and programs that someone may load, and of everything that those need."""
        pending = [
            file
            for file in self._files
            if (file.native.is_module or file.native.is_program) and not self._is_spare(file)
        ]
        reached: set[str] = set()
        while pending:
            file = pending.pop()
            if file.path not in reached:
                reached.add(file.path)
                pending += [found for soname in file.native.needed for found in self._found(file, soname)[:1]]
        return reached

    def _is_spare(self, file: Placed) -> bool:
        """Tell whether its package works without it: it is a test's, or known to be imported with care."""
        short = re.sub(r"^/opt/python/(?:lib/python3\.\d+/site-packages/)?|^/var/task/", "", file.path)
        return bool(_TESTS.search(file.path)) or any(fnmatch.fnmatchcase(short, pattern) for pattern in self._may_fail)

    def _found(self, file: Placed, soname: str) -> list[Placed]:
        """Return where the build has a library: on the search path first, then any file of that name."""
        folders = [*(self._absolute(file, folder) for folder in file.native.search), *_LIBRARY_PATH]
        on_path = [self._paths[path] for folder in folders if (path := f"{folder}/{soname}") in self._paths]
        # Anywhere else counts as well: many packages load their libraries by path before they are needed.
        return on_path or self._named.get(soname, [])

    @staticmethod
    def _absolute(file: Placed, folder: str) -> str:
        return folder if folder.startswith("/") else posixpath.normpath(f"{file.root}/{folder}")

    def _of(self, file: Placed, *, fatal: bool) -> Iterator[Finding]:
        native = file.native
        if native.machine != self._target.machine:
            yield Finding(
                owner=file.owner,
                message=f"{file.path} of {file.owner} is for {native.machine}, the function runs on "
                f"{self._target.machine}",
                fix=f"build or choose {file.owner} for {self._target.architecture}, or change function.architecture",
                fatal=fatal,
            )
            return
        yield from self._started(file, fatal=fatal)
        for soname in native.needed:
            if found := self._found(file, soname):
                if not self._reachable(file, soname, found):
                    yield self._out_of_reach(file, soname, found[0])
            elif self._baseline.libraries.get(soname):
                yield from self._too_new(file, soname, fatal=fatal)
            elif finding := self._missing(file, soname, fatal=fatal):
                yield finding

    def _started(self, file: Placed, *, fatal: bool) -> Iterator[Finding]:
        """Report a program without its dynamic linker, which ends with `No such file` and names the program itself."""
        folder, _, name = file.native.interpreter.rpartition("/")
        known = folder in _SYSTEM_FOLDERS and self._baseline.libraries.get(name)
        if not name or known or any(other.path == file.native.interpreter for other in self._files):
            return
        standard = "/lib64/ld-linux-x86-64.so.2" if file.native.machine == "x86_64" else "/lib/ld-linux-aarch64.so.1"
        yield Finding(
            owner=file.owner,
            message=f"{file.path} of {file.owner} is started by {file.native.interpreter}, which "
            f"{self._baseline.name} does not have",
            fix=f"link it statically, or with --dynamic-linker={standard} (patchelf --set-interpreter changes it)",
            fatal=fatal,
        )

    def _reachable(self, file: Placed, soname: str, found: Sequence[Placed]) -> bool:
        """Count a library as loaded by its own package: many packages load theirs before they are needed."""
        folders = {*(self._absolute(file, folder) for folder in file.native.search), *_LIBRARY_PATH}
        return any(other.owner == file.owner or posixpath.dirname(other.path) in folders for other in found)

    def _out_of_reach(self, file: Placed, soname: str, found: Placed) -> Finding:
        return Finding(
            owner=file.owner,
            message=f"{file.path} of {file.owner} needs {soname}, which is at {found.path}: it is found only if "
            f"{found.owner} has loaded it before",
            fix="put it into a layer's lib/",
            fatal=False,
        )

    def _missing(self, file: Placed, soname: str, *, fatal: bool) -> Finding | None:
        where = f"{file.path} of {file.owner} needs {soname}"
        if soname in self._optional:
            return None
        if soname in self._baseline.libraries:
            return Finding(
                owner=file.owner,
                message=f"{where}, which {self._baseline.name} is believed to have",
                fix="ship it in a layer's lib/ to be sure",
                fatal=False,
            )
        # A frequent mistake, and one where shipping the library would not help.
        if soname.startswith(("libc.musl-", "ld-musl-")):
            fix = f"{file.owner} was built for musl (Alpine); choose a manylinux wheel"
        else:
            fix = self._fixes.get(soname, _SHIP.format(soname=soname))
        return Finding(
            owner=file.owner,
            message=f"{where}, which is neither in the build nor on {self._baseline.name}",
            fix=fix,
            library=soname,
            fatal=fatal and self._complete,
        )

    def _too_new(self, file: Placed, soname: str, *, fatal: bool) -> Iterator[Finding]:
        for name, offered in self._baseline.too_new(file.native, soname):
            if file.collected:
                fix = (
                    f"build where the system is no newer than the runtime's (Amazon Linux, or the builder function "
                    f"itself), or bring a {posixpath.basename(file.path)} along that was built for {offered}"
                )
            elif soname in _OF_COMPILER:
                # LD_LIBRARY_PATH has /lib64 and /usr/lib64 before /var/task/lib and /opt/lib.
                fix = (
                    f"build {file.owner} with -static-libstdc++ -static-libgcc or an older compiler, or choose a "
                    f"manylinux wheel; a newer {soname} in lib/ would not be used, since the runtime's comes first"
                )
            else:
                fix = f"build {file.owner} for an older Linux (a manylinux wheel), or choose a newer runtime"
            yield Finding(
                owner=file.owner,
                message=f"{file.path} of {file.owner} needs {name} of {soname}; {self._baseline.name} offers {offered}",
                fix=fix,
                fatal=fatal,
            )


def _hash(document: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
