"""Reads zip files entry by entry, strictly: if two readers could see different things, no one gets anything.

Why not `zipfile`: it takes whatever the directory at the end says. Here directory and local headers must agree,
entries must follow one another from the first byte on, and every byte of the file must belong to something.

Format: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Literal

from builder.archives import zipformat
from builder.archives.archived import (
    CHUNK,
    MAX_DIRECTORY_BYTES,
    MAX_HEADER_BYTES,
    MAX_LINK_BYTES,
    Archived,
    Bomb,
    Limits,
    TooMany,
    Unreadable,
    shown,
)
from builder.archives.zipformat import MAX_16, MAX_32

_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_ENCRYPTED = zipformat.ENCRYPTED | zipformat.STRONGLY_ENCRYPTED | zipformat.MASKED
_DAMAGED = "the zip is damaged or made to deceive: "


@dataclass(frozen=True, slots=True)
class _Record:
    """An entry of the directory. `start` is where its local header is."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    start: int
    problem: str

    @property
    def shown(self) -> str:
        return shown(self.name)


def zip_entries(file: IO[bytes], limits: Limits) -> Iterator[Archived]:
    """Yield the entries of the seekable `file`, in the order of their data.

    Raises:
        Unreadable: it is damaged, cut off, or contradicts itself.
        Bomb, TooMany: it is more than `limits`, by its own account.
    """
    archive_bytes = file.seek(0, os.SEEK_END)
    _, _, _, count, length, start = _directory(file, archive_bytes)
    if count > limits.max_entries:
        raise TooMany(limits)
    if length > MAX_DIRECTORY_BYTES:
        raise Unreadable(f"its directory has {length:,} bytes; at most {MAX_DIRECTORY_BYTES >> 20} MiB are read")
    # By place in the file, not by place in the directory: only so can gaps and overlaps be seen.
    records = sorted(_records(_read(file, start, length), count), key=lambda record: record.start)
    if limits.is_bomb(sum(record.size for record in records), archive_bytes):
        raise Bomb(limits)
    if records and records[-1].start >= start:
        raise Unreadable(f"{_DAMAGED}entry {records[-1].shown} is not where the directory says")
    end = 0
    for index, record in enumerate(records):
        following = records[index + 1].start if index + 1 < len(records) else start
        if record.start > end:  # only possible for the first: each other one begins where its predecessor ends
            raise Unreadable(f"{_DAMAGED}there are {record.start:,} bytes of other data before its first entry")
        data = _data_start(file, record)
        end = _data_end(file, record, data, following)
        yield _entry(file, record, data)
    if end != start:
        raise Unreadable(f"{_DAMAGED}there are {start - end:,} bytes of other data in it")


def _read(file: IO[bytes], at: int, length: int) -> bytes:
    file.seek(at)
    data = file.read(length)
    if len(data) != length:
        raise Unreadable("the zip is cut off")
    return data


# --- the directory --------------------------------------------------------------------------------------------------


def _directory(file: IO[bytes], archive_bytes: int) -> zipformat.End:
    """Return the place of the directory, by the record at the very end of the file."""
    tail_start = max(0, archive_bytes - zipformat.END_MAX)
    tail = _read(file, tail_start, archive_bytes - tail_start)
    fitting, anywhere, at = [], False, tail.find(zipformat.END)
    while at >= 0:
        anywhere = True
        comment = at + zipformat.END_RECORD.size
        if comment <= len(tail) and comment + int.from_bytes(tail[comment - 2 : comment], "little") == len(tail):
            fitting.append(at)
        at = tail.find(zipformat.END, at + 1)
    if not fitting:
        if anywhere:
            raise Unreadable("the zip is cut off, or there is other data after it")
        raise Unreadable("the zip is cut off: its directory, which comes last, is not there")
    # Readers differ in which end record they take, and would see different files.
    if len(fitting) > 1:
        raise Unreadable(f"{_DAMAGED}it ends in two ways")
    end = tail_start + fitting[0]
    found = zipformat.End.at(tail, fitting[0])
    before = end - zipformat.LOCATOR64_RECORD.size
    locator = _read(file, before, zipformat.LOCATOR64_RECORD.size) if before >= 0 else b""
    if locator.startswith(zipformat.LOCATOR64):
        found, end = _end64(file, locator, before, found)
    if found.disk or found.first_disk or found.here != found.entries:
        raise Unreadable("the zip is one of several volumes", hint="make it as a single file")
    other = end - found.start - found.length
    if other > 0:
        raise Unreadable(f"{_DAMAGED}there are {other:,} bytes of other data before or in it")
    if other < 0:
        raise Unreadable(f"{_DAMAGED}its directory is not where its end says")
    if found.entries * zipformat.CENTRAL_RECORD.size > found.length:
        raise Unreadable(f"{_DAMAGED}its directory is too small for {found.entries:,} entries")
    return found


def _end64(file: IO[bytes], locator: bytes, locator_start: int, small: zipformat.End) -> tuple[zipformat.End, int]:
    """Return the values of zip64's end record, and where it starts. It must not contradict the `small` one."""
    _, disk_of_end, end, disks = zipformat.LOCATOR64_RECORD.unpack(locator)
    if disk_of_end or disks > 1:
        raise Unreadable("the zip is one of several volumes", hint="make it as a single file")
    if end + zipformat.END64_RECORD.size > locator_start:
        raise Unreadable(f"{_DAMAGED}its zip64 record is not where its end says")
    record = _read(file, end, zipformat.END64_RECORD.size)
    if not record.startswith(zipformat.END64) or end + zipformat.size_of_end64(record) != locator_start:
        raise Unreadable(f"{_DAMAGED}its zip64 record is not where its end says")
    large = zipformat.End.at64(record, 0)
    for one, other, absent in zip(small, large, zipformat.END_ABSENT, strict=True):
        if one not in (other, absent):
            raise Unreadable(f"{_DAMAGED}its two end records do not agree")
    return large, end


def _records(directory: bytes, count: int) -> Iterator[_Record]:
    at = 0
    for _ in range(count):
        if not directory.startswith(zipformat.CENTRAL, at) or at + zipformat.CENTRAL_RECORD.size > len(directory):
            raise Unreadable(f"{_DAMAGED}its directory has other entries than its end says")
        said = zipformat.Central.at(directory, at)
        flags, method = said.flags, said.method
        at += zipformat.CENTRAL_RECORD.size
        name = directory[at : at + said.name_length]
        extra = directory[at + said.name_length : at + said.name_length + said.extra_length]
        variable = said.name_length + said.extra_length + said.comment_length
        at += variable
        if at > len(directory):
            raise Unreadable(f"{_DAMAGED}its directory has other entries than its end says")
        fields = _extra_fields(extra)
        size, packed, start, disk = _zip64(
            fields,
            (said.unzipped, MAX_32),
            (said.compressed, MAX_32),
            (said.offset, MAX_32),
            (said.disk, MAX_16),
        )
        if disk:
            raise Unreadable("the zip is one of several volumes", hint="make it as a single file")
        if method == zipformat.STORED and packed != size and not flags & _ENCRYPTED:
            # Some readers take as many bytes as the first size says, some as the second.
            raise Unreadable(f"{_DAMAGED}entry {shown(name)} is not compressed, and has two sizes")
        yield _Record(
            name=name,
            flags=flags,
            method=method,
            crc=said.crc,
            packed=packed,
            size=size,
            mode=said.external >> 16 or (stat.S_IFDIR if said.external & 0x10 else 0),
            start=start,
            problem=_problem(name, flags, method, fields, variable),
        )
    if at != len(directory):
        raise Unreadable(f"{_DAMAGED}its directory has other entries than its end says")


def _problem(name: bytes, flags: int, method: int, fields: dict[int, bytes], header_bytes: int) -> str:
    """Say why an entry cannot be used, by its flags and extra fields."""
    if flags & _ENCRYPTED or method == zipformat.AES:
        return "is encrypted"
    if method not in (zipformat.STORED, zipformat.DEFLATED) or flags & zipformat.PATCH:
        return f"is compressed with {_METHODS.get(method, f'method {method}')}, which is not supported"
    if _has_another_name(name, fields):
        return "has another name for other readers"
    if header_bytes > MAX_HEADER_BYTES:
        return f"has a header of {header_bytes:,} bytes"
    return ""


def _has_another_name(name: bytes, fields: dict[int, bytes]) -> bool:
    """Tell whether there is a second name, for readers that look for it; old writers have it instead of the flag."""
    second = fields.get(zipformat.UNICODE_PATH, b"")
    return second[1:5] == zlib.crc32(name).to_bytes(4, "little") and second[5:] != name


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """Return number → content. Up to three zeros may pad the end, as aligning tools leave them."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        number, length = zipformat.EXTRA_FIELD.unpack_from(extra, at)
        at += 4 + length
        if at > len(extra) or (number in fields and number in (zipformat.ZIP64, zipformat.UNICODE_PATH)):
            raise Unreadable(f"{_DAMAGED}an entry has extra fields that do not fit together")
        fields[number] = extra[at - length : at]
    if extra[at:].strip(b"\0"):
        raise Unreadable(f"{_DAMAGED}an entry has extra fields that do not fit together")
    return fields


def _zip64(fields: dict[int, bytes], *values: tuple[int, int]) -> list[int]:
    """Take each (value, marker) whose value is the marker from the zip64 field, which has just those, in order."""
    content, at, result = fields.get(zipformat.ZIP64, b""), 0, []
    for value, marker in values:
        width = 4 if marker == MAX_16 else 8
        if value == marker and zipformat.ZIP64 in fields:
            if at + width > len(content):
                raise Unreadable(f"{_DAMAGED}a zip64 field is too short")
            value = int.from_bytes(content[at : at + width], "little")
            at += width
        result.append(value)
    return result


# --- entries --------------------------------------------------------------------------------------------------------


def _data_start(file: IO[bytes], record: _Record) -> int:
    """Return where an entry's data begins; its local header must agree with the directory."""
    said = zipformat.Local.at(_read(file, record.start, zipformat.LOCAL_RECORD.size), 0)
    variable = said.name_length + said.extra_length
    rest = _read(file, record.start + zipformat.LOCAL_RECORD.size, variable)
    fields = _extra_fields(rest[said.name_length :])
    size, packed = _zip64(fields, (said.unzipped, MAX_32), (said.compressed, MAX_32))
    spelled = _ENCRYPTED | zipformat.DESCRIBED | zipformat.PATCH | (0 if record.name.isascii() else zipformat.UTF8_NAME)
    here, there = (said.crc, packed, size), (record.crc, record.packed, record.size)
    later = bool(said.flags & zipformat.DESCRIBED)
    agree = all(one == other or (later and one in (0, MAX_32)) for one, other in zip(here, there, strict=True))
    if (
        said.signature != zipformat.LOCAL
        or (said.flags ^ record.flags) & spelled
        or said.method != record.method
        or rest[: said.name_length] != record.name
        or _has_another_name(record.name, fields)
        or not agree
    ):
        raise Unreadable(f"{_DAMAGED}the directory and the header of entry {record.shown} do not agree")
    return record.start + zipformat.LOCAL_RECORD.size + variable


def _data_end(file: IO[bytes], record: _Record, data: int, following: int) -> int:
    """Return where the entry ends, which must be where the next one starts; sizes may stand in between."""
    end = data + record.packed
    if end > following:
        raise Unreadable(f"{_DAMAGED}entry {record.shown} overlaps with what comes after it")
    between = following - end
    if record.flags & zipformat.DESCRIBED and between in (12, 16, 20, 24):
        described = _read(file, end, between)
        form = zipformat.DESCRIPTION if between <= 16 else zipformat.DESCRIPTION64
        values = form.pack(record.crc, record.packed, record.size)
        if described == values or described == zipformat.DESCRIPTOR + values:
            return following
    if between:
        raise Unreadable(f"{_DAMAGED}there are {between:,} bytes of other data after entry {record.shown}")
    return end


def _entry(file: IO[bytes], record: _Record, data: int) -> Archived:
    kind: Literal["file", "directory", "link"]
    problem, target = record.problem, b""
    kind_bits = stat.S_IFMT(record.mode)
    # Old writers leave the mode empty and only end the name with a slash.
    if kind_bits == stat.S_IFDIR or (record.name.endswith(b"/") and kind_bits in (0, stat.S_IFREG)):
        kind = "directory"
        problem = problem or ("is a directory with content" if record.size else "")
    elif kind_bits == stat.S_IFLNK:
        kind = "link"
        if record.size > MAX_LINK_BYTES:
            problem = problem or "is a symbolic link with no usable target"
        if not problem:
            target = b"".join(_content(file, record, data))
    else:
        kind = "file"
        if kind_bits not in (0, stat.S_IFREG):
            problem = problem or "is a device, a pipe or a socket"
    return Archived(
        name=record.name,
        kind=kind,
        executable=bool(record.mode & 0o100),
        size=record.size,
        target=target,
        content=partial(_content, file, record, data),
        problem=problem,
    )


def _content(file: IO[bytes], record: _Record, at: int) -> Iterator[bytes]:
    """Yield the unpacked data, which has exactly the size and checksum of the directory."""
    size = crc = 0
    for chunk in _inflated(file, at, record) if record.method == zipformat.DEFLATED else _stored(file, at, record):
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        if size > record.size:
            break
        yield chunk
    if size != record.size or crc != record.crc:
        raise Unreadable(f"{_DAMAGED}the content of entry {record.shown} is not what the directory says")


def _stored(file: IO[bytes], at: int, record: _Record) -> Iterator[bytes]:
    for start in range(at, at + record.packed, CHUNK):
        yield _read(file, start, min(CHUNK, at + record.packed - start))


def _inflated(file: IO[bytes], at: int, record: _Record) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in _stored(file, at, record):
            if inflate.eof:
                raise Unreadable(f"{_DAMAGED}the content of entry {record.shown} does not end where it should")
            while True:
                chunk = inflate.decompress(inflate.unconsumed_tail or data, CHUNK)
                if chunk:
                    yield chunk
                data = b""
                if not chunk or inflate.eof:
                    break
    except zlib.error as error:
        raise Unreadable(f"{_DAMAGED}the content of entry {record.shown} cannot be unpacked ({error})") from None
    # Data behind the end of the stream would be invisible here, and content to another reader.
    if not inflate.eof or inflate.unused_data or inflate.unconsumed_tail:
        raise Unreadable(f"{_DAMAGED}the content of entry {record.shown} does not end where it should")
