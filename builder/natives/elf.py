"""Reads from native files which machine, libraries and versions they need. Never runs them."""

from __future__ import annotations

import posixpath
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from builder.store.values import Fields

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicTag
    from elftools.elf.elffile import ELFFile

# Raised when the same file would be described differently: part of the name of kept descriptions.
FORMAT = 2

_MAGIC = b"\x7fELF"
# Files of these kinds are never native; opening thousands of them takes longer than reading the native ones.
_OTHER = re.compile(
    r"\.(?:pyi?|pyc|txt|json|ya?ml|toml|rst|md|html?|css|js|map|gz|zip|xml|csv|c|h|hpp|pyx|pxd|f90|png|svg|ttf|mo|po|tcl|"
    r"dat|npy|npz|typed|cfg|ini|pem|crt|xsd|xsl|METADATA|WHEEL|RECORD)$"
)
_INIT = re.compile(rb"\0PyInit_\w+\0")
# Most files are smaller; the few large ones would fill memory, since two are read at a time.
_IN_MEMORY = 4 << 20
_CHUNK = 1 << 20
_PARALLEL = 2
# Raised by pyelftools, besides its own errors, for a file whose numbers lead nowhere.
_UNREADABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Native:
    """One ELF file. `path` is in its zip.

    Args:
        machine: as `uname -m` spells it (x86_64, aarch64), ELF's own name for any other.
        needed: sonames, in the order of search.
        rpath, runpath: the same as written in the file.
        interpreter: of a program, the dynamic linker that starts it; empty if it is static.
        interpreter: of a program, the dynamic linker that starts it; empty where it is static.
        versions: library → the symbol versions needed of it, `GLIBC_2.28`, ….
        is_module: Python can import it.
        is_program: it is run, not loaded.
    """

    path: str
    machine: str
    soname: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    interpreter: str = ""
    versions: Mapping[str, tuple[str, ...]]
    is_module: bool = False
    is_program: bool = False

    def as_json(self) -> dict[str, object]:
        """Return it as JSON for the store."""
        return asdict(self)

    @classmethod
    def parse(cls, kept: Fields) -> Native:
        """Parse the output of `as_json`."""
        versions = kept.fields("versions")
        return cls(
            path=kept.text("path"),
            machine=kept.text("machine"),
            soname=kept.text("soname"),
            needed=kept.texts("needed"),
            search=kept.texts("search"),
            rpath=kept.texts("rpath"),
            runpath=kept.texts("runpath"),
            interpreter=kept.text("interpreter"),
            versions={name: versions.texts(name) for name in versions.value},
            is_module=kept.flag("is_module"),
            is_program=kept.flag("is_program"),
        )


def read_natives(archive: Path) -> tuple[Native, ...]:
    """Return every ELF file of a zip, sorted by path. Files are unpacked one by one, large ones to disk.

    A file that begins like ELF but cannot be read is left out: nothing is known of it.
    """
    with zipfile.ZipFile(archive) as opened:
        names = [info.filename for info in opened.infolist() if info.file_size > len(_MAGIC)]
    candidates = sorted(name for name in names if not _OTHER.search(name))
    # Interleaved, so that large neighbours spread over the threads; each has its own handle, and zlib releases the GIL.
    shares = [candidates[start::_PARALLEL] for start in range(min(_PARALLEL, len(candidates)))]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = [native for share in pool.map(lambda share: list(_read(archive, share)), shares) for native in share]
    return tuple(sorted(found, key=lambda native: native.path))


def read_native(path: Path, name: str | None = None) -> Native | None:
    """Read the ELF file at `path`, named `name` in its zip; None if it is none, or cannot be read."""
    if not path.is_file() or (name and _OTHER.search(name)):
        return None
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        file.seek(0)
        return _described(name or str(path), file)


def read_soname(path: Path) -> tuple[str, str] | None:
    """Return (machine, soname) of a shared library, the soname "" if it has none; None for any other file.

    Quicker than `read_native`, for whole directories of a system.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        try:
            elf = ELFFile(file)
            segment = next((part for part in elf.iter_segments() if isinstance(part, DynamicSegment)), None)
            if segment is None:
                return None
            return _machine(elf), next((_text(tag) for tag in segment.iter_tags("DT_SONAME")), "")
        except (ELFError, *_UNREADABLE):
            return None


def defined_versions(path: Path) -> tuple[str, ...]:
    """Return the symbol versions that a library defines, `GLIBC_2.2.5`, …, in its order; none if unreadable."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerDefSection

    with path.open("rb") as file:
        try:
            return tuple(
                str(next(names).name)
                for section in ELFFile(file).iter_sections()
                if isinstance(section, GNUVerDefSection)
                for _, names in section.iter_versions()
            )
        except (ELFError, *_UNREADABLE):
            return ()


def _read(archive: Path, names: Sequence[str]) -> Iterator[Native]:
    with zipfile.ZipFile(archive) as opened:
        for name in names:
            with opened.open(name) as source:
                head = source.read(len(_MAGIC))
                if head != _MAGIC:
                    continue
                with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
                    copy.write(head)
                    while chunk := source.read(_CHUNK):
                        copy.write(chunk)
                    if native := _described(name, copy):
                        yield native


def _described(path: str, file: IO[bytes]) -> Native | None:
    from elftools.common.exceptions import ELFError

    try:
        return _describe(path, file)
    except (ELFError, *_UNREADABLE):
        return None


def _describe(path: str, file: IO[bytes]) -> Native:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection
    from elftools.elf.segments import InterpSegment

    elf = ELFFile(file)
    needed: list[str] = []
    paths: dict[str, list[str]] = {"DT_RPATH": [], "DT_RUNPATH": []}
    soname, versions, is_module = "", {}, False
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        needed.append(_text(tag))
                    case "DT_SONAME":
                        soname = _text(tag)
                    case "DT_RUNPATH" | "DT_RPATH":
                        paths[tag.entry.d_tag] += filter(None, _text(tag).split(":"))
        elif isinstance(section, GNUVerNeedSection):
            versions = {
                str(library.name): tuple(sorted(version.name for version in names))
                for library, names in section.iter_versions()
            }
        # A Python module exports PyInit_NAME; looking for the name in the table of strings is enough, and quick.
        elif section.name == ".dynstr":
            is_module = bool(_INIT.search(section.data()))
    interpreter = next((part.get_interp_name() for part in elf.iter_segments() if isinstance(part, InterpSegment)), "")
    return Native(
        path=path,
        machine=_machine(elf),
        soname=soname,
        needed=tuple(needed),
        search=tuple(dict.fromkeys(_directories([*paths["DT_RPATH"], *paths["DT_RUNPATH"]], path))),
        rpath=tuple(paths["DT_RPATH"]),
        runpath=tuple(paths["DT_RUNPATH"]),
        # Some libraries (libc itself) can be run as programs; they are loaded all the same.
        interpreter=interpreter if ".so" not in path else "",
        versions=versions,
        is_module=is_module and path.endswith(".so"),
        is_program=bool(interpreter) and ".so" not in path,
    )


def _text(tag: DynamicTag) -> str:
    """Return the text that a tag points to; pyelftools has it as an attribute named after the tag."""
    return str(getattr(tag, tag.entry.d_tag.removeprefix("DT_").lower()))


def _machine(elf: ELFFile) -> str:
    name = str(elf.header.e_machine)
    if elf.elfclass == 64 and elf.little_endian:
        return {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}.get(name, name)
    return f"{name} ({elf.elfclass} bit)"


def _directories(search: Iterable[str], path: str) -> list[str]:
    folder = posixpath.dirname(path)
    found = []
    for entry in search:
        if (rest := below_origin(entry)) is not None:
            found.append(posixpath.normpath(posixpath.join(folder, rest)))
        elif entry.startswith("/"):
            found.append(entry)
    return found


def below_origin(entry: str) -> str | None:
    """Return what follows `$ORIGIN/` in an entry of RPATH or RUNPATH; None if it does not begin with that."""
    for origin in ("$ORIGIN", "${ORIGIN}"):
        if entry == origin or entry.startswith(origin + "/"):
            return entry.removeprefix(origin).lstrip("/")
    return None
