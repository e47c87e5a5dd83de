"""What of a project's directory stays on the machine that synthesizes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# A copy of the builder's list, docs/reference.md#what-is-left-out-by-default.
_DEFAULTS = Path(__file__).with_name("default_excludes.json")
_COMMENT = re.compile(r"(?:^|\s)#.*", re.MULTILINE)
_SPECIAL = frozenset("\\*?[]!# ")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What stays: `patterns` in gitignore's syntax, of which later ones win; `secrets`, the files of these in git."""

    patterns: tuple[str, ...]
    secrets: tuple[str, ...]


def left_out(root: Path, *, named: Iterable[str], build_text: str) -> LeftOut:
    """What is left out by default (logins, keys, what tools keep for themselves), what git ignores, and .lambdaignore.

    Args:
        root: the directory.
        named: paths that the build file names, relative to the directory: these are wanted, whatever the defaults say.
        build_text: text of the build file.
    """
    groups = json.loads(_DEFAULTS.read_text(encoding="utf-8"))
    if "nodejs" in _COMMENT.sub("", build_text):
        del groups["unless_nodejs"]
    defaults = [pattern for patterns in groups.values() for pattern in patterns]
    tree, wanted = _work_tree(root), list(_taken_back(named, defaults))
    patterns = list(defaults)
    if tree is None:
        patterns += _ignored_by(root, ".gitignore", defaults)
    else:
        patterns += [_literal(path) for path in tree.ignored]
    patterns += _ignored_by(root, ".lambdaignore", defaults)
    tracked = tree.tracked if tree else ()
    secrets = [path for path in tracked if not _is_covered(_taken_back([path], groups["secrets"]), wanted)]
    return LeftOut(patterns=tuple(dict.fromkeys((*patterns, *wanted))), secrets=tuple(secrets))


def _is_covered(patterns: Iterable[str], wanted: Sequence[str]) -> bool:
    return all(any(fnmatchcase(pattern, one) for one in wanted) for pattern in patterns)


def _taken_back(paths: Iterable[str], defaults: Sequence[str]) -> Iterator[str]:
    """Patterns that undo the defaults for `paths`: for directories on the way to them, too."""
    for path in paths:
        parts = path.removeprefix("./").split("/")
        for number, part in enumerate(parts):
            if any(fnmatchcase(part, default) for default in defaults):
                yield f"!/{'/'.join(parts[: number + 1])}"


@dataclass(frozen=True, kw_only=True)
class _WorkTree:
    """What git knows of a directory: paths relative to it; a directory that is ignored as a whole ends in `/`."""

    tracked: tuple[str, ...]
    ignored: tuple[str, ...]


def _work_tree(root: Path) -> _WorkTree | None:
    """None where git is not there, or has nothing to do with the directory."""
    tracked = _git(root, "ls-files", "-z")
    ignored = _git(root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    if tracked is None or ignored is None:
        return None
    if not tracked and _git(root, "check-ignore", "-q", ".") is not None:
        # The repository around it ignores it as a whole, and knows nothing of its files.
        return None
    return _WorkTree(tracked=tracked, ignored=ignored)


def _git(root: Path, *arguments: str) -> tuple[str, ...] | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError:
        return None
    return tuple(os.fsdecode(path) for path in done.stdout.split(b"\0") if path) if done.returncode == 0 else None


def _ignored_by(root: Path, name: str, defaults: Sequence[str]) -> Iterator[str]:
    """The patterns of every file `name` below `root`, as if they stood at `root`."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(one for one in folders if not any(fnmatchcase(one, default) for default in defaults))
        if name in files:
            place = Path(folder)
            prefix = _literal(f"{place.relative_to(root).as_posix()}/") if place != root else "/"
            for line in (place / name).read_text(encoding="utf-8").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield _moved(line, prefix)


def _moved(line: str, prefix: str) -> str:
    """A line of an ignore file in the directory `prefix`, for the directory that everything is in."""
    sign, body = ("!", line[1:]) if line.startswith("!") else ("", line)
    if "/" in body.rstrip().rstrip("/"):
        return f"{sign}{prefix}{body.removeprefix('/')}"
    return line if prefix == "/" else f"{sign}{prefix}**/{body}"


def _literal(path: str) -> str:
    """The pattern that is this one path and nothing else."""
    return "/" + "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in path)
