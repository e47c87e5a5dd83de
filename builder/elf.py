"""What native files say of themselves: machine, libraries and versions that they need. Reads, never runs them."""

from __future__ import annotations

import posixpath
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicTag
    from elftools.elf.elffile import ELFFile

# Changes when the same file would be described otherwise: part of the name under which descriptions are kept.
FORMAT = 1

_MAGIC = b"\x7fELF"
# Files of these kinds are never native; opening thousands of them takes longer than reading the native ones.
_OTHER = re.compile(
    r"\.(?:pyi?|pyc|txt|json|ya?ml|toml|rst|md|html?|css|js|map|gz|zip|xml|csv|c|h|hpp|pyx|pxd|f90|png|svg|ttf|mo|po|tcl|"
    r"dat|npy|npz|typed|cfg|ini|pem|crt|xsd|xsl|METADATA|WHEEL|RECORD)$"
)
_INIT = re.compile(rb"\0PyInit_\w+\0")
_IN_MEMORY = 4 << 20
_CHUNK = 1 << 20
_PARALLEL = 2


@dataclass(frozen=True, kw_only=True)
class Native:
    """One ELF file. `path` is in its zip.

    Args:
        machine: as `uname -m` spells it (x86_64, aarch64), ELF's own name for any other.
        needed: sonames, in the order of search.
        search: directories of RUNPATH or RPATH, `$ORIGIN` resolved to the zip's root: `lib/../x.libs` is `x.libs`.
        versions: library → the symbol versions needed of it, `GLIBC_2.28`, ….
        is_module: Python can import it.
        is_program: it is run, not loaded.
    """

    path: str
    machine: str
    soname: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    versions: Mapping[str, tuple[str, ...]]
    is_module: bool = False
    is_program: bool = False

    def as_json(self) -> dict[str, object]:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Native:
        """What `as_json` gave."""
        lists = {name: tuple(cast("Sequence[str]", value[name])) for name in ("needed", "search")}
        versions = cast("Mapping[str, Sequence[str]]", value["versions"])
        rest = {name: item for name, item in value.items() if name not in ("needed", "search", "versions")}
        return cls(**lists, **rest, versions={name: tuple(names) for name, names in versions.items()})  # type: ignore[arg-type]  # narrowed by as_json


def read_natives(archive: Path) -> tuple[Native, ...]:
    """Every ELF file of a zip, sorted by path. Files are unpacked one by one, large ones to disk.

    A file that begins like ELF and cannot be read further is left out: nothing can be said of it.
    """
    with zipfile.ZipFile(archive) as opened:
        names = [info.filename for info in opened.infolist() if info.file_size > len(_MAGIC)]
    candidates = sorted(name for name in names if not _OTHER.search(name))
    # Several small heaps of neighbours: each thread has its own handle, and inflating runs beside the others.
    heaps = [candidates[start::_PARALLEL] for start in range(min(_PARALLEL, len(candidates)))]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = [native for heap in pool.map(lambda heap: list(_read(archive, heap)), heaps) for native in heap]
    return tuple(sorted(found, key=lambda native: native.path))


def _read(archive: Path, names: Sequence[str]) -> Iterator[Native]:
    from elftools.common.exceptions import ELFError

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
                    try:
                        yield _describe(name, copy)
                    except (ELFError, UnicodeDecodeError, KeyError, ValueError, AttributeError):
                        continue


def _describe(path: str, file: IO[bytes]) -> Native:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    elf = ELFFile(file)
    needed: list[str] = []
    search: list[str] = []
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
                        search += _directories(_text(tag), path)
        elif isinstance(section, GNUVerNeedSection):
            versions = {
                str(library.name): tuple(sorted(version.name for version in names))
                for library, names in section.iter_versions()
            }
        elif section.name == ".dynstr":
            is_module = bool(_INIT.search(section.data()))
    return Native(
        path=path,
        machine=_machine(elf),
        soname=soname,
        needed=tuple(needed),
        search=tuple(dict.fromkeys(search)),
        versions=versions,
        is_module=is_module and path.endswith(".so"),
        is_program=any(segment.header.p_type == "PT_INTERP" for segment in elf.iter_segments()) and ".so" not in path,
    )


def _text(tag: DynamicTag) -> str:
    """The text that a tag points to; pyelftools has it as an attribute of the tag's own name."""
    return str(getattr(tag, tag.entry.d_tag.removeprefix("DT_").lower()))


def _machine(elf: ELFFile) -> str:
    name = str(elf.header.e_machine)
    if elf.elfclass == 64 and elf.little_endian:
        return {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}.get(name, name)
    return f"{name} ({elf.elfclass} bit)"


def _directories(search: str, path: str) -> list[str]:
    folder = posixpath.dirname(path)
    found = []
    for entry in search.split(":"):
        if entry.startswith(("$ORIGIN", "${ORIGIN}")):
            rest = entry.removeprefix("$ORIGIN").removeprefix("${ORIGIN}").lstrip("/")
            found.append(posixpath.normpath(posixpath.join(folder, rest)))
        elif entry.startswith("/"):
            found.append(entry)
    return found
