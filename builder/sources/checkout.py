"""Writes git trees as files, safely: the only place where a repository's content reaches the disk.

It works on raw git objects and knows neither dulwich nor the network. Every object is hashed again as it is read, so
the files on disk are those that the tree id promises. Rules:

- regular files only, mode 644 or 755, with the commit's time; symbolic links only where they end inside the tree;
- a name that is `.`, `..`, `.git`, not UTF-8 or twice in one directory is refused, as is a tree that is too deep or
  has too many entries;
- a submodule's directory is made, left empty, and reported; LFS pointers are written unchanged and reported.
  `builder.sources.git` fills both.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from builder.amounts import megabytes
from builder.errors import OutOfSpace, UnsafeSource
from builder.paths import MAX_DEPTH, MAX_ENTRIES, MAX_PATH_BYTES, climbs, is_entry_name, leaves, shown
from builder.sources.objects import Content

ReadObject = Callable[[str], Content]
"""Reader of an object by its hex id. Raises KeyError."""

LFS_HEADER = b"version https://git-lfs.github.com/spec/"
LFS_MAX_BYTES = 1024  # the pointer format's own limit

DIRECTORY, EXECUTABLE, LINK, SUBMODULE = 0o040000, 0o100755, 0o120000, 0o160000
# 0o100664 is in old repositories; git itself treats it as 644.
FILES = {0o100644: 0o644, 0o100664: 0o644, EXECUTABLE: 0o755}


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files that were written. `submodules` is {posix path: commit}, `lfs_pointers` are posix paths, sorted.

    `listed` is all that the tree has. `whole`: all of it was written.
    """

    files: int
    size_bytes: int
    submodules: dict[str, str]
    lfs_pointers: tuple[str, ...]
    listed: Listed
    whole: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)  # there may be a hundred thousand
class TreeEntry:
    """A file, directory, link or submodule of a tree: its posix path, its mode as git has it, and its hex id."""

    path: str
    mode: int
    object_id: str


@dataclass(frozen=True, kw_only=True)
class Listed:
    """All entries of a tree, a directory always before its contents, and their ids by path."""

    entries: Sequence[TreeEntry] = field(repr=False)
    ids: Mapping[str, str] = field(repr=False)

    def paths(self, mode: int) -> frozenset[str]:
        """Return the paths of the entries that have this mode."""
        return frozenset(entry.path for entry in self.entries if entry.mode == mode)


Choose = Callable[[Listed], Collection[str] | None]
"""Chooses what to write of a tree: files and directories with all below them; None for everything."""


def write_tree(
    tree: str,
    read: ReadObject,
    into: Path,
    *,
    mtime: int,
    max_bytes: int | None = None,
    max_entries: int = MAX_ENTRIES,
    choose: Choose = lambda _: None,
) -> Checkout:
    """Write the tree with hex id `tree` into the empty directory `into`.

    `mtime` is in seconds since the epoch; `max_bytes` is the most that all files together may take, `max_entries` how
    many files and directories there may be (a small repository can describe a boundless tree). `choose` says what of
    it is written.

    Raises:
        UnsafeSource: the tree has an entry that must not be unpacked; `into` is then incomplete.
        OutOfSpace: the files need more than `max_bytes` or `max_entries`.
    """
    entries = [*walk(tree, read, max_entries)]
    listed = Listed(entries=entries, ids={entry.path: entry.object_id for entry in entries})
    chosen = choose(listed)
    writing = _Writing(read=read, into=into, mtime=mtime, max_bytes=max_bytes)
    for entry in below(entries, chosen):
        writing.take(entry)
    _write_links(into, writing.links)
    return Checkout(
        files=writing.files,
        size_bytes=writing.size,
        submodules=dict(sorted(writing.submodules.items())),
        lfs_pointers=tuple(sorted(writing.pointers)),
        listed=listed,
        whole=chosen is None,
    )


@dataclass(kw_only=True)
class _Writing:
    """What was written so far; links wait until all files are there, so that no file is written through one."""

    read: ReadObject
    into: Path
    mtime: int
    max_bytes: int | None
    files: int = 0
    size: int = 0
    largest: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[str, bytes]] = field(default_factory=list)
    submodules: dict[str, str] = field(default_factory=dict)
    pointers: list[str] = field(default_factory=list)

    def take(self, entry: TreeEntry) -> None:
        """Write an entry."""
        target = self.into / entry.path
        if entry.mode in (DIRECTORY, SUBMODULE):
            _make_directory(target, entry.path)
            if entry.mode == SUBMODULE:
                self.submodules[entry.path] = entry.object_id
            return
        content = checked_object(self.read, entry.object_id, "blob", entry.path)
        self.size += content.size
        self.largest = sorted([*self.largest, (content.size, entry.path)], reverse=True)[:3]
        # By the size in the object's header, before the content is read: a huge file never reaches the disk.
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise _too_large(self.max_bytes, self.largest)
        self.files += 1
        if entry.mode == LINK:
            self.links.append((entry.path, b"".join(content.chunks)))
            return
        begins = _write_file(target, entry, content.chunks, self.mtime)
        if content.size <= LFS_MAX_BYTES and begins.startswith(LFS_HEADER):
            self.pointers.append(entry.path)


def below(entries: Iterable[TreeEntry], chosen: Collection[str] | None) -> Iterator[TreeEntry]:
    """Yield what was chosen, everything below it, and the directories on the way to it."""
    if chosen is None:
        yield from entries
        return
    above = {path[: -len(rest)] for path in chosen for rest in _rests(path)}
    taken = {*chosen}
    for entry in entries:
        if entry.path in taken or entry.path.rpartition("/")[0] in taken:
            taken.add(entry.path)
        elif entry.path not in above or entry.mode != DIRECTORY:
            continue
        yield entry


def _rests(path: str) -> Iterator[str]:
    """Yield what follows each directory on the way to a path, the slash included."""
    at = path.find("/")
    while at >= 0:
        yield path[at:]
        at = path.find("/", at + 1)


def verified(read: ReadObject, object_id: str, kind: str) -> bytes:
    """Return the content of an object, checked against its id.

    Raises:
        UnsafeSource: the object is missing, of another kind, or not what its id says.
    """
    return _verified(read, object_id, kind, object_id)


def tree_at(tree: str, path: str, read: ReadObject) -> str:
    """Return the id of a tree's directory `path` (posix, "" for the root); "" if there is no such directory.

    Raises:
        UnsafeSource: a directory on the way is damaged.
    """
    for name in path.split("/") if path else ():
        entries = _parse_tree(verified(read, tree, "tree"), "")
        tree = next((child for mode, found, child in entries if found == name and mode == DIRECTORY), "")
        if not tree:
            break
    return tree


def _verified(read: ReadObject, object_id: str, kind: str, path: str) -> bytes:
    return b"".join(checked_object(read, object_id, kind, path).chunks)


def checked_object(read: ReadObject, object_id: str, kind: str, path: str) -> Content:
    """Return an object whose chunks raise at their end unless the content is what its id says."""
    try:
        found = read(object_id)
    except KeyError:
        raise UnsafeSource(f"{path}: the server did not send object {object_id}", hint="try again") from None
    return Content(kind=kind, size=found.size, chunks=_checked(found, object_id, kind, path))


def _checked(content: Content, object_id: str, kind: str, path: str) -> Iterator[bytes]:
    # Git's own identity of an object, not a security hash of ours.
    actual = hashlib.sha1(b"%s %d\0" % (content.kind.encode(), content.size), usedforsecurity=False)
    for chunk in content.chunks:
        actual.update(chunk)
        yield chunk
    if content.kind != kind or actual.hexdigest() != object_id:
        raise UnsafeSource(f"{path}: object {object_id} is damaged or not a {kind}", hint="run git fsck on the server")


def walk(tree: str, read: ReadObject, max_entries: int) -> Iterator[TreeEntry]:
    """Yield every entry below `tree`, a directory always before its contents."""
    todo = [("", tree, 0)]
    entries = 0
    while todo:
        prefix, object_id, depth = todo.pop()
        # Depth and count are bounded while walking: a few kilobytes of objects can describe millions of paths, by
        # trees that contain the same tree many times over.
        if depth > MAX_DEPTH:
            raise UnsafeSource(f"{shown(prefix)}: more than {MAX_DEPTH} directories deep")
        for mode, name, child in _parse_tree(_verified(read, object_id, "tree", prefix or "/"), prefix):
            path = prefix + name
            entries += 1
            if entries > max_entries:
                raise OutOfSpace(f"the repository has more than {max_entries:,} files and directories")
            # Below the kernel's own limit, since the workspace's path comes before it.
            if len(os.fsencode(path)) > MAX_PATH_BYTES:
                raise UnsafeSource(f"{shown(path)}: the path is longer than {MAX_PATH_BYTES} bytes")
            if mode not in (DIRECTORY, LINK, SUBMODULE) and mode not in FILES:
                raise UnsafeSource(f"{shown(path)}: mode {mode:o} is neither a file, a directory nor a link")
            yield TreeEntry(path=path, mode=mode, object_id=child)
            if mode == DIRECTORY:
                todo.append((f"{path}/", child, depth + 1))


def _parse_tree(raw: bytes, prefix: str) -> Iterator[tuple[int, str, str]]:
    """Yield (mode, name, hex id) of each entry; each is `mode SP name NUL` and 20 bytes of id."""
    at = 0
    while at < len(raw):
        blank = raw.find(b" ", at, at + 8)
        end = raw.find(b"\0", blank)
        if blank < 0 or end < 0 or end + 21 > len(raw) or not raw[at:blank].isdigit():
            _damaged(prefix)
        try:
            mode = int(raw[at:blank], 8)
        except ValueError:
            _damaged(prefix)
        yield mode, _safe_name(raw[blank + 1 : end], prefix), raw[end + 1 : end + 21].hex()
        at = end + 21


def _damaged(prefix: str) -> NoReturn:
    raise UnsafeSource(f"{shown(prefix or '/')}: the directory's record is damaged", hint="run git fsck on the server")


def _safe_name(name: bytes, prefix: str) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeSource(f"{prefix}{name!r}: the name is not UTF-8", hint="rename the file") from None
    if not is_entry_name(text):
        raise UnsafeSource(f"{shown(prefix + text)}: no file or directory in a repository may have that name")
    return text


def _make_directory(target: Path, path: str) -> None:
    try:
        target.mkdir()
    except FileExistsError:
        raise _twice(path) from None


def _write_file(target: Path, entry: TreeEntry, chunks: Iterable[bytes], mtime: int) -> bytes:
    """Write a file and return its first chunk."""
    # O_EXCL: on a file system that ignores case, two names of a tree can be one file. O_NOFOLLOW: never through a link.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(target, flags, 0o600)
    except FileExistsError:
        raise _twice(entry.path) from None
    begins = b""
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            # An LFS pointer is smaller than a chunk, so the first one tells.
            begins = begins or chunk
            file.write(chunk)
        # fchmod, because the mode argument of open() would be narrowed by the umask of the process.
        os.fchmod(descriptor, FILES[entry.mode])
    # The commit's time instead of now: tools that write file dates into their results stay reproducible.
    os.utime(target, (mtime, mtime))
    return begins


def _write_links(into: Path, links: list[tuple[str, bytes]]) -> None:
    """Make the links after all files, so that none is written through one; then check where each really ends."""
    for path, content in links:
        if b"\0" in content or not content or len(content) > 4096:
            raise UnsafeSource(f"{shown(path)}: the symbolic link has no usable target")
        try:
            (into / path).symlink_to(os.fsdecode(content))
        except FileExistsError:
            raise _twice(path) from None
    # Only when all links exist: one link may lead through another.
    for path, content in links:
        _check_link(into, path, os.fsdecode(content))


def check_links(root: Path) -> None:
    """Check again where all symbolic links below `root` end, after more than one tree was written there.

    Raises:
        UnsafeSource: one ends outside of `root`.
    """
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            place = Path(folder, name)
            if place.is_symlink():
                path = place.relative_to(root).as_posix()
                _check_link(root, path, os.fsdecode(os.readlink(place)))  # noqa: PTH115  # a Path would drop dots


def _check_link(root: Path, path: str, target: str) -> None:
    if climbs(path, target) or leaves(root, path):
        raise UnsafeSource(
            f"{shown(path)}: the symbolic link leaves the repository (it points to {shown(target)})",
            hint="replace the link by the file itself, or remove it",
        )


def _twice(path: str) -> UnsafeSource:
    return UnsafeSource(f"{shown(path)}: the name exists twice (or differs only in upper and lower case)")


def _too_large(max_bytes: int, largest: list[tuple[int, str]]) -> OutOfSpace:
    names = ", ".join(f"{shown(path)} ({megabytes(size, ',.1f')})" for size, path in largest)
    return OutOfSpace(
        f"the repository's files need more than the {megabytes(max_bytes, ',.1f')} there are; the largest so far: "
        f"{names}",
        hint="take large files out of the repository, or give the builder a larger ephemeral_storage",
    )
