"""Joins zips into one by copying bytes that are already compressed, in runs as long as the order allows.

A part is a zip that `builder.archives.zips` wrote, so only the offsets in its records change: whatever lies between
two files that stay neighbours is copied unchanged, headers included.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from builder.archives import zipformat
from builder.archives.zipformat import MAX_16, MAX_32
from builder.archives.zips import Entry, Writer, ZipSummary, add_entry, refuse_collisions, safe_name
from builder.errors import ArtifactConflict

# A package that several distributions share declares itself by one of these, in words that differ between them.
_NAMESPACE = re.compile(rb"\b(?:extend_path|declare_namespace)\(")
# Such a file has a line or two; a longer one does more than declare a namespace.
_NAMESPACE_MAX = 4096


@dataclass(frozen=True, kw_only=True)
class Part:
    """A zip written by `builder.archives.zips`. `label` names it in messages."""

    path: Path
    label: str


class _File(NamedTuple):
    """A file of a part: its directory record, where its local record begins, and where its data ends."""

    header: zipformat.Header
    part: int
    record: bytes
    start: int
    end: int


def splice(
    out: BinaryIO,
    parts: Sequence[Part],
    *,
    entries: Sequence[Entry] = (),
    wanted: Callable[[str], bool] | None = None,
) -> ZipSummary:
    """Join the files of `parts`, still compressed, and `entries`, compressed now, into one zip.

    The same path with the same content in two parts is written once, as is the `__init__.py` of a namespace package,
    which means the same in every distribution whatever its bytes.

    Args:
        wanted: False for the names of files to leave out.

    Raises:
        ArtifactConflict: two parts have different content for one path, or names that collide.
        zipfile.BadZipFile: a part is damaged, or was not written by `builder.archives.zips`.
    """
    chosen = _union(parts, wanted)
    labels = [part.label for part in parts]
    named = [(name, labels[file.part]) for name, file in chosen.items()]
    refuse_collisions([*named, *((entry.name, "the build") for entry in entries)])
    # The order of `zips.write_zip`, so that splicing and zipping the same files give the same bytes.
    ordered: list[_File | Entry] = sorted(
        [*chosen.values(), *entries], key=lambda item: item.name if isinstance(item, Entry) else item.header.name
    )
    writer = Writer(out)
    with ExitStack() as stack:
        archives = [stack.enter_context(part.path.open("rb")) for part in parts]
        for run in _runs(ordered):
            if isinstance(run, Entry):
                add_entry(writer, run)
            else:
                _copy(writer, run, archives[run[0].part])
    return writer.finish()


def _runs(ordered: Sequence[_File | Entry]) -> Iterator[list[_File] | Entry]:
    """Yield files that are neighbours in one part as lists; entries alone."""
    run: list[_File] = []
    for item in ordered:
        if isinstance(item, _File) and run and item.part == run[-1].part and item.start == run[-1].end:
            run.append(item)
            continue
        if run:
            yield run
        run = []
        if isinstance(item, Entry):
            yield item
        else:
            run = [item]
    if run:
        yield run


def _copy(writer: Writer, run: list[_File], archive: BinaryIO) -> None:
    shift = writer.offset - run[0].start
    for file in run:
        offset = file.start + shift
        record = zipformat.moved(file.record, offset) if offset < MAX_32 else file.header.central(offset)
        writer.note(record, file.header)
    archive.seek(run[0].start)
    writer.copy(archive, run[-1].end - run[0].start)


def _union(parts: Sequence[Part], wanted: Callable[[str], bool] | None) -> dict[str, _File]:
    chosen: dict[str, _File] = {}
    overruled: set[tuple[int, str]] = set()
    for number, part in enumerate(parts):
        for file in _files(part, number):
            name = file.header.name
            if wanted is not None and not wanted(name):
                continue
            known = chosen.setdefault(name, file)
            # By CRC and size: to compare the contents, both would have to be unpacked.
            if known is file or (known.header.crc, known.header.unzipped) == (file.header.crc, file.header.unzipped):
                continue
            folder = _package_of(name)
            if (number, folder) not in overruled and not _both_declare_namespace(parts, known, file):
                raise ArtifactConflict(
                    f"{name} is in {parts[known.part].label} and in {part.label} with different content",
                    hint="remove one of the two from the dependencies",
                )
            overruled.add((number, folder))
    return chosen


def _package_of(name: str) -> str:
    """Return the package whose `__init__` a file is, as source or bytecode; else the file itself."""
    folder, _, base = name.rpartition("/")
    return folder.removesuffix("/__pycache__") if base.startswith("__init__.") else name


def _both_declare_namespace(parts: Sequence[Part], one: _File, other: _File) -> bool:
    return one.header.name.endswith("/__init__.py") and all(
        file.header.unzipped <= _NAMESPACE_MAX and _NAMESPACE.search(_content(parts[file.part].path, file.header, file))
        for file in (one, other)
    )


def _content(path: Path, header: zipformat.Header, file: _File) -> bytes:
    with path.open("rb") as archive:
        archive.seek(file.end - header.compressed)
        data = archive.read(header.compressed)
    return data if header.method == zipformat.STORED else zlib.decompress(data, -zlib.MAX_WBITS)


def _files(part: Part, number: int) -> Iterator[_File]:
    """Yield the files of a part in their order.

    Raises:
        zipfile.BadZipFile: it is not in the form that `builder.archives.zips` writes.
    """
    directory, count, start = _directory(part)
    at = end = 0
    fixed, before_data = zipformat.CENTRAL_RECORD.size, zipformat.LOCAL_RECORD.size
    for _ in range(count):
        # The fields of `zipformat.Central`, without the value: a project has thousands of files.
        _, _, _, _, method, _, _, crc, compressed, unzipped, name_length, extra_length, _, _, _, external, offset = (
            zipformat.CENTRAL_RECORD.unpack_from(directory, at)
        )
        after = at + fixed + name_length
        name = directory[at + fixed : after].decode()
        header = zipformat.Header(
            name=name,
            method=method,
            crc=crc,
            compressed=compressed,
            unzipped=unzipped,
            executable=bool(external >> 16 & 0o100),
        )
        record = directory[at:after]
        # Anything else than our own form would break the byte-for-byte copy, or what other readers see in the result.
        if extra_length or offset != end or record != header.central(offset) or safe_name(name) != name:
            raise zipfile.BadZipFile(f"{part.label}: {name!r} was not written by this builder")
        at = after
        end = offset + before_data + name_length + compressed
        yield _File(header=header, part=number, record=record, start=offset, end=end)
    if end != start:
        raise zipfile.BadZipFile(f"{part.label}: {start - end} bytes before its directory belong to no file")


def _directory(part: Part) -> tuple[bytes, int, int]:
    """Return the directory of a zip, the number of its records, and where it starts."""
    with part.path.open("rb") as archive:
        size = archive.seek(0, 2)
        tail_start = max(0, size - zipformat.END_MAX - zipformat.END64_RECORD.size - zipformat.LOCATOR64_RECORD.size)
        archive.seek(tail_start)
        tail = archive.read()
        at = tail.rfind(zipformat.END)
        if at < 0:
            raise zipfile.BadZipFile(f"{part.label}: the end of the zip is missing")
        found = zipformat.End.at(tail, at)
        if found.entries == MAX_16 or MAX_32 in (found.length, found.start):
            large = tail.rfind(zipformat.END64, 0, at)
            if large < 0:
                raise zipfile.BadZipFile(f"{part.label}: the end of the zip64 is missing")
            found = zipformat.End.at64(tail, large)
        archive.seek(found.start)
        return archive.read(found.length), found.entries, found.start
