"""Files that git itself keeps or reads: configuration, attributes, ignore rules, the index of a work tree."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import SourceError

if TYPE_CHECKING:
    from dulwich.repo import Repo


_KIND_BITS, _GITLINK = 0o170000, 0o160000


def parse_config(text: bytes) -> dict[tuple[str, ...], dict[str, str]]:
    """Parse a file in the format of git's configuration: {(section, subsection): {key: value}}, the last of a key.

    Files that it includes are not read.

    Raises:
        ValueError: it is not in that format.
    """
    from dulwich.config import ConfigFile

    parsed = ConfigFile.from_file(BytesIO(text), expand_includes=False)
    return {
        tuple(part.decode("utf-8") for part in section): {
            key.decode("utf-8").lower(): value.decode("utf-8") for key, value in parsed.items(section)
        }
        for section in parsed.sections()
    }


class Attributes:
    """Attributes from the .gitattributes of a tree; `read` returns the one of a directory (posix), b"" for none."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._rules: dict[str, list[Any]] = {}

    def of(self, path: str) -> dict[str, str | bool]:
        """Return the attributes of the file at `path`: set, unset (False), or a value."""
        from dulwich.attrs import match_path

        directories = path.split("/")[:-1]
        rules = [rule for depth in range(len(directories) + 1) for rule in self._of("/".join(directories[:depth]))]
        found = match_path(rules, path.encode()) if rules else {}
        return {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            if isinstance(value, bytes)
            else bool(value)
            for name, value in found.items()
        }

    def _of(self, directory: str) -> list[Any]:
        from dulwich.attrs import compile_gitattributes_patterns, parse_git_attributes

        if directory not in self._rules:
            lines = parse_git_attributes(BytesIO(self._read(directory)))
            # `binary` is git's name for several attributes, one of which counts here.
            entries = [(name, {**said, b"text": False} if said.get(b"binary") else said) for name, said in lines]
            self._rules[directory] = compile_gitattributes_patterns(entries, directory, directory.encode())
        return self._rules[directory]


@dataclass(frozen=True, kw_only=True)
class WorkTree:
    """A directory of a checked-out repository: its commit, and the files that git has or would add there.

    Paths are relative to the directory; ignored files and submodules are not among them. `tracked` are the files that
    git has, `others` those that it would add. `commit` is empty before the first one.
    """

    commit: str
    commit_time: int
    tracked: frozenset[str]
    others: frozenset[str]


def read_work_tree(directory: Path) -> WorkTree | None:
    """Read what git knows of the existing `directory`; None if no repository contains it, or one that ignores it.

    Raises:
        SourceError: the repository around it cannot be read.
    """
    place = directory.resolve()
    # Looked for without dulwich, whose import takes longer than this for a project without git.
    if not any((folder / ".git").exists() for folder in (place, *place.parents)):
        return None
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        with contextlib.closing(Repo.discover(place)) as repo:
            return _work_tree(repo, place)
    except NotGitRepository:
        return None
    except _damaged_repository() as error:
        raise SourceError(
            f"{directory}: the git repository around it cannot be read: {str(error) or 'a file of it is damaged'}",
            hint="`git status` and `git fsck` say what is wrong with it",
        ) from error


def _work_tree(repo: Repo, place: Path) -> WorkTree | None:
    from dulwich.index import ConflictedIndexEntry
    from dulwich.porcelain import get_untracked_paths

    base = Path(repo.path).resolve()
    if repo.bare or not place.is_relative_to(base):
        return None
    index = repo.open_index()
    below = place.relative_to(base)
    tracked = [
        Path(os.fsdecode(path)).relative_to(below)
        for path, entry in index.items()
        if Path(os.fsdecode(path)).is_relative_to(below)
        and (isinstance(entry, ConflictedIndexEntry) or _KIND_BITS & entry.mode != _GITLINK)
    ]
    # An ignored directory (a build output, a copy in /tmp below another repository) is no part of that repository.
    if not tracked and below.parts and _is_ignored(repo, below):
        return None
    others = get_untracked_paths(place, base, index, exclude_ignored=True, repo=repo)
    known = frozenset(path.as_posix() for path in tracked)
    commit, commit_time = _head(repo)
    return WorkTree(commit=commit, commit_time=commit_time, tracked=known, others=frozenset(others) - known)


def _damaged_repository() -> tuple[type[Exception], ...]:
    """List what dulwich raises for files that git never writes, or that a newer git than dulwich knows has written."""
    from dulwich import errors, index, refs, repo

    return (
        *(errors.ChecksumMismatch, errors.FileFormatException, errors.RefFormatError, errors.WrongObjectException),
        *(errors.ObjectMissing, index.UnsupportedIndexFormat, index.InvalidPathError, refs.SymrefLoop),
        *(repo.UnsupportedVersion, repo.UnsupportedExtension, repo.InvalidWorktreeConfiguration),
        StopIteration,  # of a ref that ends after `ref: `
        *(OSError, ValueError, LookupError, AssertionError, OverflowError, struct.error, zlib.error),
    )


def _is_ignored(repo: Repo, path: Path) -> bool:
    from dulwich.ignore import IgnoreFilterManager

    return bool(IgnoreFilterManager.from_repo(repo, config=repo.get_config_stack()).is_ignored(f"{path.as_posix()}/"))


def _head(repo: Repo) -> tuple[str, int]:
    _check_head(Path(repo.controldir()) / "HEAD")
    try:
        commit = repo[repo.head()]
    except KeyError:  # nothing is committed yet
        return "", 0
    return commit.id.decode(), int(getattr(commit, "commit_time", 0))


def _check_head(path: Path) -> None:
    """Return if HEAD names a branch or a commit; dulwich reads anything else as a repository without commits.

    Raises:
        ValueError: it is damaged.
    """
    from dulwich.refs import Ref, check_ref_format

    content = path.read_bytes().rstrip()
    if re.fullmatch(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?", content):
        return
    name = content.removeprefix(b"ref:").strip()
    if name == content or not name.startswith(b"refs/") or b"//" in name or not check_ref_format(Ref(name)):
        shown = content[:60].decode("utf-8", "replace")
        raise ValueError(f"HEAD says {shown!r}, which is neither a branch nor a commit")


def ignored_by(patterns: Path, paths: Iterable[str]) -> frozenset[str]:
    """Return those of `paths` that the existing file `patterns`, in gitignore's syntax, ignores.

    Paths are relative to the file's directory. As in git, everything in an ignored directory is ignored, and a pattern
    that cannot be understood ignores nothing.
    """
    from dulwich.ignore import IgnoreFilter

    rules = IgnoreFilter.from_path(patterns)
    return frozenset(path for path in paths if rules.is_ignored(path))
