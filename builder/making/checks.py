"""Checks before anything is published: sizes of artifacts, native files that must load, the import of the handler.

The outcome is kept under the artifacts' hashes, so that a build with the same artifacts does not check them again.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from builder.amounts import megabytes
from builder.errors import ArtifactTooLarge, BootstrapMissing, ImportFailed, LambdasmithError, StoreDamaged
from builder.making.assembly import Assembly, keep
from builder.making.importing import Importer, importer_for
from builder.making.product import Checked
from builder.making.project import Outline, Project
from builder.making.shipment import zip_of
from builder.natives import elf
from builder.natives import judging as natives
from builder.natives.judging import Finding, Placed
from builder.natives.kept import natives_of
from builder.natives.libraries import FOLDER
from builder.plan import MAX_UNZIPPED, UNBUILT, Artifact
from builder.python.parts import fetch_part
from builder.secrets.masking import Masker
from builder.store.values import Fields
from builder.trials import trial
from builder.trials.trial import Outcome, Trial
from builder.workshop.workshop import Workshop

# Lambda's quota for a zip in the request itself. The builder hands over an object in S3, which has no such limit.
MAX_DIRECT = 50 << 20
# Part of every key: raised when the same artifacts would be judged differently.
_FORMAT = 2
_PARALLEL = 4
_LARGEST = 10
_SHOWN = 8


def check(
    made: Assembly,
    workshop: Workshop,
    *,
    function: str,
    foreign: Sequence[str] = (),
    variables: Mapping[str, str] | None = {},
    dry: bool = False,
) -> Checked:
    """Check the artifacts of a build, and keep those that are new in the store; warnings go to the progress.

    They are kept even if a check fails: the next attempt builds only the components that differ then.

    Args:
        function: its name, for the handler's environment.
        foreign: layers that others have attached to the function; their content is not known here.
        variables: the function's present ones, which stay if the build file has no `environment`; None for a new
            function, which gets the build file's alone.
        dry: compare sizes only.

    Raises:
        ArtifactTooLarge, NativeMismatch, ImportFailed, BootstrapMissing: Lambda would refuse it, or the function would
            not start.
    """
    checking = _Checking(made, workshop, function, foreign, variables)
    if dry:
        checking.sizes()
        return Checked(tried=False, why="a plan builds nothing", native_files=0, warnings=())
    # At the same time: the upload waits for S3, the import for a child, and neither changes the other's files.
    with ThreadPoolExecutor(2) as pool:
        keeping = pool.submit(keep, made)
        checked = _checked(checking, workshop, pool)
        keeping.result()
    for warning in checked.warnings:
        workshop.progress.warn(warning)
    return checked


def _checked(checking: _Checking, workshop: Workshop, pool: ThreadPoolExecutor) -> Checked:
    checking.sizes()
    record = f"checks/{checking.key()}.json"
    if kept := workshop.kept.find(record, _kept):
        return kept
    checking.entry()
    # Before the trial, not during it: descriptions and parts that are read here are kept for everyone, and the
    # handler's code could change them while they are read.
    files = checking.natives()
    trying = pool.submit(checking.trial)
    warnings = checking.load(files)  # first, since a file that cannot be loaded explains why the import fails
    outcome = trying.result()
    if outcome.stopped:
        warnings = (*warnings, f"the handler was not tried to the end: {outcome.why}")
    checked = Checked(tried=outcome.imported, why=outcome.why, native_files=len(files), warnings=warnings)
    if not outcome.unset:  # not kept: a missing variable is a warning for an existing function, an error for a new one
        workshop.kept.write_json(record, checked.as_json() | {"warnings": list(warnings)})
    return checked


def _kept(kept: Fields) -> Checked:
    return replace(Checked.parse(kept), warnings=kept.texts("warnings"), reused=True)


class _Group(NamedTuple):
    """Files of a component that are read together: one of its parts, or all of them if `part` is empty.

    `places`: all files of the group are placed. Otherwise only collected libraries are, because the groups of the
    component's parts place the rest.
    """

    component: str
    owner: str
    part: str
    places: bool = True


class _Checking:
    """The checks of one build."""

    def __init__(
        self,
        made: Assembly,
        workshop: Workshop,
        function: str,
        foreign: Sequence[str],
        variables: Mapping[str, str] | None,
    ) -> None:
        self._project: Project = made.project
        self._code = made.project.sole_function
        self._artifacts = {
            name: made.artifacts[name]
            for name in made.project.names
            if name in made.artifacts and made.artifacts[name] is not UNBUILT
        }
        self._workshop = workshop
        self._function = function
        self._foreign = sorted({*foreign, *made.project.foreign})
        self._is_new, self._present = variables is None, variables or {}
        self._fetching = threading.Lock()

    @property
    def _missing(self) -> list[str]:
        """Components that are not part of this build; the function may need their files."""
        return [name for name in self._project.names if name not in self._artifacts]

    @property
    def _layers(self) -> list[str]:
        """Components that are attached to the function as layers."""
        return [name for name in self._artifacts if name not in self._project.functions]

    def sizes(self) -> None:
        """Refuse more than 250 MB unzipped, layers included, as Lambda does."""
        total = sum(artifact.unzipped for artifact in self._artifacts.values())
        if total <= MAX_UNZIPPED:
            return
        packages = sorted(self._packages(), key=lambda row: (-row[1], row[0]))[:_LARGEST]
        largest = "\n".join(f"  {megabytes(size, '7.1f')}  {name}" for name, size in packages)
        raise ArtifactTooLarge(
            f"{megabytes(total)} unzipped, over Lambda's limit of {megabytes(MAX_UNZIPPED)}; largest:\n{largest}",
            hint="remove dependencies or files, or move large data to S3 or EFS",
            problems=[f"{name}: {size} bytes" for name, size in packages],
        )

    def entry(self) -> None:
        """Refuse a custom runtime's function without the program that Lambda starts."""
        target, code = self._project.target, self._code
        if target.runtime.family != "provided" or code not in self._artifacts or self._missing or self._foreign:
            return
        # Layers of distributions have all their files below python/.
        layers = (name for name in self._layers if not self._artifacts[name].parts)
        for component in (code, *layers):
            with zipfile.ZipFile(self._zip(component)) as opened:
                info = opened.NameToInfo.get("bootstrap")
            if info is None:
                continue
            if not info.external_attr >> 16 & 0o100:
                owner = self._project.owner(component)
                raise BootstrapMissing(
                    f"bootstrap of {owner} is not executable, and {target.runtime.name} cannot start it",
                    hint="git update-index --chmod=+x bootstrap, or chmod +x where it is made",
                )
            return
        raise BootstrapMissing(
            f"{target.runtime.name} starts the program `bootstrap`, which is neither among the function's files nor in "
            "its layers",
            hint="name the program bootstrap, at the top of the zip; build: go makes one, and build: {command: …} can",
        )

    def _packages(self) -> list[tuple[str, int]]:
        """Return the packages in the artifacts, with unzipped sizes in bytes."""
        rows = []
        for name, artifact in self._artifacts.items():
            parts = zip(artifact.contents, artifact.parts, strict=True) if artifact.parts else ()
            try:
                rows += [(label, _unzipped(self._part(part))) for label, part in parts]
            except FileNotFoundError:
                # A part may have expired: the component is then listed as a whole.
                parts = ()
            if not parts:
                rows.append((self._project.owner(name), artifact.unzipped))
        return rows

    def _part(self, name: str) -> Path:
        """Return the path of a part.

        Raises:
            FileNotFoundError: it no longer exists, although the artifact was made of it.
        """
        path = self._workshop.workspace.cached("parts") / name
        if not fetch_part(path, self._workshop.workspace, self._workshop.store):
            raise FileNotFoundError(path)
        return path

    def _zip(self, component: str) -> Path:
        """Return the path of the component's artifact; one that was just made is in the scratch directory already."""
        path = zip_of(component, self._workshop)
        # Several threads may want the same zip at the same time.
        with self._fetching:
            if not path.exists():
                artifact = self._artifacts[component]
                if not self._workshop.store.fetch(artifact.name, path, sha256=artifact.sha256):
                    raise StoreDamaged(
                        f"{self._workshop.store.place(artifact.name)}, the zip of {component}, is gone or damaged",
                        hint="run the same command again to rebuild it",
                    )
        return path

    def key(self) -> str:
        """Return the hash of everything that the outcome depends on."""
        spec = self._project.spec
        function = spec.function
        inputs = (
            _FORMAT,
            elf.FORMAT,
            natives.data_version(),
            self._workshop.baseline(self._project.target).recorded,
            self._project.target.label,
            importer_for(self._project, self._artifacts, self._workshop) is not None,
            [(name, artifact.sha256) for name, artifact in self._artifacts.items()],
            self._missing,
            self._foreign,
            spec.trial,
            sorted(spec.optional_libraries),
            (function.handler, sorted((function.environment or {}).items())) if function else None,
            # Names only: the values may be secrets, and the key is the name of an object.
            sorted(self._present) if function and function.environment is None else None,
        )
        return hashlib.sha256(repr(inputs).encode()).hexdigest()

    def natives(self) -> list[Placed]:
        """Return all native files with their places on Lambda; parts that were read once are not read again."""
        work = []
        for name, artifact in self._artifacts.items():
            if artifact.parts:
                work += [_Group(name, *pair) for pair in zip(artifact.contents, artifact.parts, strict=True)]
            if not artifact.parts or artifact.native_libraries:
                work.append(_Group(name, self._project.owner(name), "", places=not artifact.parts))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = list(zip(work, pool.map(self._natives_of, work), strict=True))
        lost = {group.component for group, files in found if files is None}
        found = [(group, files) for group, files in found if group.component not in lost]
        for name in sorted(lost):  # read as a whole, without the distribution of each file
            group = _Group(name, self._project.owner(name), "")
            found.append((group, self._natives_of(group)))
        return [placed for group, files in found for placed in self._placed(group, files or ())]

    def _placed(self, group: _Group, files: Sequence[elf.Native]) -> Iterator[Placed]:
        artifact = self._artifacts[group.component]
        collected = {f"{FOLDER}/{row['library']}": str(row["from"]) for row in artifact.native_libraries}
        root = self._project.mount(group.component)
        for native in files:
            if not group.part and native.path in collected:
                machine = f"the build machine ({collected[native.path]})"
                yield Placed(native=native, root=root, owner=machine, collected=True)
            elif group.places:
                yield Placed(native=native, root=root, owner=group.owner)

    def _natives_of(self, group: _Group) -> Sequence[elf.Native] | None:
        """Return the native files of a group; None if its part no longer exists."""
        try:
            return natives_of(
                group.part.removesuffix(".zip") or self._artifacts[group.component].sha256,
                lambda: self._part(group.part) if group.part else self._zip(group.component),
                store=self._workshop.store,
                workspace=self._workshop.workspace,
            )
        except FileNotFoundError:
            if not group.part:
                raise
            return None

    def load(self, files: Sequence[Placed]) -> tuple[str, ...]:
        """Refuse files that the target must load but cannot; return warnings for the others."""
        findings = natives.judge(
            files,
            self._project.target,
            complete=not self._missing and not self._foreign,
            optional=self._project.spec.optional_libraries,
            baseline=self._workshop.baseline(self._project.target),
        )
        natives.refuse(findings)
        return _summed_up(findings)

    def trial(self) -> trial.Outcome:
        """Import the handler, if this machine can do that."""
        spec, target = self._project.spec, self._project.target
        function, code = spec.function, self._code
        if function is None or code not in self._artifacts:
            return trial.Outcome(imported=False, why="no function was built")
        if spec.trial == "none":
            return trial.Outcome(imported=False, why="the build file says try: none")
        if target.runtime.family == "provided":
            return trial.Outcome(
                imported=False, why=f"only Python and Node handlers are tried, not {target.runtime.name}"
            )
        importer = importer_for(self._project, self._artifacts, self._workshop)
        if importer is None:
            return trial.Outcome(imported=False, why=f"the builder is not {target.label}")
        # Without all layers, the import could fail for want of a module that the function has.
        if self._missing:
            return trial.Outcome(imported=False, why=f"not part of this build: {', '.join(self._missing)}")
        if self._foreign:
            return trial.Outcome(imported=False, why=f"layers of others are attached: {', '.join(self._foreign)}")
        what = trial.Trial(
            handler=function.handler,
            code=self._zip(code),
            layers={self._artifacts[name].sha256: functools.partial(self._zip, name) for name in self._layers},
            target=target,
            function=self._function,
            variables=self._present if function.environment is None else function.environment,
            memory_mb=self._workshop.memory_mb,
        )
        self._workshop.progress.say(f"importing {function.handler.rpartition('.')[0]}")
        return self._tried(what, importer)

    def _tried(self, what: Trial, importer: Importer) -> Outcome:
        """Return the outcome of the trial, with the values of the function's present variables masked.

        Raises:
            ImportFailed: the import failed; for a new function also if a variable is missing.
        """
        workshop = self._workshop
        left = workshop.deadline.check("importing the handler")
        masker = Masker()
        # The import's error may quote any variable of the function, and they may be secrets.
        for name, value in self._present.items():
            masker.add(value, key=name)
        try:
            outcome = trial.run(
                what,
                scratch=workshop.scratch,
                keeping=workshop.workspace.trees(),
                timeout_s=left,
                advise=importer.advise,
                by=importer.by,
            )
            function = self._project.spec.function
            names_all = function is not None and function.environment is not None
            if outcome.unset and (self._is_new or names_all):
                others = "the build file names all" if names_all else "a new function has no other"
                raise ImportFailed(
                    f"function.handler: {outcome.why}, and {others} variables",
                    hint="name them in `environment`; if the function is to get them later, set try: none",
                    log_tail=outcome.log_tail,
                )
        except LambdasmithError as error:
            where, colon, said = error.message.partition(": ")
            error.message = masker.mask(f"{self._project.spec.named(where)}{colon}{said}")
            error.log_tail = tuple(map(masker.mask, error.log_tail))
            raise
        return replace(outcome, why=masker.mask(outcome.why))


def _summed_up(findings: Sequence[Finding]) -> tuple[str, ...]:
    messages = list(dict.fromkeys(f"{finding.message}: {finding.fix}" for finding in findings if not finding.fatal))
    more = len(messages) - _SHOWN
    return (*messages[:_SHOWN], *([f"… and {more} more native files that may not load"] if more > 0 else []))


def _unzipped(archive: Path) -> int:
    with zipfile.ZipFile(archive) as opened:
        return sum(info.file_size for info in opened.infolist())


def direct_upload_warnings(project: Outline, artifacts: Mapping[str, Artifact]) -> list[str]:
    """Return warnings for zips that are too large for an upload by hand."""
    limit = megabytes(MAX_DIRECT)
    return [
        f"{project.owner(name)}: {megabytes(artifact.size)} zipped; above {limit}, Lambda takes it only from S3"
        for name, artifact in artifacts.items()
        if artifact.size > MAX_DIRECT
    ]
