"""A wheel becomes a part: its files where Lambda looks for them, pruned, compressed once, ready to be spliced.

Only the standard library is used here: the builder makes its own first layer with this module.

Layout of a wheel and its `.data` directory: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from builder.errors import ArtifactConflict, UnsafeSource
from builder.python.prune import Pruned, PruneOptions, prune
from builder.zips import Entry, Member, safe_name, write_zip

# Part of every key: changes when the same wheel would give other bytes.
FORMAT = 1
# Where a Lambda layer's Python code lies, below /opt.
ROOT = "python/"
_CHUNK = 1 << 20
_WORTH_COMPRESSING = 64
_DATA = re.compile(r"^[^/]+\.data/(?P<scheme>[^/]+)/(?P<path>.+)$")
# A wheel larger than a function may be, unzipped, is a mistake or a bomb.
_MAX_UNZIPPED = 1 << 30


def part_key(wheel_sha256: str, options: PruneOptions) -> str:
    """The content key of a part: equal inputs, equal key."""
    return hashlib.sha256(f"part\0{FORMAT}\0{wheel_sha256}\0{options.key()}".encode()).hexdigest()


def store_part(wheel: Path, out: Path, options: PruneOptions) -> None:
    """Write the part of `wheel` to `out`, whole or not at all. Its zip comment is the prune report.

    Raises:
        UnsafeSource: an entry leaves its directory, is a link, or the wheel is implausibly large.
        ArtifactConflict: the wheel is damaged, or its RECORD does not match its content.
    """
    partial = out.with_suffix(".partial")
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = _members(archive, wheel.name)
            recorded = _record(archive, wheel.name)
            removed = prune(infos, options)
            pruned = Pruned()
            for path, rule in removed.items():
                pruned.count(rule, infos[path].file_size)
            kept = {path: info for path, info in infos.items() if path not in removed}
            for path, info in kept.items():
                _verify(archive, info, recorded.get(path), wheel.name)
            entries = list(_entries(archive, kept, wheel))
        with partial.open("wb") as file:
            write_zip(file, entries, comment=json.dumps(pruned.rows()).encode())
        partial.replace(out)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactConflict(f"{wheel.name} is not a readable wheel: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def read_pruned(part: Path) -> list[dict[str, str | int]]:
    """The prune report that a part carries."""
    with zipfile.ZipFile(part) as archive:
        rows: list[dict[str, str | int]] = json.loads(archive.comment)
        return rows


def _members(archive: zipfile.ZipFile, wheel: str) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = safe_name(info.filename)
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise UnsafeSource(f"{wheel}: {name} is a symbolic link, which wheels may not contain")
        if name in members:
            raise ArtifactConflict(f"{wheel}: {name} is in the wheel twice")
        members[name] = info
    if sum(info.file_size for info in members.values()) > _MAX_UNZIPPED:
        raise UnsafeSource(f"{wheel}: more than {_MAX_UNZIPPED >> 20} MiB unzipped")
    return members


def _record(archive: zipfile.ZipFile, wheel: str) -> dict[str, str]:
    """RECORD's sha256 of each path that has one, base64 as written there."""
    records = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    if len(records) != 1:
        raise ArtifactConflict(f"{wheel} has {len(records)} RECORD files instead of one")
    rows = csv.reader(io.StringIO(archive.read(records[0]).decode("utf-8", "replace")))
    return {row[0]: row[1].removeprefix("sha256=") for row in rows if len(row) > 1 and row[1].startswith("sha256=")}


def _verify(archive: zipfile.ZipFile, info: zipfile.ZipInfo, expected: str | None, wheel: str) -> None:
    """Read a file once: zipfile checks its CRC, we check RECORD's hash."""
    digest = hashlib.sha256()
    with archive.open(info) as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    if expected and base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != expected:
        raise ArtifactConflict(f"{wheel}: {info.filename} does not match the wheel's own RECORD")


def _entries(archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], wheel: Path) -> Iterator[Entry | Member]:
    """The files of a wheel at their place in a layer. Only what must change is compressed again."""
    for path, info in infos.items():
        placed = _place(path)
        if placed is None:
            continue
        name, is_script = placed
        if is_script and (text := _with_shebang(archive, info)) is not None:
            yield Entry(name=name, source=text, executable=True)
        elif info.compress_type == zipfile.ZIP_DEFLATED or info.file_size < _WORTH_COMPRESSING:
            executable = is_script or bool(info.external_attr >> 16 & 0o100)
            yield Member(name=name, archive=wheel, info=info, label=wheel.name, executable=executable)
        else:  # stored, or a method that Lambda may not know
            yield Entry(name=name, source=archive.read(info), executable=is_script)


def _place(path: str) -> tuple[str, bool] | None:
    """The path in the layer, and whether it is a script; None for what has no place on Lambda (headers)."""
    match = _DATA.match(path)
    if match is None:
        return ROOT + path, False
    inside = match["path"]
    match match["scheme"]:
        case "purelib" | "platlib" | "data":
            return ROOT + inside, False
        case "scripts":
            return f"bin/{inside}", True  # /opt/bin is on Lambda's PATH
        case _:
            return None


def _with_shebang(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    """A script for `python` with a first line that works on Lambda; None if it is not such a script."""
    with archive.open(info) as source:
        if not source.read(8).startswith(b"#!python"):
            return None
    _, _, rest = archive.read(info).partition(b"\n")
    return b"#!/usr/bin/env python3\n" + rest
