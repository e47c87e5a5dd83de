"""A wheel becomes a part: its files where Lambda looks for them, pruned, compressed once, with bytecode.

Only the standard library is used here: the builder makes its own first layer with this module.

Layout of a wheel and its `.data` directory: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ArtifactConflict
from builder.python.bytecode import Compiler, cached_name
from builder.python.interpreters import Interpreter
from builder.python.prune import CONSOLE_SCRIPTS, Pruned, PruneOptions, prune
from builder.python.scripts import SHEBANG, console_scripts
from builder.python.wheelfile import WheelFile
from builder.zips import Entry, Member, read_comment, write_zip

# Part of every key: changes when the same wheel would give other bytes.
FORMAT = 2
# Where a Lambda layer's Python code lies, below /opt.
ROOT = "python/"
_SCRIPTS = "bin/"  # /opt/bin is on Lambda's PATH
_WORTH_COMPRESSING = 64
_SCRIPT_MAX = 1 << 20
_DATA = re.compile(r"^[^/]+\.data/(?P<scheme>[^/]+)/(?P<path>.+)$")
_METADATA = re.compile(r"python/[^/]+\.dist-info/METADATA")
# Declares a namespace package for Pythons before 3.3; those of today find one without it.
_NAMESPACE_PTH = "-nspkg.pth"


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What a part says of its making: `pruned` is [{rule, files, bytes}], `notes` are sentences for the user."""

    pruned: tuple[Mapping[str, str | int], ...] = ()
    notes: tuple[str, ...] = ()


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
    """The report that a part carries as its zip comment."""
    report = json.loads(read_comment(part))
    return PartReport(pruned=tuple(report["pruned"]), notes=tuple(report["notes"]))


def read_requirements(part: Path) -> list[str]:
    """What the distribution in a part requires, each as its METADATA has it."""
    with zipfile.ZipFile(part) as archive:
        names = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
        text = archive.read(names[0]).decode("utf-8", "replace") if names else ""
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    return re.findall(r"^Requires-Dist:[ \t]*(.+?)[ \t]*$", head, re.MULTILINE)


def _draft(wheel: WheelFile, options: PruneOptions) -> _Draft:
    """Decide what stays, and read that once to see that it is what the wheel says."""
    try:
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
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ArtifactConflict(f"{wheel.name} is not a readable wheel: {error}") from error
    report = PartReport(pruned=tuple(pruned.rows()), notes=tuple(_notes(wheel, kept)))
    return _Draft(wheel=wheel, kept=kept, scripts=scripts, report=report)


def _notes(wheel: WheelFile, kept: Sequence[str]) -> Iterator[str]:
    for path in kept:
        place = _place(path, wheel.name) or ("", False)
        name = place[0].removeprefix(ROOT)
        if name.endswith(".pth") and "/" not in name and not name.endswith(_NAMESPACE_PTH):
            yield (
                f"{wheel.label}: Python does not read {name} in a Lambda layer; "
                "what it would do at every start, the function must do itself"
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
    comment = json.dumps({"pruned": list(draft.report.pruned), "notes": list(draft.report.notes)}).encode()
    partial = out.with_suffix(".partial")
    try:
        with partial.open("wb") as file, ExitStack() as stack:
            archives = [(path, stack.enter_context(zipfile.ZipFile(path))) for path in compiled]
            bytecode = [
                Member(name=info.filename, archive=path, info=info, label=draft.wheel.name)
                for path, archive in archives
                for info in archive.infolist()
            ]
            write_zip(file, [*_entries(draft), *bytecode], comment=comment)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


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
