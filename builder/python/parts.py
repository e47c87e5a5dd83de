"""A wheel becomes a part: its files where Lambda looks for them, pruned, compressed once, with bytecode.

Only the standard library is used here: the builder makes its own first layer with this module.

Layout of a wheel and its `.data` directory: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.amounts import some
from builder.archives.zips import Entry, Member, read_comment, sha256_before_comment, write_zip
from builder.errors import ArtifactConflict
from builder.python.bytecode import Compiler, cached_name
from builder.python.imports import module_of
from builder.python.interpreters import Interpreter
from builder.python.modules import strange
from builder.python.prune import CONSOLE_SCRIPTS, Pruned, PruneOptions, prune
from builder.python.scripts import SHEBANG, console_scripts
from builder.python.wheelfile import WheelFile
from builder.store import whole
from builder.store.keeping import Damaged
from builder.store.values import Fields, UnfitError, body, value_of

if TYPE_CHECKING:
    from builder.replies.deploys import PrunedRow
    from builder.store.keeping import Store
    from builder.workspace.directory import Workspace

# Part of every key: changes when the same wheel would give other bytes.
FORMAT = 4
# Where a Lambda layer's Python code lies, below /opt.
ROOT = "python/"
_SCRIPTS = "bin/"  # /opt/bin is on Lambda's PATH
_WORTH_COMPRESSING = 64
_SCRIPT_MAX = 1 << 20
_DECLARATION_MAX = 2_000
_SHOWN = 5
# The report is the comment of a zip, whose length has two bytes.
_MAX_MODULES, _MAX_COMMENT = 300, 0xFFFF
_DATA = re.compile(r"^[^/]+\.data/(?P<scheme>[^/]+)/(?P<path>.+)$")
_METADATA = re.compile(r"python/[^/]+\.dist-info/METADATA")
# Declares a namespace package for Pythons before 3.3; those of today find one without it.
_NAMESPACE_PTH = "-nspkg.pth"


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What a part says of its making: `pruned` is [{rule, files, bytes}], `notes` are sentences for the user.

    `modules` are the top-level modules and packages that the distribution has for itself; `below` are packages that
    it only adds to, as several may do with a namespace.
    """

    pruned: tuple[PrunedRow, ...] = ()
    notes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For the comment of the part."""
        return asdict(self)

    @classmethod
    def parse(cls, kept: Fields) -> PartReport:
        """What `as_json` gave."""
        return cls(
            pruned=tuple(
                {"rule": row.text("rule"), "files": row.count("files"), "bytes": row.count("bytes")}
                for row in kept.rows("pruned")
            ),
            notes=kept.texts("notes"),
            modules=kept.texts("modules"),
            below=kept.texts("below"),
        )


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A part before it is written: the wheel's files that stay, by path, and what is added to them."""

    wheel: WheelFile
    kept: tuple[str, ...]
    scripts: Mapping[str, bytes]
    report: PartReport


def part_key(wheel_sha256: str, options: PruneOptions, bytecode: str = "") -> str:
    """The content key of a part: equal inputs, equal key. `bytecode` is the interpreter's tag."""
    return hashlib.sha256(f"part\0{FORMAT}\0{wheel_sha256}\0{options.key()}\0{bytecode}".encode()).hexdigest()


def store_parts(jobs: Sequence[tuple[Path, Path]], options: PruneOptions, *, bytecode: Interpreter | None) -> None:
    """Write the part of each wheel to the file beside it in `jobs`, whole or not at all.

    Args:
        bytecode: what makes the bytecode that is added; None for none.

    Raises:
        UnsafeSource: an entry leaves its directory, is a link, or the wheel is implausibly large.
        ArtifactConflict: the wheel is damaged, or its RECORD does not match its content.
        CommandFailed, OutOfSpace: compiling failed.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parts-")))
        compiler = stack.enter_context(Compiler(bytecode, scratch)) if bytecode else None
        readers = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        wheels = [stack.enter_context(WheelFile(path)) for path, _ in jobs]
        drafts = [
            (draft, _compile(draft, compiler) if compiler else [])
            for draft in readers.map(lambda wheel: _draft(wheel, options), wheels)
        ]
        if compiler:
            compiler.finish()
        for (draft, compiled), (_, out) in zip(drafts, jobs, strict=True):
            _write(draft, compiled, out)


def read_report(part: Path) -> PartReport:
    """The report that a part carries as its zip comment.

    Raises:
        UnfitError, zipfile.BadZipFile: the part is damaged.
    """
    return PartReport.parse(Fields(value_of(read_comment(part))))


def fetch_part(path: Path, workspace: Workspace, store: Store) -> bool:
    """Whether the part is at `path`, in a cache, as it was made; the store may have it. One that is damaged goes."""
    if workspace.intact(path) and (workspace.is_sealed or _problem(path) is None):
        return True
    name = f"parts/{path.name}"
    if not store.fetch(name, path):
        path.unlink(missing_ok=True)
        return False
    if problem := _problem(path):
        store.forsake(Damaged(place=store.place(name), why=problem))
        path.unlink(missing_ok=True)
        return False
    workspace.seal(path)
    return True


def _problem(part: Path) -> str | None:
    """What is wrong with a part; it says itself which content it was made with."""
    try:
        kept = Fields(value_of(read_comment(part)))
        PartReport.parse(kept)
        if kept.text("sha256") == sha256_before_comment(part):
            return None
    except (UnfitError, zipfile.BadZipFile, FileNotFoundError):
        pass
    return "is cut short or changed: it does not match its hash"


def read_requirements(part: Path) -> list[str]:
    """What the distribution in a part requires, each as its METADATA has it."""
    with zipfile.ZipFile(part) as archive:
        names = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
        text = archive.read(names[0]).decode("utf-8", "replace") if names else ""
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    return re.findall(r"^Requires-Dist:[ \t]*(.+?)[ \t]*$", head, re.MULTILINE)


def _draft(wheel: WheelFile, options: PruneOptions) -> _Draft:
    """Decide what stays, and read that once to see that it is what the wheel says."""
    recorded = wheel.recorded()
    removed = prune(wheel.infos, options, wheel.read)
    pruned = Pruned()
    for path, rule in removed.items():
        pruned.count(rule, wheel.infos[path].file_size)
    kept = tuple(path for path in sorted(wheel.infos) if path not in removed and _place(path, wheel.name))
    for path in kept:
        wheel.verify(path, recorded.get(path))
    scripts = _generated(wheel, kept)
    if CONSOLE_SCRIPTS not in options.disable:
        for content in scripts.values():
            pruned.count(CONSOLE_SCRIPTS, len(content))
        scripts = {}
    modules, below = _modules(wheel, kept)
    report = PartReport(
        pruned=tuple(pruned.rows()),
        notes=(*_notes(wheel, kept), *_strange(wheel, [*modules, *below]), *_unlisted(wheel, kept, recorded)),
        modules=tuple(modules[:_MAX_MODULES]),
        below=tuple(below[:_MAX_MODULES]),
    )
    return _Draft(wheel=wheel, kept=kept, scripts=scripts, report=report)


def _notes(wheel: WheelFile, kept: Sequence[str]) -> Iterator[str]:
    for path in kept:
        place = _place(path, wheel.name) or ("", False)
        name = place[0].removeprefix(ROOT)
        if name.endswith(".pth") and "/" not in name and not name.endswith(_NAMESPACE_PTH):
            has_code = re.search(rb"^import[ \t]", wheel.read(path)[:_SCRIPT_MAX], re.MULTILINE)
            yield (
                f"{wheel.label}: Python does not read {name} in a Lambda layer; "
                f"what {'its code' if has_code else 'it'} would do at every start, the function must do itself"
            )


def _modules(wheel: WheelFile, kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names at the top of the import path that the wheel has for itself; those below which it has modules only."""
    own, below = set(), set()
    for path in kept:
        place = (_place(path, wheel.name) or ("", False))[0]
        name = place.removeprefix(ROOT)
        if name == place or not (module := module_of(name)):
            continue
        top = module.partition(".")[0]
        if top == module and not (name.endswith("/__init__.py") and _is_shared(wheel, path)):
            own.add(top)
        else:
            below.add(top)
    return sorted(own), sorted(below - own)


def _is_shared(wheel: WheelFile, path: str) -> bool:
    """Whether a package's file only declares it, as each distribution does that shares a namespace in the old way."""
    if wheel.infos[path].file_size > _DECLARATION_MAX:
        return False
    content = wheel.read(path)
    return not content.strip() or b"extend_path" in content or b"declare_namespace" in content


def _strange(wheel: WheelFile, modules: Sequence[str]) -> Iterator[str]:
    for module in modules:
        if what := strange(module, wheel.name.partition("-")[0]):
            yield f"{wheel.label} has a module {module}, {what}: is it the distribution that you mean?"


def _unlisted(wheel: WheelFile, kept: Sequence[str], recorded: Mapping[str, str]) -> Iterator[str]:
    unlisted = [path for path in kept if path not in recorded]
    if unlisted:
        yield (
            f"{wheel.label} has files that its RECORD does not list with a hash: {some(unlisted, _SHOWN)}; the wheel "
            "was changed after it was made"
        )


def _generated(wheel: WheelFile, kept: Sequence[str]) -> dict[str, bytes]:
    paths = [path for path in kept if re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", path)]
    scripts = console_scripts(wheel.read(paths[0]).decode("utf-8", "replace")) if paths else {}
    shipped = {place[0] for path in kept if (place := _place(path, wheel.name))}
    return {name: content for name, content in scripts.items() if _SCRIPTS + name not in shipped}


def _compile(draft: _Draft, compiler: Compiler) -> list[Path]:
    places = {path: place for path in draft.kept if (place := _source(path, draft.wheel.name))}
    known = set(draft.kept)
    places = {
        path: place for path, place in places.items() if cached_name(path, compiler.interpreter.cache_tag) not in known
    }
    sizes = {path: draft.wheel.infos[path].file_size for path in places}
    return compiler.submit(draft.wheel.path, places, sizes)


def _source(path: str, wheel: str) -> str | None:
    """The place of a Python module in the layer; None for anything else."""
    place = _place(path, wheel)
    return place[0] if place and place[0].startswith(ROOT) and path.endswith(".py") else None


def _write(draft: _Draft, compiled: Sequence[Path], out: Path) -> None:
    with ExitStack() as stack:
        archives = [(path, stack.enter_context(zipfile.ZipFile(path))) for path in compiled]
        bytecode = [
            Member(name=info.filename, archive=path, info=info, label=draft.wheel.name)
            for path, archive in archives
            for info in archive.infolist()
        ]
        write_part(out, [*_entries(draft), *bytecode], draft.report)


def write_part(out: Path, entries: Sequence[Entry | Member], report: PartReport) -> None:
    """Write a part that `fetch_part` takes for one, whole or not at all."""
    with whole.file(out) as partial, partial.open("wb") as file:
        write_zip(file, entries, comment=lambda sha256: _comment(report, sha256))


def _comment(report: PartReport, sha256: str) -> bytes:
    """The report and the entries' hash as the comment of a zip; of a long report, as much as a comment may have."""
    while len(comment := body({**report.as_json(), "sha256": sha256})) > _MAX_COMMENT:
        longest = max(("notes", "modules", "below"), key=lambda name: sum(map(len, getattr(report, name))))
        kept = getattr(report, longest)
        report = replace(report, **{longest: kept[: len(kept) // 2]})
    return comment


def _entries(draft: _Draft) -> Iterator[Entry | Member]:
    """The files of a wheel at their place in a layer. Only what must change is compressed again."""
    wheel = draft.wheel
    for path in draft.kept:
        info = wheel.infos[path]
        name, is_script = _place(path, wheel.name) or ("", False)
        executable = is_script or bool(info.external_attr >> 16 & 0o100)
        if is_script and (text := _with_shebang(wheel, path)) is not None:
            yield Entry(name=name, source=text, executable=True)
        elif info.compress_type == zipfile.ZIP_DEFLATED or (
            info.compress_type == zipfile.ZIP_STORED and info.file_size < _WORTH_COMPRESSING
        ):
            yield Member(name=name, archive=wheel.path, info=info, label=wheel.name, executable=executable)
        else:  # stored, or a method that Lambda may not know
            yield Entry(name=name, source=wheel.opener(path), executable=executable)
    for name, content in draft.scripts.items():
        yield Entry(name=_SCRIPTS + name, source=content, executable=True)


def _place(path: str, wheel: str) -> tuple[str, bool] | None:
    """The path in the layer, and whether it is a script; None for what has no place on Lambda (headers).

    Raises:
        ArtifactConflict: the wheel specification has no such scheme.
    """
    match = _DATA.match(path)
    if match is None:
        return ROOT + path, False
    inside = match["path"]
    match match["scheme"]:
        case "purelib" | "platlib" | "data":
            return ROOT + inside, False
        case "scripts":
            return _SCRIPTS + inside, True
        case "headers":
            return None
        case scheme:
            raise ArtifactConflict(f"{wheel}: {path}: wheels have no {scheme!r} files")


def _with_shebang(wheel: WheelFile, path: str) -> bytes | None:
    """A script for `python` with a first line that works on Lambda; None if it is not such a script."""
    if wheel.infos[path].file_size > _SCRIPT_MAX:
        return None
    content = wheel.read(path)
    if not content.startswith(b"#!python"):
        return None
    return SHEBANG + content.partition(b"\n")[2]
