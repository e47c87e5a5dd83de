"""Directories made from zips: extracted once, content-addressed, merged by hard links."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from localaws import whole

__all__ = ["BadArchive", "extract", "merge"]

_LOCAL_HEADER_BYTES = 30
_WORKERS = min(4, os.cpu_count() or 1)


class BadArchive(Exception):
    """The bytes are no zip that Lambda would unpack; the message says which entry and why."""


def extract(zip_path: Path, cache: Path) -> Path:
    """The directory with the content of a zip, made at the first call for these bytes.

    Modes and symbolic links are kept. Raises BadArchive for anything that is no zip, damaged, encrypted, or has an
    entry outside its root.
    """
    with zip_path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    target = cache / "trees" / digest
    if not target.is_dir():
        with whole.folder(target) as work:
            _unpack(zip_path, work)
    return target


def merge(layers: Sequence[Path], cache: Path) -> Path | None:
    """One directory with all `layers` laid over each other, the later ones winning; None without layers.

    Files are hard links, so this costs no copy. A single layer is its own merge.
    """
    if len(layers) < 2:
        return layers[0] if layers else None
    key = hashlib.sha256("\n".join(layer.name for layer in layers).encode()).hexdigest()
    target = cache / "merged" / key
    if not target.is_dir():
        with whole.folder(target) as work:
            for layer in layers:
                _lay_over(layer, work)
    return target


def _lay_over(layer: Path, target: Path) -> None:
    with os.scandir(layer) as entries:
        for entry in entries:
            destination = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                if destination.is_symlink() or destination.is_file():
                    destination.unlink()
                destination.mkdir(exist_ok=True)
                _lay_over(Path(entry.path), destination)
                continue
            if destination.is_dir() and not destination.is_symlink():
                shutil.rmtree(destination)
            else:
                destination.unlink(missing_ok=True)
            os.link(entry.path, destination, follow_symlinks=False)


def _unpack(zip_path: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(zip_path) as archive:
            entries = [(_safe_name(info), info) for info in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BadArchive(f"not a zip: {error}") from error
    if not entries:
        return
    links = {name: info for name, info in entries if stat.S_ISLNK(info.external_attr >> 16)}
    files = {name: info for name, info in entries if not info.is_dir() and name not in links}
    named = [name for name, info in entries if info.is_dir()]
    folders = {*named, *(parent for name in (*files, *links, *named) for parent in name.parents)}
    # A link is made last and never written through, so that no entry can leave the root by way of one.
    if crossing := next((name for name in folders if name in links or name in files), None):
        raise BadArchive(f"{crossing}: both a folder and something else")
    for folder in sorted(folders, key=lambda name: len(name.parts)):
        (target / folder).mkdir(exist_ok=True)
    with zip_path.open("rb") as stream:
        # Not closed by hand: an error's traceback may still hold a slice of it.
        view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    _write_files(view, files, target)
    for name, info in links.items():
        aim = bytes(_content(view, info))
        if not aim or b"\0" in aim:
            raise BadArchive(f"{name}: a symbolic link to nothing")
        (target / name).symlink_to(os.fsdecode(aim))
    for name, info in entries:
        if info.is_dir() and (mode := stat.S_IMODE(info.external_attr >> 16)):
            (target / name).chmod(_as_lambda_sees(mode) | 0o700)


def _write_files(view: memoryview, files: dict[PurePosixPath, zipfile.ZipInfo], target: Path) -> None:
    items = list(files.items())
    if len(items) < 32:
        _write_some(view, items, target)
        return
    # Inflating, checksumming and writing leave the interpreter lock, so threads help even here.
    with ThreadPoolExecutor(_WORKERS) as pool:
        jobs = [pool.submit(_write_some, view, items[start::_WORKERS], target) for start in range(_WORKERS)]
        errors = [job.exception() for job in jobs]
    if error := next((error for error in errors if error), None):
        raise error


def _write_some(view: memoryview, items: Iterable[tuple[PurePosixPath, zipfile.ZipInfo]], target: Path) -> None:
    prefix = f"{target}/"
    for name, info in items:
        mode = _as_lambda_sees(stat.S_IMODE(info.external_attr >> 16) or 0o644)
        descriptor = os.open(f"{prefix}{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.fchmod(descriptor, mode)
            rest = memoryview(_content(view, info))
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)


def _as_lambda_sees(mode: int) -> int:
    """The mode with the owner's read and execute bits taken from the others'.

    In Lambda the files belong to somebody else than the function; a file packed as 0600 cannot be read there.
    """
    return (mode & 0o277) | (mode & 0o005) << 6


def _content(view: memoryview, info: zipfile.ZipInfo) -> bytes | memoryview:
    """The bytes of one entry. Raises BadArchive when they are damaged, encrypted or packed in an unknown way."""
    start = info.header_offset
    header = view[start : start + _LOCAL_HEADER_BYTES]
    if len(header) < _LOCAL_HEADER_BYTES or bytes(header[:4]) != b"PK\x03\x04":
        raise BadArchive(f"{info.filename}: no local header where the directory says")
    name_length, extra_length = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start += _LOCAL_HEADER_BYTES + name_length + extra_length
    packed = view[start : start + info.compress_size]
    if info.flag_bits & 1:
        raise BadArchive(f"{info.filename}: encrypted")
    content: bytes | memoryview
    if info.compress_type == zipfile.ZIP_STORED:
        content = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, info.file_size + 1)
        except zlib.error as error:
            raise BadArchive(f"{info.filename}: damaged ({error})") from error
    else:
        raise BadArchive(f"{info.filename}: compression method {info.compress_type} is not supported")
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise BadArchive(f"{info.filename}: damaged")
    return content


def _safe_name(info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or "\0" in info.filename:
        raise BadArchive(f"{info.filename!r} leaves the archive's root")
    if not name.parts and not info.filename.endswith("/"):
        raise BadArchive(f"{info.filename!r} is no name for a file")
    return name
