"""Gets toolchains onto this machine: fetched on first use, verified by hash, kept unpacked while the environment is
warm, and in the store for later environments.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from builder.archives import tars
from builder.archives.zips import safe_name
from builder.errors import NoWheelForTarget, ResolutionFailed, UnknownToolchain
from builder.hashing import sha256_of
from builder.nearest import nearest
from builder.network.access import Network
from builder.python.asking import WRONG, get, save
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.secrets.indexes import Indexes
from builder.store import whole
from builder.store.keeping import Store
from builder.store.values import SHA256
from builder.toolchains.catalogue import WHEELS, ArchiveTool, WheelTool
from builder.workspace.directory import Deadline, Workspace

_CHUNK = 1 << 20
# zlib releases the GIL; Lambda gives two processors at our memory.
_PARALLEL = 2
_BOX = "tools"
# Errors of a disk, not of the content; all others come from names and places in an archive.
_OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A toolchain on this machine. `bins` are directories with its programs."""

    name: str
    identity: str
    root: Path
    bins: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The toolchains that can be had. `configured` are those of the builder's own configuration.

    `environment` is that of children; its PATH says which programs the machine has.
    """

    workspace: Workspace
    store: Store
    environment: Mapping[str, str]
    indexes: Indexes
    deadline: Deadline
    configured: tuple[ArchiveTool, ...] = ()
    say: Callable[[str], None] = lambda _: None

    def identity(self, name: str) -> str:
        """Return the toolchain's part of keys: version or hash; nothing is fetched.

        Raises:
            UnknownToolchain: there is none of that name.
        """
        tool = self._tool(name)
        if not isinstance(tool, Path):
            return tool.identity
        return f"{name} {tool.resolve()} {tool.stat().st_size}"

    def get(self, name: str) -> Installed:
        """Return the toolchain, fetched if necessary.

        Raises:
            UnknownToolchain: there is none of that name.
            ResolutionFailed, SourceUnreachable, OutOfSpace: it cannot be had.
        """
        tool = self._tool(name)
        if isinstance(tool, Path):
            return Installed(name=name, identity=self.identity(name), root=tool.parent, bins=(tool.parent,))
        home = self._home(tool)
        if not self.workspace.intact_tree(home):
            self.say(f"fetching {tool.identity}")
            self._install(tool, home)
            self.workspace.seal_tree(home)
        self.workspace.used(home)
        bins = (
            tool.path if isinstance(tool, ArchiveTool) else (place.format(version=tool.version) for place in tool.bins)
        )
        return Installed(name=name, identity=tool.identity, root=home, bins=tuple(home / place for place in bins))

    def _tool(self, name: str) -> WheelTool | ArchiveTool | Path:
        """Find a toolchain: configured ones win over those of the index, and these over programs of the machine."""
        for tool in self.configured:
            if tool.name == name:
                return tool
        if name in WHEELS:
            return WHEELS[name]
        if found := shutil.which(name, path=self.environment.get("PATH", "")):
            return Path(found)
        known = [*WHEELS, *(tool.name for tool in self.configured)]
        raise UnknownToolchain(
            f"toolchain {name!r} is not known here{nearest(name, known)}",
            hint=f"known are {', '.join(known)}, and programs of the machine that builds; others: a section "
            "[toolchain NAME] in config.ini, or a builder from a container image (docs/kinds.md)",
        )

    def _home(self, tool: WheelTool | ArchiveTool) -> Path:
        return self.workspace.cached(_BOX) / re.sub(r"[^A-Za-z0-9._-]", "-", tool.identity)

    def _install(self, tool: WheelTool | ArchiveTool, home: Path) -> None:
        """Unpack beside `home` and rename: it exists completely or not at all."""
        with whole.folder(home) as partial, self._archive(tool) as archive:
            self.say(f"unpacking {tool.identity}")
            if isinstance(tool, WheelTool):
                unpack_zip(archive, partial, useless=tool.useless)
                for place, target in tool.links:
                    (partial / place).unlink(missing_ok=True)
                    (partial / place).symlink_to(target)
                    (partial / place).chmod(0o755)
            else:
                unpack_any(archive, partial, strip=tool.strip, label=tool.identity)

    @contextmanager
    def _archive(self, tool: WheelTool | ArchiveTool) -> Iterator[Path]:
        """Yield the verified archive, which is removed after the block: 100 MB that no one needs twice."""
        folder = Path(tempfile.mkdtemp(prefix=".toolchain.", dir=self.workspace.cached(_BOX)))
        try:
            yield self._wheel(tool, folder) if isinstance(tool, WheelTool) else self._download(tool, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _wheel(self, tool: WheelTool, folder: Path) -> Path:
        record = f"toolchains/{tool.distribution}-{tool.version}-{os.uname().machine}.json"
        path = folder / "toolchain.whl"
        sha256 = self.store.find(record, lambda kept: kept.text("sha256", SHA256))
        # The store's copy is checked against the lock as well, since the record could be changed by others with access.
        if sha256 in tool.hashes and self._from_store(sha256, path):
            return path
        found = self._from_index(tool, folder)
        sha256 = sha256_of(found)
        # The file before the record, so that a record always leads to a file.
        self.store.put(f"toolchains/{sha256}", found, sha256=sha256)
        self.store.write_json(record, {"sha256": sha256, "filename": found.name})
        return found

    def _from_store(self, sha256: str, path: Path) -> bool:
        return self.store.fetch(f"toolchains/{sha256}", path, sha256=sha256)

    def _from_index(self, tool: WheelTool, folder: Path) -> Path:
        from builder.python.inputs import read_inputs
        from builder.python.lock import resolve
        from builder.python.pylock import select
        from builder.python.resolver import Resolver
        from builder.python.wheels import download

        (folder / "requirements.txt").write_text(tool.requirement)
        # Resolved like any dependency, so the lock's hashes and the index's login apply.
        here = _own_target()
        by = Resolver(
            root=folder,
            scratch=folder,
            environment=self.environment,
            timeout_s=self.deadline.check(f"fetching {tool.identity}"),
            indexes=self.indexes,
        )
        try:
            wheels = select(resolve(read_inputs(["requirements.txt"], folder), here, by), here).wheels
        except NoWheelForTarget as error:
            raise NoWheelForTarget(
                f"{tool.identity} does not run here (C library {'.'.join(map(str, here.runtime.glibc))})",
                hint="give the builder a newer runtime: runtime = python3.13 in the [builder] section of config.ini",
                log_tail=error.log_tail,
            ) from error
        if not wheels:
            raise ResolutionFailed(f"the package index has no {tool.identity} for this machine")
        return download(wheels, folder / "wheels", self.indexes)[wheels[0].sha256]

    def _download(self, tool: ArchiveTool, folder: Path) -> Path:
        path = folder / "archive"
        if self._from_store(tool.sha256, path):
            return path
        self.deadline.check(f"fetching {tool.identity}")
        _fetch(tool, path, Network(remaining=self.deadline.remaining))
        self.store.put(f"toolchains/{tool.sha256}", path, sha256=tool.sha256)
        return path


def _own_target() -> Target:
    """Return this machine as a target. Its C library may be newer than Lambda's for the same Python."""
    runtime = RUNTIMES.get(f"python{sys.version_info.major}.{sys.version_info.minor}", RUNTIMES["python3.13"])
    found = re.fullmatch(r"(\d+)\.(\d+).*", platform.libc_ver()[1])
    glibc = (int(found[1]), int(found[2])) if found else runtime.glibc
    return Target(runtime=replace(runtime, glibc=glibc), architecture=architecture_of(os.uname().machine))


def _fetch(tool: ArchiveTool, path: Path, network: Network) -> None:
    found, what = "", f"toolchain {tool.name}"
    for _ in range(WRONG):
        # Again if it is another file: a stale answer of some cache on the way is more likely than a changed file.
        found = get(tool.url, lambda answer: save(answer, path, what), what=what, network=network)
        if found == tool.sha256:
            return
    raise ResolutionFailed(
        f"toolchain {tool.name}: {tool.url} has sha256 {found}, not {tool.sha256} as [toolchain {tool.name}] says",
        hint="if the file was meant to change, change sha256 in config.ini and run `python setup.py update`",
    )


def unpack_zip(archive: Path, into: Path, *, useless: str = "", strip: int = 0) -> None:
    """Unpack a zip with its modes, without files that match `useless`, and without `strip` leading parts of paths.

    Raises:
        UnsafeSource: a path would leave `into`.
    """
    unwanted = re.compile(useless) if useless else None
    with zipfile.ZipFile(archive) as opened:
        infos = [info for info in opened.infolist() if not (unwanted and unwanted.match(info.filename))]
    files = [info for info in infos if not info.filename.endswith("/")]
    # All names are checked before the first file is written.
    targets = {info.filename: into / safe_name("/".join(info.filename.split("/")[strip:])) for info in files}
    # All directories first: the threads would race to make them.
    for folder in {target.parent for target in targets.values()}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(part: Sequence[zipfile.ZipInfo]) -> None:
        with zipfile.ZipFile(archive) as opened:  # each thread its own: they share a position otherwise
            for info in part:
                target = targets[info.filename]
                with opened.open(info) as source, target.open("wb") as copy_:
                    shutil.copyfileobj(source, copy_, _CHUNK)
                if info.external_attr >> 16 & 0o111:
                    target.chmod(0o755)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(write, [files[start::_PARALLEL] for start in range(_PARALLEL)]))


def unpack_any(archive: Path, into: Path, *, strip: int, label: str) -> None:
    """Unpack a zip or tar (plain, .gz, .xz, .bz2, .zst) that the operator trusts, links included.

    Raises:
        ResolutionFailed: it is not one of these, or a path would leave `into`.
    """
    try:
        if zipfile.is_zipfile(archive):
            unpack_zip(archive, into, strip=strip)
            return
        with _stream(archive) as stream, tarfile.open(fileobj=stream, mode="r|*") as opened:
            tars.unpack(opened, into, strip=strip)
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        raise ResolutionFailed(f"toolchain {label}: the archive cannot be unpacked: {error}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise ResolutionFailed(f"toolchain {label}: the archive cannot be unpacked: {error}") from error


@contextmanager
def _stream(archive: Path) -> Iterator[IO[bytes]]:
    with archive.open("rb") as file:
        is_zstandard = file.read(4) == b"\x28\xb5\x2f\xfd"
        file.seek(0)
        if not is_zstandard:
            yield file
            return
        zstd = tars.zstandard()
        try:
            with zstd.open(file, "rb") as stream:
                yield stream
        except zstd.ZstdError as error:
            raise tarfile.TarError(str(error)) from error
