"""Unpacks artifacts for the trial and keeps them by content: files that two share are linked, not unpacked again.

Files are hard links, so a write to one changes all. They are read-only, as on Lambda, and everything has one fixed
date: a tree in which something has another date is made again, and no such file is linked to. That protects against
code that writes by mistake, which is enough on a workstation. Malicious code runs as the builder's user and can forge
dates, so the builder function compares trees with the kernel's record of them: see `seals`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.archives.zipformat import LOCAL_RECORD, after_local
from builder.archives.zips import safe_name
from builder.store import whole
from builder.store.values import Fields, UnfitError, body, value_of
from builder.system.removal import remove

# Equal for two files of one name that are the same: checksum, size, compressed size, executable or not.
_Mark = list[int]

_CONTENT, _MARKS = "tree", "marks.json"
# As in the zips.
_DATE_NS = 315_532_800 * 10**9
# Larger files are unpacked in pieces.
_IN_MEMORY = 4 << 20
# zlib releases the GIL, and a Lambda function has two processors at our memory.
_PARALLEL = 2
# How many trees are kept however old, and for how long the others.
_KEPT, _KEPT_S = 3, 600.0


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where trees are kept: in the existing directory `folder`.

    Args:
        intact: tells whether a tree, with its marks beside it, exists as it was made.
        seal: remembers its present state.
    """

    folder: Path
    intact: Callable[[Path], bool]
    seal: Callable[[Path], None]


def unpacked(archives: Mapping[str, Callable[[], Path]], keeping: Keeping) -> list[Path]:
    """Return the directories with the contents of zips made by `builder.archives.zips`; not to be written to.

    All at once: trees share files, and removing or linking one changes the state of the others' files. They are sealed
    again here, so that none is taken for damaged, and removed, while its caller uses it.

    Args:
        archives: sha256 of each zip → a function that returns it; called only if its tree is not there already.
        keeping: where trees are kept; those not used lately are removed.

    Raises:
        OSError: the disk is full, or has another problem.
        zipfile.BadZipFile: a zip is damaged.
    """
    kept = keeping.folder
    wanted = {kept / sha256: archive for sha256, archive in archives.items()}
    intact = [folder for folder in wanted if keeping.intact(folder)]
    missing = [folder for folder in wanted if folder not in intact]
    if missing:
        others = [folder for folder in _by_age(kept) if folder not in wanted and not whole.is_leftover(folder)][:_KEPT]
        standing = [folder for folder in others if keeping.intact(folder)]
        for folder in (*missing, *(other for other in others if other not in standing)):
            remove(folder)
        intact += standing
    for folder in missing:
        with whole.folder(folder) as partial:
            _make(wanted[folder](), partial, intact)
        intact.append(folder)
    for folder in wanted:
        os.utime(folder)
    if _remove_old(kept) or missing:
        for folder in intact:
            if folder.exists():
                keeping.seal(folder)
    return [folder / _CONTENT for folder in wanted]


def _remove_old(kept: Path) -> bool:
    """Remove trees that were not used for a while: another build on this workstation may be reading the others."""
    old = []
    for path in _by_age(kept)[_KEPT:]:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEPT_S:
                old.append(path)
                shutil.rmtree(path, ignore_errors=True)
    return bool(old)


def _by_age(kept: Path) -> list[Path]:
    """Return the trees, the last used first."""
    ages = {}
    for path in kept.iterdir():
        with contextlib.suppress(FileNotFoundError):
            ages[path] = path.stat().st_mtime
    return sorted(ages, key=lambda path: ages[path], reverse=True)


def _marks(folder: Path) -> dict[str, _Mark]:
    """Return path in the tree → mark, of a tree that was made completely; else nothing."""
    try:
        kept = Fields(value_of((folder / _MARKS).read_bytes())).fields("marks").value
    except (OSError, UnfitError):
        return {}
    return {name: mark for name, mark in kept.items() if isinstance(mark, list)}


def is_intact(folder: Path) -> bool:
    """Tell whether every file and directory of the tree exists as it was made."""
    marks = _marks(folder)
    content = str(folder / _CONTENT)
    try:
        return bool(marks) and (
            all(_is_untouched(f"{content}/{name}", mark[1]) for name, mark in marks.items())
            and all(os.lstat(f"{content}/{below}").st_mtime_ns == _DATE_NS for below in _folders(marks))
        )
    except FileNotFoundError:
        return False


def _is_untouched(path: str, size: int) -> bool:
    found = os.lstat(path)
    return found.st_mtime_ns == _DATE_NS and found.st_size == size


def _folders(names: Iterable[str]) -> list[str]:
    """Return all directories around files of these names, parents first; "" is the root."""
    found = {""}
    for folder in {name.rpartition("/")[0] for name in names}:
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(found)


def _make(archive: Path, folder: Path, others: Sequence[Path]) -> None:
    with zipfile.ZipFile(archive) as opened:
        infos = {safe_name(info.filename): info for info in opened.infolist() if not info.is_dir()}
    marks = {name: _mark(info) for name, info in infos.items()}
    content = str(folder / _CONTENT)
    folders = _folders(marks)
    for below in folders:
        os.mkdir(f"{content}/{below}")  # noqa: PTH102  # thousands of Path objects take longer than the links
    missing = dict(infos)
    for other in others:
        for name in _linked(marks, missing, other, content):
            del missing[name]
    shares = [list(missing.items())[start::_PARALLEL] for start in range(_PARALLEL)]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda share: _unpack(archive, share, content), shares))
    # After the files: each new entry changes the date of its directory.
    for below in folders:
        os.utime(f"{content}/{below}", ns=(_DATE_NS, _DATE_NS))
    # Last, since a tree without marks counts as unfinished.
    (folder / _MARKS).write_bytes(body({"marks": marks}))


def _mark(info: zipfile.ZipInfo) -> _Mark:
    return [info.CRC, info.file_size, info.compress_size, int(bool(info.external_attr >> 16 & 0o100))]


def _linked(marks: Mapping[str, _Mark], missing: Iterable[str], other: Path, content: str) -> list[str]:
    """Link the files that another tree has; return their names."""
    theirs = _marks(other)
    source = str(other / _CONTENT)
    found = []
    for name in missing:
        if theirs.get(name) != marks[name]:
            continue
        try:
            if _is_untouched(f"{source}/{name}", marks[name][1]):
                os.link(f"{source}/{name}", f"{content}/{name}")
                found.append(name)
        except OSError:  # another process has removed it, or it has as many links as the disk allows
            continue
    return found


def _unpack(archive: Path, files: Sequence[tuple[str, zipfile.ZipInfo]], content: str) -> None:
    with zipfile.ZipFile(archive) as opened, archive.open("rb") as raw:
        for name, info in files:
            mode = 0o555 if info.external_attr >> 16 & 0o100 else 0o444
            with open(os.open(f"{content}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
                if info.file_size <= _IN_MEMORY:
                    file.write(_small(raw.fileno(), info))
                else:
                    with opened.open(info) as source:
                        shutil.copyfileobj(source, file, _IN_MEMORY)
                file.flush()
                os.utime(file.fileno(), ns=(_DATE_NS, _DATE_NS))


def _small(archive: int, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a file. zipfile takes longer to open a small file than to inflate it."""
    head = os.pread(archive, LOCAL_RECORD.size, info.header_offset)
    data = os.pread(archive, info.compress_size, info.header_offset + len(head) + after_local(head))
    try:
        if info.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompress(data, -zlib.MAX_WBITS, info.file_size or 1)
    except zlib.error as error:
        raise zipfile.BadZipFile(f"{info.filename} is damaged") from error
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} is damaged")
    return data
