"""Builds on a workstation: from a directory to zips, with a cache directory in place of the builder's bucket."""

from __future__ import annotations

import contextlib
import json
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from builder.errors import InvalidConfiguration, LambdasmithError, StoreDamaged
from builder.flow import reply
from builder.flow.preparing import Prepared, prepared, tell
from builder.making.assembly import Options
from builder.making.checks import check, direct_upload_warnings
from builder.making.product import Product
from builder.making.project import Project, SeveralFunctions, read_project
from builder.natives.machine import directories_of
from builder.progress import Progress
from builder.python.inputs import UnclearError, paths_named, split_entry
from builder.runtimes import Architecture
from builder.secrets.indexes import Indexes
from builder.secrets.surroundings import Surroundings
from builder.sources.directory import copy_beside, place_in_repository, snapshot
from builder.sources.excludes import left_out_warning
from builder.sources.snapshot import Snapshot
from builder.spec.build_file import FunctionSpec, LayerSpec, find_build_file
from builder.spec.members import BuildFile, read_functions
from builder.spec.tree import with_own_dependencies
from builder.spec.values import BuildSpec
from builder.store import whole
from builder.store.directory import DirectoryStore
from builder.store.keeping import Store
from builder.workshop.workshop import Workshop
from builder.workspace import local_cache
from builder.workspace.directory import Deadline, Workspace
from builder.workspace.domains import Domain

if TYPE_CHECKING:
    from builder.replies.projects import FunctionRow
    from builder.replies.reply import Reply
    from builder.spec.values import Parameters

# A workstation has no time limit; this one only ends children that hang.
_LONGEST_S = 24 * 3600.0
REPLY = "build.json"


@dataclass(frozen=True, kw_only=True)
class Order:
    """A directory to build, and the directory for the zips. `runtime` and `architecture` win over the build file.

    `key` is one function of several, `stage` a stage of the build file, both empty for none;
    `parameters` are those of a template.
    """

    directory: Path
    out: Path
    cache: Path
    build_file: str | None = None
    components: tuple[str, ...] = ()
    key: str = ""
    stage: str = ""
    parameters: Parameters = ()
    runtime: str | None = None
    architecture: Architecture | None = None
    force: bool = False


def build(order: Order, progress: Progress, environment: Mapping[str, str]) -> Reply:
    """Build `order.directory` into `order.out`: function.zip, layers/NAME.zip and the reply as build.json.

    Each of several functions has a directory of its own there, and nothing is written before all of them are built.
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
            try:
                ready = prepared(job, progress)
                made = [(order, ready, _checked(ready, order))]
            except SeveralFunctions as several:
                several.check(several.file.functions)
                for note in several.file.template.notes if several.file.template else ():
                    progress.note(note)
                made = []
                for each in _each(order, several.file):
                    # Apart: the store may share a file with the place where it was made.
                    place = scratch / "functions" / each.key
                    place.mkdir(parents=True)
                    ready = prepared(replace(job, order=each, scratch=place), progress)
                    made.append((each, ready, _checked(ready, each)))
            with progress.phase("write", f"writing {order.out}"):
                answers = [_written(each, product, ready.workshop.store) for each, ready, product in made]
        if not made[0][0].key:
            answer = answers[0] | reply.account(progress)
        else:
            answer = _of_all([each for each, _, _ in made], answers) | reply.account(progress)
        _write_reply(answer, order.out)
        return answer


def _each(order: Order, file: BuildFile) -> Iterator[Order]:
    """Yield an order for each function that is asked for."""
    words = [word for word in order.components if word in file.functions]
    rest = tuple(word for word in order.components if word not in file.functions)
    for key in words or file.functions:
        yield replace(order, key=key, components=rest, out=order.out / key)


def _written(order: Order, product: Product, store: Store) -> Reply:
    """Write the zips of one function, and return what there is to say of it."""
    answer = reply.assembled(product) | {
        "commit": product.commit or None,
        "runtime": product.outline.target.runtime.name,
        "architecture": product.outline.target.architecture,
    }
    answer |= {"files": _write(product, order.out, store)}
    if order.key:
        _write_reply(answer, order.out)
    return answer


def _of_all(orders: Sequence[Order], answers: Sequence[Reply]) -> Reply:
    """Return the reply about several functions."""
    rows: list[FunctionRow] = [
        {
            "key": each.key,
            "name": each.key,
            "status": "packaged",
            "changed": [],
            "build_id": None,
            "artifacts": answer["artifacts"],
            "files": {name: f"{each.key}/{path}" for name, path in answer["files"].items()},
            "size": sum(row.get("size", 0) for row in answer["artifacts"]),
            "unzipped": sum(row.get("unzipped", 0) for row in answer["artifacts"]),
        }
        for each, answer in zip(orders, answers, strict=True)
    ]
    return {"statusCode": 200, "commit": answers[0]["commit"], "functions": rows}


def _write_reply(answer: Reply, out: Path) -> None:
    # Last: it lists the zips, and an interrupted build leaves the previous list.
    with whole.file(out / REPLY) as partial:
        partial.write_text(json.dumps(answer, indent=2) + "\n")


def look(order: Order, progress: Progress) -> tuple[Project, ...]:
    """Return each function's project as a build of `order.directory` would read it; nothing is built.

    Its files, a copy, no longer exist afterwards.

    Raises:
        LambdasmithError: the directory or its build file is not valid.
    """
    with tempfile.TemporaryDirectory(prefix="lambdasmith-") as temporary:
        source = _fetched(order, Path(temporary) / "source", progress)
        try:
            projects: tuple[Project, ...] = (_read(order, source),)
        except SeveralFunctions as several:
            several.check(several.file.functions)
            projects = tuple(_read(each, source) for each in _each(order, several.file))
        for project in projects:
            tell(project, progress)
        return projects


@dataclass(frozen=True, kw_only=True)
class _Copied(Snapshot):
    """A copy of a directory; `repository` is that of the repository around it, as far as it was copied."""

    repository: Path | None = None


def _fetched(order: Order, into: Path, progress: Progress) -> _Copied:
    elsewhere, leave_out = [*_elsewhere(order)], (order.out, order.cache)
    # As deep as it is in its repository: what the build file names elsewhere there is copied beside it.
    below = place_in_repository(order.directory) if elsewhere else ""
    place = into / below if below else into
    place.parent.mkdir(parents=True, exist_ok=True)
    source = snapshot(order.directory, place, build_file=order.build_file, leave_out=leave_out)
    for path in elsewhere if below else ():
        copy_beside(order.directory, place, path, into, leave_out=leave_out)
    progress.warn(left_out_warning(source.secrets))
    return _Copied(
        root=source.root,
        url="",
        ref="",
        commit=source.commit,
        tree="",
        subtree="",
        commit_time=source.commit_time,
        repository=into if below else None,
    )


def _elsewhere(order: Order) -> Iterator[str]:
    """Yield the paths outside of the project that its build file names, relative to the project."""
    root = order.directory
    try:
        name = find_build_file([path.name for path in root.iterdir() if path.is_file()], order.build_file)
        file = read_functions((root / name).read_text(encoding="utf-8", errors="replace"), file=name, stage=order.stage)
    except (LambdasmithError, OSError):
        return  # reading the project says what is wrong
    for spec in file.functions.values():
        holders: list[FunctionSpec | LayerSpec] = [*([spec.function] if spec.function else []), *spec.layers]
        for holder in holders:
            for placed in holder.placed:
                path = posixpath.normpath(posixpath.join(holder.source_dir, placed.source))
                if path.startswith("../"):
                    yield path
        yield from (path for path in _required(with_own_dependencies(spec, root), root) if path.startswith("../"))


def _required(spec: BuildSpec, root: Path) -> Iterator[str]:
    """Yield the files of `layers.dependencies` and what they name, relative to the project."""

    def text(path: str) -> str | None:
        place = root / path
        return place.read_text(encoding="utf-8", errors="replace") if place.is_file() else None

    for entry in spec.dependencies:
        path = split_entry(entry)[0]
        # A lock belongs to the pyproject.toml beside it.
        yield from (path, posixpath.join(posixpath.dirname(path), "pyproject.toml"))
        with contextlib.suppress(UnclearError):
            yield from paths_named(path, text)


def _read(order: Order, source: _Copied) -> Project:
    return read_project(
        source.root,
        order.build_file,
        repository=source.repository,
        commit_time=source.commit_time,
        runtime=order.runtime,
        architecture=order.architecture,
        function=order.key or order.directory.resolve().name,
        key=order.key,
        stage=order.stage,
        parameters=order.parameters,
    )


@dataclass(frozen=True, kw_only=True)
class _Local:
    """The job of building a directory, with this machine's tools. `scratch` is for this build alone."""

    order: Order
    progress: Progress
    around: Surroundings
    workspace: Workspace
    scratch: Path
    fetched: list[_Copied] = field(default_factory=list)
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
        if not self.fetched:
            self.fetched.append(_fetched(self.order, self.scratch / "source", self.progress))
        return self.fetched[0]

    def read_message(self, source: Snapshot) -> str:
        return "reading the build file"

    def read(self, source: Snapshot) -> Project:
        return _read(self.order, self.fetched[0])

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
        product = ready.product(check(ready.made, ready.workshop, function=order.key or order.directory.resolve().name))
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
