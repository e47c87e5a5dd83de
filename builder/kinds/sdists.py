"""Builds a wheel for distributions that have none: sdists, git and local directories, once per content.

The build runs foreign code, so it is a child with an allow-listed environment, its own HOME and no credentials. Two
builds of one content give equal bytes: path, time and order of the zip are fixed. A compiler is fetched only when a
build has called for one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.archives.zips import Member, write_zip
from builder.errors import (
    BuildFailed,
    CommandFailed,
    LambdasmithError,
    LfsMissing,
    NoWheelForTarget,
    ResolutionFailed,
)
from builder.hashing import sha256_of
from builder.network.untrusted import explained
from builder.python import gateway
from builder.python.inputs import tree_files, tree_hash
from builder.python.pylock import LockedSource, LockedWheel, Selection, check_tags
from builder.python.resolver import is_own, resolver_version, uv_binary
from builder.python.uv import version_without_history
from builder.python.wheelfile import WheelFile
from builder.python.wheels import download, keep_wheel
from builder.runtimes import Target
from builder.sources.local import refuse_lfs_pointers
from builder.store.values import SHA256, Fields
from builder.system import process
from builder.toolchains import zig

if TYPE_CHECKING:
    from builder.workshop.workshop import Workshop

# Part of every key: raised when the same source would give other bytes.
_FORMAT = 2
# Zip knows no earlier time, and a source without a commit has no time of its own.
_EPOCH_1980 = 315_532_800
# https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention
_WHEEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+]*(?:-[A-Za-z0-9._!+]+){4,5}\.whl", re.ASCII)
_NEEDS = {
    "cargo": "Rust",
    "rustc": "Rust",
    "gfortran": "Fortran",
    "cmake": "CMake",
    "pg_config": "PostgreSQL's headers",
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The target of wheels, the project's directory `root`, and the workshop to build them in."""

    target: Target
    root: Path
    workshop: Workshop


def wheels_of(selection: Selection, bench: Bench) -> tuple[LockedWheel, ...]:
    """Return every distribution of a lock as a wheel, sorted by name; built ones are in the wheel cache.

    Raises:
        NoWheelForTarget: one must be compiled for a runtime or architecture other than the builder's.
        BuildFailed, SourceError: a build fails, or its source cannot be had.
    """
    for wheel in selection.wheels:
        if wheel.path:
            _take(bench.root / wheel.path, wheel.sha256, wheel.filename, bench)
    built = [_built(source, bench) for source in selection.sources]
    return tuple(sorted([*selection.wheels, *built], key=lambda wheel: wheel.name))


def _take(path: Path, sha256: str, filename: str, bench: Bench) -> Path:
    """Copy a wheel of the project into the wheel cache."""
    if sha256_of(path) != sha256:
        raise ResolutionFailed(f"{filename} in the project is not the file that was locked")
    return keep_wheel(path, sha256, filename, bench.workshop.workspace.cached("wheels"))


def wheel_key(source: LockedSource, target: Target) -> str:
    """Return the content key of a wheel built from `source`.

    Build requirements are the newest at the time of the first build; its wheel is then kept.
    """
    parts = ("built", _FORMAT, source.kind, source.name, source.identity, source.subdirectory, source.ref, target.label)
    own = (resolver_version(), f"{sys.version_info[0]}.{sys.version_info[1]}", zig.version())
    return hashlib.sha256("\0".join(map(str, (*parts, *own))).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BuiltWheel:
    """A wheel that was built from a source, by its hash and name."""

    sha256: str
    filename: str
    source: str

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store."""
        return {"sha256": self.sha256, "filename": self.filename, "source": self.source}

    @classmethod
    def parse(cls, kept: Fields) -> BuiltWheel:
        """Parse the output of `as_json`. The name becomes part of a path, so it must be a plain wheel name."""
        return cls(
            sha256=kept.text("sha256", SHA256), filename=kept.text("filename", _WHEEL_NAME), source=kept.text("source")
        )


def _built(source: LockedSource, bench: Bench) -> LockedWheel:
    key, workshop = wheel_key(source, bench.target), bench.workshop
    cache = workshop.workspace.cached("wheels")
    kept = workshop.kept.find(f"built/{key}.json", BuiltWheel.parse)
    if kept is not None:
        path = cache / kept.sha256 / kept.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        is_here = path.exists() and sha256_of(path) == kept.sha256
        if is_here or workshop.kept.fetch(f"built/{key}.whl", path, sha256=kept.sha256):
            return _wheel(source, kept.sha256, kept.filename)
    with workshop.workspace.build_place() as folder:
        # One build at a time, in a directory with a constant path: compilers write it into their results.
        path = _Build(source, bench, folder).wheel()
        check_tags(path.name, bench.target, why=_why_foreign(bench.target))
        sha256 = sha256_of(path)
        workshop.kept.put(f"built/{key}.whl", path, sha256=sha256)
        # The record after the wheel: a builder that is killed in between leaves a wheel that no one refers to.
        made = BuiltWheel(sha256=sha256, filename=path.name, source=source.name)
        workshop.kept.write_json(f"built/{key}.json", made.as_json())
        keep_wheel(path, sha256, path.name, cache)
        return _wheel(source, sha256, path.name)


def _wheel(source: LockedSource, sha256: str, filename: str) -> LockedWheel:
    return LockedWheel(name=source.name, version=filename.split("-")[1], filename=filename, url="", sha256=sha256)


def _why_foreign(target: Target) -> str:
    return (
        f": it was built here, on {_here()}; compiled code runs only there. Use a builder of runtime "
        f"{target.runtime.name} and architecture {target.architecture}, or publish a wheel for it"
    )


def _here() -> str:
    import platform

    return f"Python {sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"


@dataclass
class _Build:
    """One source on its way to a wheel, in `folder`."""

    source: LockedSource
    bench: Bench
    folder: Path

    @property
    def label(self) -> str:
        return f"{self.source.name} {self.source.version}".strip()

    def wheel(self) -> Path:
        """Return the finished wheel. It is built without a compiler, and if it calls for one, again with it."""
        epoch = self._unpack()
        asked = self.folder / "compiler-was-called"
        tools = zig.no_compiler(self.folder, asked)
        try:
            made = self._run(epoch, tools)
        except CommandFailed as error:
            if not asked.exists():
                raise self._failed(error) from error
        # Also after a success: such a wheel silently lacks its extension.
        if asked.exists():
            made = self._compiled(epoch)
        return _normalised(made, self.folder)

    def _compiled(self, epoch: int) -> Path:
        target = self.bench.target
        if not is_own(target):
            raise NoWheelForTarget(
                f"{self.label} has no wheel for {target.label} and must be compiled, which this builder "
                f"({_here()}) cannot do for another runtime or architecture",
                hint=f"use a builder of runtime {target.runtime.name} and architecture {target.architecture}, choose a "
                "version that has a wheel, or publish one",
            )
        headers = Path(sysconfig.get_paths()["include"])
        if not (headers / "Python.h").is_file():
            raise BuildFailed(
                f"{self.label} must be compiled, but this Python has no Python.h in {headers}",
                hint="choose a version that has a wheel, or publish one",
            )
        # From scratch: the first attempt may have left half-built files.
        epoch = self._unpack()
        tools = zig.compiler(target, self.folder, self.bench.workshop.toolbox)
        try:
            return self._run(epoch, tools)
        except CommandFailed as error:
            raise self._failed(error) from error

    def _failed(self, error: CommandFailed) -> LambdasmithError:
        text = " ".join(error.log_tail)
        if refused := explained(text):
            refused.log_tail = error.log_tail
            return refused
        needs = next((what for tool, what in _NEEDS.items() if re.search(rf"\b{tool}\b", text)), None)
        hint = f"its build needs {needs}, which the builder does not have; " if needs else ""
        return CommandFailed(
            f"{self.label} has no wheel for {self.bench.target.label}, and building one from source fails",
            hint=hint + "choose a version that has a wheel, or publish one",
            log_tail=error.log_tail,
        )

    def _run(self, epoch: int, tools: Mapping[str, str]) -> Path:
        for name in ("home", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        with gateway.opened(self.bench.workshop.indexes, self.folder) as indexes:
            # Indexes with pinned names come first: the default index must not replace a private build requirement.
            pinned = [indexes.address(index.url) for index in self.bench.workshop.indexes.logins if index.only]
            first = {"UV_INDEX": " ".join(pinned)} if pinned else {}
            return self._run_with({**indexes.environment(self.bench.workshop.environment), **first, **tools}, epoch)

    def _run_with(self, given: Mapping[str, str], epoch: int) -> Path:
        source, out = self.source, self.folder / "out"
        environment = {
            **given,
            **(version_without_history(source.name, source.ref, source.identity) if source.kind == "vcs" else {}),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "SOURCE_DATE_EPOCH": str(epoch),
            # The order of sets would otherwise get into generated files.
            "PYTHONHASHSEED": "0",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }
        where = self.folder / "source" / self.source.subdirectory
        command = [uv_binary(environment.get("PATH", "")), "build", "--wheel", str(where), "--out-dir", str(out)]
        command += ["--python", sys.executable, "--no-config", "--no-create-gitignore"]
        process.run(
            command,
            cwd=self.folder,
            environment=environment,
            timeout_s=self.bench.workshop.deadline.check(f"building {self.label}"),
            what=f"building {self.label}",
            memory_mb=self.bench.workshop.memory_mb,
        )
        made = sorted(out.glob("*.whl"))
        if len(made) != 1:
            raise BuildFailed(f"the build of {self.label} made {len(made)} wheels instead of one")
        return made[0]

    def _unpack(self) -> int:
        """Put the source into `folder`/source; return the time for the build, in seconds since 1970."""
        into = self.folder / "source"
        shutil.rmtree(into, ignore_errors=True)
        source, root = self.source, self.bench.root
        if source.kind == "vcs":
            from builder.sources import git

            resolved = git.Resolved(url=source.url, ref=source.identity, commit=source.identity)
            snapshot = git.fetch(
                resolved, into, credentials=self.bench.workshop.credentials(), network=self.bench.workshop.network
            )
            if snapshot.lfs_pointers:
                raise LfsMissing("; ".join(snapshot.warnings), hint="commit the file itself")
            return max(snapshot.commit_time, _EPOCH_1980)
        if source.kind == "directory":
            # A command of the build may have changed it since.
            if source.identity and tree_hash(root / source.path) != source.identity:
                raise ResolutionFailed(f"{source.path} is not as it was when it was locked", hint="build with upgrade")
            _copy_tree(root / source.path, into)
            return _EPOCH_1980
        archive = root / source.path if source.path else self._downloaded()
        if sha256_of(archive) != source.identity:
            raise ResolutionFailed(f"{source.filename} is not the file that was locked")
        _extract(archive, into, source.filename)
        return _EPOCH_1980

    def _downloaded(self) -> Path:
        source = self.source
        file = LockedWheel(
            name=source.name, version=source.version, filename=source.filename, url=source.url, sha256=source.identity
        )
        return download([file], self.bench.workshop.workspace.cached("wheels"), self.bench.workshop.indexes)[
            source.identity
        ]


def _copy_tree(root: Path, into: Path) -> None:
    into.mkdir(parents=True)
    refuse_lfs_pointers({path.relative_to(root).as_posix(): path for path in tree_files(root)})
    for path in tree_files(root):
        copy = into / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        else:
            shutil.copyfile(path, copy)
            copy.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _extract(archive: Path, into: Path, filename: str) -> None:
    """Unpack an sdist like any archive; `into` becomes its single top directory.

    Raises:
        SourceError, UnsafeSource, OutOfSpace: as for `archive.extract`.
    """
    from builder.sources.archive import extract

    unpacked = into.with_name("unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    extract(archive, unpacked, label=filename)
    # An sdist has one directory NAME-VERSION; archives of forges have one as well, by another name.
    tops = list(unpacked.iterdir())
    if len(tops) == 1 and tops[0].is_dir() and not tops[0].is_symlink():
        tops[0].rename(into)
        unpacked.rmdir()
    else:
        unpacked.rename(into)


def _normalised(wheel: Path, folder: Path) -> Path:
    """Rewrite the wheel as a zip of ours: sorted, fixed dates, two modes, whatever tool wrote it."""
    final = folder / "wheel" / wheel.name
    final.parent.mkdir(exist_ok=True)
    with WheelFile(wheel) as made, final.open("wb") as file:
        write_zip(
            file,
            [
                Member(
                    name=info.filename,
                    archive=wheel,
                    info=info,
                    label=wheel.name,
                    executable=bool(info.external_attr >> 16 & 0o100),
                )
                for info in made.infos.values()
            ],
        )
    return final
