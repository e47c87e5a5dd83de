"""Builds on a workstation: from a directory to zips, with a cache directory in place of the builder's bucket."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from builder.errors import InvalidConfiguration, StoreDamaged
from builder.flow import reply
from builder.flow.preparing import Prepared, prepared, tell
from builder.making.assembly import Options
from builder.making.checks import check, direct_upload_warnings
from builder.making.product import Product
from builder.making.project import Project, read_project
from builder.natives.machine import directories_of
from builder.progress import Progress
from builder.runtimes import Architecture
from builder.secrets.indexes import Indexes
from builder.secrets.surroundings import Surroundings
from builder.sources.directory import snapshot
from builder.sources.excludes import left_out_warning
from builder.sources.snapshot import Snapshot
from builder.store import whole
from builder.store.directory import DirectoryStore
from builder.store.keeping import Store
from builder.workshop.workshop import Workshop
from builder.workspace import local_cache
from builder.workspace.directory import Deadline, Workspace
from builder.workspace.domains import Domain

if TYPE_CHECKING:
    from builder.replies.reply import Reply

# A workstation has no time limit; this one only ends children that hang.
_LONGEST_S = 24 * 3600.0
REPLY = "build.json"


@dataclass(frozen=True, kw_only=True)
class Order:
    """A directory to build, and the directory for the zips. `runtime` and `architecture` win over the build file."""

    directory: Path
    out: Path
    cache: Path
    build_file: str | None = None
    components: tuple[str, ...] = ()
    runtime: str | None = None
    architecture: Architecture | None = None
    force: bool = False


def build(order: Order, progress: Progress, environment: Mapping[str, str]) -> Reply:
    """Build `order.directory` into `order.out`: function.zip, layers/NAME.zip and the reply as build.json.

    Zips of an earlier build that this one does not make are removed; if the build fails, everything stays.

    Args:
        environment: the variables of this process; children get an allow-listed part of it.

    Raises:
        LambdasmithError: with the phase in which it arose.
    """
    with (
        local_cache.in_use(order.cache, local_cache.limit_bytes(environment)),
        tempfile.TemporaryDirectory(prefix="lambdasmith-") as temporary,
    ):
        around = Surroundings.of(environment)
        workspace = Workspace(order.cache, scratch=Path(temporary) / "scratch")
        with workspace.scratch() as scratch:
            job = _Local(order=order, progress=progress, around=around, workspace=workspace, scratch=scratch)
            ready = prepared(job, progress)
            product = _checked(ready, order)
            with progress.phase("write", f"writing {order.out}"):
                answer = reply.assembled(product) | {
                    "commit": product.commit or None,
                    "runtime": product.outline.target.runtime.name,
                    "architecture": product.outline.target.architecture,
                }
                answer |= {"files": _write(product, order.out, ready.workshop.store)}
        answer |= reply.account(progress)
        # Last: it lists the zips, and an interrupted build leaves the previous list.
        with whole.file(order.out / REPLY) as partial:
            partial.write_text(json.dumps(answer, indent=2) + "\n")
        return answer


def look(order: Order, progress: Progress) -> Project:
    """Return the project as a build of `order.directory` would read it; nothing is built.

    Its files, a copy, no longer exist afterwards.

    Raises:
        LambdasmithError: the directory or its build file is not valid.
    """
    with tempfile.TemporaryDirectory(prefix="lambdasmith-") as temporary:
        project = _read(order, _fetched(order, Path(temporary) / "source", progress))
        tell(project, progress)
        return project


def _fetched(order: Order, into: Path, progress: Progress) -> Snapshot:
    source = snapshot(order.directory, into, build_file=order.build_file, leave_out=(order.out, order.cache))
    progress.warn(left_out_warning(source.secrets))
    return Snapshot(
        root=source.root, url="", ref="", commit=source.commit, tree="", subtree="", commit_time=source.commit_time
    )


def _read(order: Order, source: Snapshot) -> Project:
    return read_project(
        source.root,
        order.build_file,
        commit_time=source.commit_time,
        runtime=order.runtime,
        architecture=order.architecture,
        function=order.directory.resolve().name,
    )


@dataclass(frozen=True, kw_only=True)
class _Local:
    """The job of building a directory, with this machine's tools. `scratch` is for this build alone."""

    order: Order
    progress: Progress
    around: Surroundings
    workspace: Workspace
    scratch: Path
    known: ClassVar[tuple[str, ...]] = ()
    exists: ClassVar[bool] = True

    @property
    def fetch_message(self) -> str:
        return f"copying {self.order.directory}"

    @property
    def components(self) -> tuple[str, ...]:
        return self.order.components

    @property
    def options(self) -> Options:
        return Options(force=self.order.force)

    def fetch(self) -> Snapshot:
        return _fetched(self.order, self.scratch / "source", self.progress)

    def read_message(self, source: Snapshot) -> str:
        return "reading the build file"

    def read(self, source: Snapshot) -> Project:
        return _read(self.order, source)

    def allow(self, project: Project) -> None:
        """Allow everything: the user of a workstation may read its secrets anyway."""

    def equip(self, project: Project) -> Workshop:
        workspace, scratch, around = self.workspace, self.scratch, self.around
        store = DirectoryStore(self.order.cache / "store", warn=self.progress.warn)
        return Workshop(
            workspace=workspace,
            scratch=scratch,
            store=store,
            kept=store,
            caches=workspace.cached("builds") / Domain(name=str(self.order.directory.resolve())).id,
            deadline=Deadline.after(_LONGEST_S),
            progress=self.progress,
            environment=workspace.child_environment(around.environment, "", scratch / "home"),
            indexes=Indexes(logins=tuple(around.indexes), read=around.indexes.__getitem__),
            library_path=directories_of(around.environment.get("LD_LIBRARY_PATH", "")),
        )


def _checked(ready: Prepared, order: Order) -> Product:
    """Check the artifacts, also for an upload by hand."""
    progress = ready.workshop.progress
    with progress.phase("check", "checking the artifacts"):
        product = ready.product(check(ready.made, ready.workshop, function=order.directory.resolve().name))
        for warning in direct_upload_warnings(product.outline, product.artifacts):
            progress.warn(warning)
    return product


def _write(made: Product, out: Path, store: Store) -> dict[str, str]:
    """Copy the artifacts to `out`, and return their relative paths by component."""
    functions = made.outline.functions
    files = {name: f"{name}.zip" if name in functions else f"layers/{name}.zip" for name in made.artifacts}
    try:
        before = _before(out)
        (out / "layers").mkdir(parents=True, exist_ok=True)
        for name, artifact in made.artifacts.items():
            if not store.fetch(artifact.name, out / files[name], sha256=artifact.sha256):
                raise StoreDamaged(
                    f"{store.place(artifact.name)}, the zip of {name}, is gone or damaged",
                    hint="run the same command again to rebuild it",
                )
        for path in before - set(files.values()):
            (out / path).unlink(missing_ok=True)
        if not any((out / "layers").iterdir()):
            shutil.rmtree(out / "layers")
    except OSError as error:
        raise InvalidConfiguration(f"--out: {out} cannot be written: {error.strerror}") from error
    return files


def _before(out: Path) -> set[str]:
    """Return the zips that an earlier build wrote to `out`, as its build.json lists them."""
    try:
        files = json.loads((out / REPLY).read_text()).get("files", {})
    except (OSError, ValueError, AttributeError):
        return set()
    known = [path for path in files.values() if isinstance(path, str)] if isinstance(files, dict) else []
    return {path for path in known if path == "function.zip" or (path.startswith("layers/") and ".." not in path)}
