"""Inputs of a component's lock: the named files, their includes, and local sources.

Only the standard library is used here: a stored lock is found without any heavy import.

    requirements.txt               and what it includes by -r and -c
    pyproject.toml                 [project].dependencies;  pyproject.toml[web] adds an extra
    pyproject.toml#group=prod      a dependency group instead
    uv.lock, pylock.toml, poetry.lock, Pipfile.lock      with the same [extra] and #group=…
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from builder.errors import InvalidBuildFile, LambdasmithError, PathNotFound, UnsafeSource
from builder.hashing import sha256_of
from builder.paths import name_problem, shown
from builder.python.requirements import Include, Line, Option, Requirement, normalised_name, parse

LockKind = Literal["uv", "pylock"]

_ENTRY = re.compile(r"(?P<path>[^\[#]+)(?P<extras>\[[^\]]*\])?(?:#group=(?P<group>[A-Za-z0-9._-]+))?")
# Directories that tools make, never part of a build.
_IGNORED_FOLDERS = {".git", "__pycache__", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache"}
# More files than a requirements file includes in earnest.
_MOST_INCLUDES = 100
_UV_DIRECTORY = re.compile(r'^source = \{ (?:directory|editable) = "(?P<path>[^"]+)"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class LockFile:
    """Lock of another tool, used unchanged. `group` is None for the project's own dependencies."""

    path: str
    kind: LockKind
    extras: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the files for the whole resolution. `find_links` are URLs, and paths relative to the project."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    prereleases: bool = False
    require_hashes: bool = False
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that determines a lock.

    Args:
        names: as typed in the build file.
        contents: path → bytes of every file read. Paths are relative to the project, here and below.
        requirements, constraints: of all files; the `place` of a local one is relative to the project.
        exact: the requirements are a complete lock: nothing is added to them.
        lock: set instead of requirements if the file is a lock with files and hashes.
        trees: path of a local directory or file → hash of its content.
    """

    names: tuple[str, ...]
    contents: Mapping[str, bytes] = field(repr=False)
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    options: Options = Options()
    exact: bool = False
    lock: LockFile | None = None
    trees: Mapping[str, str] = field(default_factory=dict)


def split_entry(entry: str) -> tuple[str, tuple[str, ...], str | None]:
    """Return (path, extras, group) of an entry such as `pyproject.toml[web]` or `pyproject.toml#group=prod`.

    Raises:
        InvalidBuildFile: the entry has another shape.
    """
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise InvalidBuildFile(f"{entry!r} cannot be read; write FILE, FILE[extra] or FILE#group=NAME")
    extras = tuple(name.strip() for name in (match["extras"] or "")[1:-1].split(",") if name.strip())
    return match["path"], extras, match["group"]


def read_inputs(entries: Sequence[str], root: Path, boundary: Path | None = None) -> Inputs:
    """Read the entries of `layers.dependencies`, relative to `root`, and every file that they include.

    Local sources may lie anywhere in `boundary` (the whole repository), which is `root` if not given.

    Raises:
        PathNotFound: a file is missing.
        InvalidBuildFile: an unsupported kind of file, an unusable line, or a path outside of `boundary`.
    """
    return _Reader(entries, root, boundary or root).read()


class UnclearError(Exception):
    """It cannot be told from a requirements file alone which files count."""


def paths_named(path: str, text: Callable[[str], str | None]) -> Iterator[str]:
    """Yield the path of a file of `layers.dependencies`, and those of all files and directories that it names.

    A local path may mean two places, beside the file that names it or in the project: both are yielded.

    Args:
        path: relative to the project. text: returns the content of a file, None if there is none.

    Raises:
        UnclearError: other tools' files may mean projects around them, and their own locks.
    """
    yield from _named(path, text, set())


def _named(path: str, text: Callable[[str], str | None], seen: set[str]) -> Iterator[str]:
    yield path
    content = None if path in seen else text(path)
    if content is None:
        return
    seen.add(path)
    if not path.endswith(".txt") or len(seen) > _MOST_INCLUDES:
        raise UnclearError
    folder = posixpath.dirname(path)
    try:
        lines = [*parse(content, path)]
    except LambdasmithError:
        raise UnclearError from None
    for line in lines:
        match line:
            case Include():
                yield from _named(posixpath.normpath(posixpath.join(folder, line.path)), text, seen)
            case Requirement(kind="path"):
                yield from (posixpath.normpath(posixpath.join(near, line.place)) for near in (folder, ""))
            case Option(name="--find-links") if "://" not in line.value:
                yield from (posixpath.normpath(posixpath.join(near, line.value)) for near in (folder, ""))


class _Reader:
    """Collector of the requirements, constraints and options of several files."""

    def __init__(self, entries: Sequence[str], root: Path, boundary: Path) -> None:
        self.entries, self.root, self.boundary = tuple(entries), root.resolve(), boundary.resolve()
        self.contents: dict[str, bytes] = {}
        self.requirements: list[Requirement] = []
        self.constraints: list[Requirement] = []
        self.options = Options()
        self.locks: list[LockFile] = []
        self.trees: dict[str, str] = {}
        self.exact = False

    def read(self) -> Inputs:
        for entry in self.entries:
            self._entry(entry)
        if (self.locks or self.exact) and len(self.entries) > 1:
            raise InvalidBuildFile(
                f"layers.dependencies: {', '.join(self.entries)}: a lock file cannot be combined with other entries",
                hint="list only the lock file; it has everything",
            )
        return Inputs(
            names=self.entries,
            contents=self.contents,
            requirements=tuple(self.requirements),
            constraints=tuple(self.constraints),
            options=self.options,
            exact=self.exact,
            lock=self.locks[0] if self.locks else None,
            trees=self.trees,
        )

    def _entry(self, entry: str) -> None:
        path, extras, group = split_entry(entry)
        name = PurePosixPath(path).name
        if name.endswith((".txt", ".in")):
            if extras or group:
                raise InvalidBuildFile(f"layers.dependencies: {entry}: a requirements file has no extras or groups")
            self._requirements_file(path, "the build file", constraint=False, trail=())
            return
        from builder.python import lockfiles, pyproject  # most projects have only a requirements file

        content = self._file(path, "the build file")
        folder = PurePosixPath(path).parent
        if name == "pyproject.toml":
            lines = pyproject.requirements(content.decode("utf-8", "replace"), path, extras=extras, group=group)
            self._lines(lines, folder, constraint=False, trail=(path,))
        elif name == "uv.lock":
            self._file(str(folder / "pyproject.toml"), path)
            self._uv_directories(content.decode("utf-8", "replace"), folder, path)
            self.locks.append(LockFile(path=path, kind="uv", extras=extras, group=group))
        elif name == "pylock.toml" or re.fullmatch(r"pylock\.[^.]+\.toml", name):
            for place in lockfiles.pylock_paths(content.decode("utf-8", "replace"), path):
                self._local(place, folder, path)
            self.locks.append(LockFile(path=path, kind="pylock", extras=extras, group=group))
        elif name in ("poetry.lock", "Pipfile.lock"):
            read = lockfiles.poetry if name == "poetry.lock" else lockfiles.pipfile
            self.exact = True
            self._lines(
                read(content.decode("utf-8", "replace"), path, extras, group), folder, constraint=False, trail=()
            )
        else:
            raise InvalidBuildFile(
                f"layers.dependencies: {entry} is not a kind of file that can be locked",
                hint="use requirements.txt, pyproject.toml, uv.lock, pylock.toml, poetry.lock or Pipfile.lock",
            )

    def _file(self, path: str, origin: str) -> bytes:
        """Read a file, and record its content for the key."""
        _check_name(path, origin)
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.boundary):
            raise InvalidBuildFile(f"{origin}: {path} lies outside the project")
        if not place.is_file():
            raise PathNotFound(
                f"{origin}: {path} does not exist", hint="paths are relative to the file that names them"
            )
        name = self._name(place)
        if name not in self.contents:
            self.contents[name] = place.read_bytes()
        return self.contents[name]

    def _name(self, place: Path) -> str:
        return Path(os.path.relpath(place, self.root)).as_posix()

    def _requirements_file(self, path: str, origin: str, *, constraint: bool, trail: tuple[str, ...]) -> None:
        content = self._file(path, origin)
        name = self._name((self.root / path).resolve())
        if name in trail:
            return  # files may include each other
        text = content.decode("utf-8-sig", "replace")
        self._lines(parse(text, name), PurePosixPath(name).parent, constraint=constraint, trail=(*trail, name))

    def _lines(self, lines: Iterable[Line], folder: PurePosixPath, *, constraint: bool, trail: tuple[str, ...]) -> None:
        for line in lines:
            match line:
                case Include():
                    self._requirements_file(
                        str(folder / line.path), line.origin, constraint=constraint or line.constraint, trail=trail
                    )
                case Option(name="--find-links") if "://" not in line.value:
                    self._option(replace(line, value=self._links(line.value, folder, line.origin)))
                case Option():
                    self._option(line)
                case Requirement() if constraint:
                    if line.kind != "index":
                        raise InvalidBuildFile(f"{line.origin}: a constraint names a version, not a place")
                    self.constraints.append(line)
                case Requirement():
                    if line.kind == "path":
                        line = replace(line, place=self._local(line.place, folder, line.origin))
                    self.requirements.append(line)

    def _links(self, path: str, folder: PurePosixPath, origin: str) -> str:
        """Record a directory of distributions; return its path relative to the project."""
        _check_name(path, origin)
        near, top = (self.root / folder / path).resolve(), (self.root / path).resolve()
        place = near if near.exists() else top
        if not place.is_relative_to(self.boundary):
            raise InvalidBuildFile(f"{origin}: {path} lies outside the repository")
        if not place.is_dir():
            raise PathNotFound(
                f"{origin}: {path} is not a directory", hint="--find-links takes a directory of wheels, or a URL"
            )
        name = self._name(place)
        self.trees[name] = tree_hash(place)
        return name

    def _local(self, path: str, folder: PurePosixPath, origin: str) -> str:
        """Record a local directory or file; return its path relative to the project."""
        _check_name(path, origin)
        near, top = (self.root / folder / path).resolve(), (self.root / path).resolve()
        place = near if near.exists() else top  # pip resolves them from its working directory
        if not place.is_relative_to(self.boundary):
            raise InvalidBuildFile(f"{origin}: {path} lies outside the repository")
        if not place.exists():
            raise PathNotFound(
                f"{origin}: {path} does not exist", hint="paths are relative to the file that names them"
            )
        if place.is_dir() and not any((place / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise PathNotFound(f"{origin}: {path} has neither pyproject.toml nor setup.py, so it cannot be installed")
        name = self._name(place)
        if name not in self.trees:
            self.trees[name] = tree_hash(place)
        return name

    def _uv_directories(self, text: str, folder: PurePosixPath, path: str) -> None:
        for match in _UV_DIRECTORY.finditer(text):
            if match["path"] != ".":
                self._local(match["path"], folder, path)

    def _option(self, option: Option) -> None:
        now = self.options
        match option.name:
            case "--index-url":
                if now.index_url not in (None, option.value):
                    raise InvalidBuildFile(f"{option.origin}: a second --index-url; use --extra-index-url")
                now = replace(now, index_url=option.value)
            case "--extra-index-url":
                urls = dict.fromkeys((*now.extra_index_urls, option.value))
                now = replace(now, extra_index_urls=tuple(urls))
            case "--find-links":
                now = replace(now, find_links=tuple(dict.fromkeys((*now.find_links, option.value))))
            case "--pre":
                now = replace(now, prereleases=True)
            case "--require-hashes":
                now = replace(now, require_hashes=True)
            case "--no-index":
                now = replace(now, no_index=True)
            case "--no-binary":
                now = replace(now, no_binary=_names(now.no_binary, option.value))
            case "--only-binary":
                now = replace(now, only_binary=_names(now.only_binary, option.value))
        self.options = now


def _check_name(path: str, origin: str) -> None:
    """Raise InvalidBuildFile for an impossible path: looking for it would fail with an obscure error."""
    if problem := name_problem(path):
        raise InvalidBuildFile(f"{origin}: the path {shown(path)} {problem}")


def _names(known: tuple[str, ...], typed: str) -> tuple[str, ...]:
    """Return a list of --no-binary or --only-binary with the names of another option; `:none:` empties it."""
    names = list(known)
    for name in (part.strip() for part in typed.split(",")):
        if name == ":none:":
            names = []
        elif name:
            names.append(name if name == ":all:" else normalised_name(name))
    return tuple(dict.fromkeys(names))


def tree_hash(place: Path) -> str:
    """Return the sha256 of a file's content, or of a directory's names, contents, executable bits and links.

    Raises:
        UnsafeSource: a file of the directory has a name that is not UTF-8.
    """
    if place.is_file():
        return sha256_of(place)
    digest = hashlib.sha256(b"tree")
    for path in tree_files(place):
        name = path.relative_to(place).as_posix()
        if name_problem(name):
            raise UnsafeSource(f"{place.name}/{shown(name)}: the name is not UTF-8", hint="rename the file")
        if path.is_symlink():
            digest.update(f"\0link\0{name}\0".encode() + os.fsencode(path.readlink()))
        else:
            digest.update(f"\0file\0{name}\0{path.stat().st_mode & 0o100}\0{sha256_of(path)}".encode())
    return digest.hexdigest()


def tree_files(place: Path) -> list[Path]:
    """Return the files and links of a directory that a build may see, sorted by path."""
    found: list[Path] = []
    for folder, below, files in os.walk(place):
        links = [name for name in below if (Path(folder) / name).is_symlink()]
        below[:] = [
            name
            for name in below
            if name not in _IGNORED_FOLDERS and not name.endswith(".egg-info") and name not in links
        ]
        found += [Path(folder) / name for name in (*files, *links) if not name.endswith((".pyc", ".pyo"))]
    return sorted(found)
