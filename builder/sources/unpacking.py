"""Writes entries of an archive as files, safely: the rules of a tree, and the only place where they are written.

Every directory on the way is opened by its own name without following links, so nothing can be written elsewhere
whatever else happens to the disk meanwhile. Links are made last. Problems of single entries are collected: after the
first one nothing is written, but the rest is still examined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from builder.amounts import megabytes
from builder.archives.archived import MAX_LINK_BYTES, Archived, Limits, TooMany
from builder.archives.zips import folded
from builder.characters import hides
from builder.errors import OutOfSpace, UnsafeSource
from builder.paths import MAX_DEPTH, MAX_PATH_BYTES, climbs, is_entry_name, leaves, shown
from builder.sources.checkout import LFS_HEADER, LFS_MAX_BYTES

# An archive that was made wrongly usually has the same problem a thousand times.
_SHOWN = 20
_INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_AGAIN = "make the archive from a clean checkout, for example with git archive"
_INSTEAD = "replace the link by the file itself, or remove it"


@dataclass(slots=True, eq=False)
class _Node:
    """A name that is taken; `parent` is the directory around it."""

    name: str
    parent: _Node | None
    kind: Literal["file", "directory", "link"]

    @property
    def path(self) -> str:
        above = self.parent.path if self.parent else ""
        return f"{above}/{self.name}" if above else self.name


@dataclass
class Unpacker:
    """Writer of entries below `root`, an empty directory. `label` names the archive in messages, `mtime` dates files.

    `files`, `size_bytes` and `lfs_pointers` count what has been written; `take` every entry, then `finish`.
    """

    root: Path
    limits: Limits
    label: str
    mtime: int
    files: int = 0
    size_bytes: int = 0
    lfs_pointers: list[str] = field(default_factory=list)
    problem_count: int = 0
    _problems: dict[str, str] = field(default_factory=dict)
    _entries: int = 0
    _links: list[tuple[_Node, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._top = _Node("", None, "directory")
        self._taken: dict[tuple[int, str], _Node] = {}
        self._open: list[tuple[_Node, int]] = []

    def __enter__(self) -> Self:
        self._open.append((self._top, os.open(self.root, _INTO)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop()[1])

    def take(self, entry: Archived) -> None:
        """Write one entry, or note its problem.

        Raises:
            OutOfSpace, TooMany: it would be more than the limits allow.
        """
        self._count()
        path = _decoded(entry.name)
        if entry.problem:
            self._note(path, entry.problem, "")
        elif problem := _path_problem(path, entry.name):
            self._note(path, *problem)
        elif node := self._claimed(_segments(path), entry):
            if entry.kind == "link":
                self._take_link(node, entry.target)
            elif entry.kind == "file":
                self.files += 1
                self._write(node, entry)

    def finish(self) -> None:
        """Make the links.

        Raises:
            UnsafeSource: some entries had problems; the files that were written are incomplete.
        """
        self.refuse_problems()
        # All links before the first check: one may lead through another that comes later.
        for node, target in self._links:
            os.symlink(target, node.name, dir_fd=self._directory(node.parent or self._top))
        for node, target in self._links:
            if leaves(self.root, node.path):
                self._note(node.path, _leaving(target), _INSTEAD)
        self.refuse_problems()

    def refuse_problems(self) -> None:
        """Raise UnsafeSource with all problems so far, if there are any."""
        if not self._problems:
            return
        more = self.problem_count - len(self._problems)
        text = "; ".join(self._problems) + (f"; and {more:,} more" if more else "")
        hints = dict.fromkeys(hint for hint in self._problems.values() if hint)
        raise UnsafeSource(
            f"{self.label}: {text}",
            hint=next(iter(hints)) if len(hints) == 1 else _AGAIN,
            problems=tuple(self._problems),
        )

    def _note(self, path: str, problem: str, hint: str) -> None:
        text = f"{shown(path)} {problem}"
        if text in self._problems:
            return
        self.problem_count += 1
        if len(self._problems) < _SHOWN:
            self._problems[text] = hint

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self.limits.max_entries:
            raise TooMany(self.limits)

    # --- names ------------------------------------------------------------------------------------------------------

    def _claimed(self, names: list[str], entry: Archived) -> _Node | None:
        """Return the node of the entry, its directories made; None if its name is taken, or it is the root itself."""
        node = self._top
        for index, name in enumerate(names):
            if node.kind != "directory":
                self._note("/".join(names), f"lies below {shown(node.path)}, which is a {node.kind}", "")
                return None
            is_last = index == len(names) - 1
            kind = entry.kind if is_last else "directory"
            key = (id(node), folded(name))
            other = self._taken.get(key)
            if other is None:
                # Directories that only a path mentions count as well: one entry `a/b/c/…` makes hundreds.
                if not is_last:
                    self._count()
                other = self._taken[key] = _Node(name, node, kind)
                if kind == "directory" and not self._problems:
                    os.mkdir(name, dir_fd=self._directory(node))
            elif other.name != name:
                mine = "/".join(names[: index + 1])
                self._note(
                    mine, f"and {shown(other.path)} differ only in case or Unicode form", "rename one of the two"
                )
                return None
            elif is_last and not kind == other.kind == "directory":
                self._note(other.path, "is there twice", "")
                return None
            node = other
        return node if names else None

    def _directory(self, node: _Node) -> int:
        """Return a descriptor of a directory that has been made, good until the next call."""
        above: list[_Node] = []
        at: _Node | None = node
        while at is not None:
            above.append(at)
            at = at.parent
        above.reverse()
        common = 0
        while common < min(len(above), len(self._open)) and self._open[common][0] is above[common]:
            common += 1
        while len(self._open) > common:
            os.close(self._open.pop()[1])
        # One descriptor per level stays open between entries: neighbours in an archive share most of their way.
        for below in above[common:]:
            self._open.append((below, os.open(below.name, _INTO, dir_fd=self._open[-1][1])))
        return self._open[-1][1]

    # --- content ----------------------------------------------------------------------------------------------------

    def _take_link(self, node: _Node, target: bytes) -> None:
        text = os.fsdecode(target)
        if not target or hides(target.decode("utf-8", "replace")) or len(target) > MAX_LINK_BYTES:
            self._note(node.path, "is a symbolic link with no usable target", _INSTEAD)
        elif climbs(node.path, text):
            self._note(node.path, _leaving(text), _INSTEAD)
        else:
            self._links.append((node, text))
            self.files += 1
            self.size_bytes += len(target)

    def _write(self, node: _Node, entry: Archived) -> None:
        # Before writing, by the size that the entry states; `_bounded` counts again, since that may be a lie.
        if entry.size > self.limits.max_file_bytes:
            raise self._too_large(node)
        if self.size_bytes + entry.size > self.limits.max_bytes:
            raise self._too_much(node)
        if self._problems:
            return
        parent = self._directory(node.parent or self._top)
        descriptor = os.open(node.name, _NEW, 0o600, dir_fd=parent)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            head = b""
            for chunk in self._bounded(node, entry):
                file.write(chunk)
                head = head or chunk[: len(LFS_HEADER)]
            # fchmod, because the mode argument of open() would be narrowed by the umask of the process.
            os.fchmod(descriptor, 0o755 if entry.executable else 0o644)
            os.utime(descriptor, (self.mtime, self.mtime))
        if head == LFS_HEADER and entry.size <= LFS_MAX_BYTES:
            self.lfs_pointers.append(node.path)

    def _bounded(self, node: _Node, entry: Archived) -> Iterator[bytes]:
        """Yield the entry's content as long as it is within the limits."""
        size = 0
        for chunk in entry.content():
            size += len(chunk)
            self.size_bytes += len(chunk)
            if size > self.limits.max_file_bytes:
                raise self._too_large(node)
            if self.size_bytes > self.limits.max_bytes:
                raise self._too_much(node)
            yield chunk

    def _too_large(self, node: _Node) -> OutOfSpace:
        most = megabytes(self.limits.max_file_bytes, ",.1f")
        return OutOfSpace(
            f"{self.label}: {shown(node.path)} is larger than the {most} that one file may have",
            hint="leave it out, or fetch it in preinstall",
        )

    def _too_much(self, node: _Node) -> OutOfSpace:
        most = megabytes(self.limits.max_bytes, ",.1f")
        return OutOfSpace(
            f"{self.label}: its files need more than the {most} there are, seen at {shown(node.path)}",
            hint="leave out files that the build does not need, or give the builder a larger ephemeral_storage",
        )


def _decoded(name: bytes) -> str:
    """Decode the name, escaping whatever is not UTF-8."""
    return name.decode("utf-8", "backslashreplace")


def _segments(path: str) -> list[str]:
    """Split a path into names; tar writes "./" before all of them, and "/" behind directories."""
    while path.startswith("./"):
        path = path[2:]
    path = path.removesuffix("/")
    return [] if path in ("", ".") else path.split("/")


def _path_problem(path: str, raw: bytes) -> tuple[str, str] | None:
    """Say why no entry may have that path, and what to do; None if one may."""
    if len(raw) > MAX_PATH_BYTES:
        return f"has a path longer than {MAX_PATH_BYTES} bytes", ""
    if path.encode() != raw:
        return "has a name that is not UTF-8", "rename the file, or make the archive with another tool"
    # `C:` is a drive to readers on Windows, whatever it is here.
    if path.startswith("/") or path[1:2] == ":":
        return "is an absolute path", _AGAIN
    if hides(path):
        return "has a control or invisible character in its name", "rename the file"
    if "\\" in path:
        return "has a backslash in its name", "make the archive with a tool that writes / between names"
    names = _segments(path)
    if ".." in names:
        return "leaves the archive with ..", _AGAIN
    if not path:
        return "is an entry without a name", _AGAIN
    bad = next((index for index, name in enumerate(names) if not is_entry_name(name)), None)
    if bad is not None:
        where = "" if bad == len(names) - 1 else f" (at {shown(names[bad])})"
        return f"has a name that no file or directory may have{where}", _AGAIN
    if len(names) > MAX_DEPTH:
        return f"is more than {MAX_DEPTH} directories deep", ""
    return None


def _leaving(target: str) -> str:
    return f"is a symbolic link that leaves the archive (it points to {shown(target)})"
