"""The id that git gives to a directory's content, however the content came here."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1 << 20


@dataclass(kw_only=True)
class Ids:
    """Git's ids of what is in a directory: of all of it, and of each file and directory by posix path.

    `links` are the paths of symbolic links, `executables` those of files that their owner may execute. Directories
    without files have no id.
    """

    whole: str = ""
    below: dict[str, str] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    executables: set[str] = field(default_factory=set)


def ids_of(root: Path) -> Ids:
    """Compute the ids of everything in the directory `root`."""
    found = Ids()
    found.whole = _tree(os.fspath(root), "", found) or _object(b"tree", b"")
    return found


def tree_id(root: Path, path: str = "") -> str:
    """Compute the hex id of the git tree with the files and links below `path` (posix) in the directory `root`.

    Directories without files do not count, as in git; of modes, the owner's executable bit does. "" where there is no
    such directory, or only through a link.
    """
    folder = root
    for name in path.split("/") if path else ():
        folder = folder / name
        if folder.is_symlink() or not folder.is_dir():
            return ""
    return _tree(os.fspath(folder), "", Ids()) or ("" if path else _object(b"tree", b""))


def _tree(folder: str, prefix: str, found: Ids) -> str:
    """Compute the id of a directory, and note those below it after `prefix`; "" if there is no file in it."""
    entries: list[tuple[bytes, bytes]] = []
    with os.scandir(folder) as listed:
        for entry in listed:
            name, mode = os.fsencode(entry.name), entry.stat(follow_symlinks=False).st_mode
            path = f"{prefix}{entry.name}"
            if stat.S_ISLNK(mode):
                found.links.add(path)
                kind, child = b"120000", _object(b"blob", os.fsencode(os.readlink(entry.path)))  # noqa: PTH115
            elif stat.S_ISDIR(mode):
                kind, child = b"40000", _tree(entry.path, f"{path}/", found)
            else:
                kind, child = b"100644", _blob(entry.path)
                if mode & stat.S_IXUSR:
                    kind = b"100755"
                    found.executables.add(path)
            if child:
                found.below[path] = child
                # Git sorts as if the names of directories ended with a slash.
                order = name + b"/" if kind == b"40000" else name
                entries.append((order, kind + b" " + name + b"\0" + bytes.fromhex(child)))
    return _object(b"tree", b"".join(record for _, record in sorted(entries))) if entries else ""


def _new(kind: bytes, size: int) -> _Hash:
    # Git's own identity of an object, not a security hash of ours.
    return hashlib.sha1(b"%s %d\0" % (kind, size), usedforsecurity=False)


def _object(kind: bytes, content: bytes) -> str:
    made = _new(kind, len(content))
    made.update(content)
    return made.hexdigest()


def _blob(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        made = _new(b"blob", os.fstat(file.fileno()).st_size)
        while chunk := file.read(_CHUNK):
            made.update(chunk)
    return made.hexdigest()
