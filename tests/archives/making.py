"""Archives as no honest tool makes them: every field of a zip or tar can be made to lie."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

FILE, LINK, DIRECTORY = 0o100644, 0o120777, 0o040755


@dataclass(frozen=True, kw_only=True)
class ZipEntry:
    """One entry. `local` and `central` overwrite fields of the two headers, `before` and `after` lie around it."""

    name: str | bytes
    content: bytes = b""
    mode: int = FILE
    method: int = 8
    packed: bytes | None = None
    local: Mapping[str, int] = field(default_factory=dict)
    central: Mapping[str, int] = field(default_factory=dict)
    local_name: bytes | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    comment: bytes = b""
    before: bytes = b""
    after: bytes = b""


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def make_zip(
    *entries: ZipEntry, before_directory: bytes = b"", comment: bytes = b"", end: Mapping[str, int] = {}
) -> bytes:
    out, directory = io.BytesIO(), b""
    for entry in entries:
        out.write(entry.before)
        name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
        packed = entry.packed if entry.packed is not None else entry.content
        if entry.packed is None and entry.method == 8:
            packed = deflated(entry.content)
        facts = {
            "flags": 0 if name.isascii() or isinstance(entry.name, bytes) else 0x800,
            "method": entry.method,
            "crc": zlib.crc32(entry.content),
            "packed": len(packed),
            "size": len(entry.content),
            "disk": 0,
            "start": out.tell(),
        }
        here, there = {**facts, **entry.local}, {**facts, **entry.central}
        local_name = name if entry.local_name is None else entry.local_name
        out.write(
            b"PK\x03\x04"
            + struct.pack("<5H3I2H", 20, here["flags"], here["method"], 0, 33, here["crc"], here["packed"],
                          here["size"], len(local_name), len(entry.local_extra))
            + local_name + entry.local_extra + packed + entry.after
        )  # fmt: skip
        directory += (
            b"PK\x01\x02"
            + struct.pack("<6H3I5H2I", 0x314, 20, there["flags"], there["method"], 0, 33, there["crc"],
                          there["packed"], there["size"], len(name), len(entry.extra), len(entry.comment),
                          there["disk"], 0, entry.mode << 16, there["start"])
            + name + entry.extra + entry.comment
        )  # fmt: skip
    out.write(before_directory)
    facts = {"disk": 0, "count": len(entries), "length": len(directory), "start": out.tell(), **end}
    tail = struct.pack("<4H2IH", facts["disk"], 0, facts["count"], facts["count"], facts["length"], facts["start"],
                       len(comment))  # fmt: skip
    return out.getvalue() + directory + b"PK\x05\x06" + tail + comment


def make_zip64(entry: ZipEntry, *, says: int = 1) -> bytes:
    """A zip of one entry whose end needs the zip64 record, which `says` how many entries there are."""
    plain = make_zip(entry)
    body, end = plain[:-22], plain[-22:]
    length, start = struct.unpack("<2I", end[12:20])
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, says, says, length, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body), 1)
    return body + record + locator + end[:8] + b"\xff" * 12 + end[20:]


def header(
    name: str | bytes,
    kind: bytes = b"0",
    size: int = 0,
    *,
    mode: int = 0o644,
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    raw = name if isinstance(name, bytes) else name.encode()
    numbers = b"%07o\0" % mode + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    names = kind + target.ljust(100, b"\0") + magic.ljust(8, b"\0")
    block = bytearray(raw.ljust(100, b"\0") + numbers + b" " * 8 + names)
    return checked(bytes(block).ljust(512, b"\0"))


def checked(block: bytes) -> bytes:
    """The header with the checksum that belongs to it."""
    blank = block[:148] + b" " * 8 + block[156:]
    return bytes(blank[:148] + b"%06o\0 " % sum(blank) + blank[156:])


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def record(name: str | bytes, content: bytes = b"", kind: bytes = b"0", *, mode: int = 0o644) -> bytes:
    """An entry with its content."""
    return header(name, kind, len(content), mode=mode) + padded(content)


def pax(kind: bytes = b"x", **values: str) -> bytes:
    lines = b""
    for key, value in values.items():
        line = b" %s=%s\n" % (key.replace("_", ".").encode(), value.encode())
        length = len(line)
        while len(b"%d" % length) + len(line) != length:
            length = len(b"%d" % length) + len(line)
        lines += b"%d" % length + line
    return record("pax", lines, kind)


END = bytes(1024)


def make_tar(*records: bytes, end: bytes = END) -> bytes:
    return b"".join(records) + end


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstandard(data: bytes, window_log: int | None = None) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    if window_log is None:
        return zstd.compress(data)
    parameter = zstd.CompressionParameter
    # Without the size of the content a frame keeps the window that was asked for.
    packer = zstd.ZstdCompressor(options={parameter.window_log: window_log, parameter.content_size_flag: 0})
    return packer.compress(data) + packer.flush()


Tree = Mapping[str, tuple[bytes, int]]
"""Path → content (target, for a link) and mode."""


def with_zipfile(tree: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in tree.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def with_tarfile(tree: Tree, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, (content, mode) in tree.items():
            info = tarfile.TarInfo(name)
            info.mode = mode & 0o7777
            if mode & 0o170000 == LINK & 0o170000:
                info.type, info.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
