"""Checks relative posix paths, typed by a user or stored in a tree."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MAX_DEPTH, MAX_PATH_BYTES = 128, 2048
MAX_ENTRIES = 250_000  # of one tree or archive
_MAX_PATH = 1024
# The same as `path_problem`, except for the length: as far as JSON Schema can express it, for the whole text.
PATH_PATTERN = r"(?!/)(?!(?:.*/)?\.\.(?:/|$))(?!(?:.*/)?\.[gG][iI][tT](?:/|$))[^\x00-\x1f\x7f\\]{0,1024}"
_MAX_FOLLOWED = 40  # symbolic links on one path: Linux's own limit
_MAX_NAME_BYTES = 255  # accepted by every file system
_MAX_DISK_PATH = 4096


def path_problem(path: str) -> str | None:
    """Say why `path` is not a relative posix path that stays where it starts; None if it is."""
    if len(path) > _MAX_PATH:
        return f"is longer than {_MAX_PATH} characters"
    if re.search(r"[\x00-\x1f\x7f\\]", path):
        return f"{path!r} contains backslashes or control characters; write it with /"
    if path.startswith("/"):
        return f"{path!r} is absolute; write it relative to the project"
    segments = path.split("/")
    if ".." in segments:
        return f"{path!r} leaves the project with .."
    if any(segment.lower() == ".git" for segment in segments):
        return f"{path!r} is inside .git"
    problem = name_problem(path)
    return f"{shown(path)} {problem}" if problem else None


def name_problem(path: str) -> str | None:
    """Say why no file system can have a file called `path`, whatever it leads to; None if one can."""
    if "\0" in path:
        return "has a null byte in it"
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        return "contains half of a surrogate pair"
    if len(encoded) > _MAX_DISK_PATH or any(len(name) > _MAX_NAME_BYTES for name in encoded.split(b"/")):
        return f"is longer than a name ({_MAX_NAME_BYTES} bytes) or a path ({_MAX_DISK_PATH:,}) can be"
    return None


def normalised(path: str) -> str:
    """Return `path` without empty and `.` segments; "" for the directory itself. Expects no problem in it."""
    return "/".join(segment for segment in path.split("/") if segment not in ("", "."))


def is_entry_name(name: str) -> bool:
    """Tell whether a file or directory of a project may have the name."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name or name.lower() == ".git":
        return False
    return name_problem(name) is None


def climbs(path: str, target: str) -> bool:
    """Tell whether a symbolic link at `path` with `target` is absolute or goes up beyond where `path` begins."""
    return target.startswith("/") or os.path.normpath(PurePosixPath(path).parent / target).split("/")[0] == ".."


def leaves(root: Path, path: str) -> bool:
    """Tell whether the existing symbolic link `path` below `root` really ends elsewhere, through any other links.

    Links that go round end nowhere; a chain of more links than any system follows counts as leaving.
    """
    # Walked by hand: `resolve` follows links that leave `root`, and can't tell whether it did on the way.
    at: list[str] = []
    todo = path.split("/")[::-1]
    followed, seen = 0, set()
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not at:
                return True
            at.pop()
            continue
        here = "/".join((*at, name))
        try:
            target = os.readlink(root / here)  # noqa: PTH115  # a Path would drop parts that matter
        except OSError:  # not a link, or nothing at all
            at.append(name)
            continue
        followed += 1
        seen.add(here)
        if target.startswith("/"):
            return True
        # More links than distinct ones: a circle, which leads nowhere.
        if followed > _MAX_FOLLOWED:
            return len(seen) > _MAX_FOLLOWED
        todo.extend(target.split("/")[::-1])
    return False


def upwards(start: Path, end: Path) -> Iterator[Path]:
    """Yield `start` and the directories above it up to `end`, or up to the root if `end` is none of them."""
    for folder in (start, *start.parents):
        yield folder
        if folder == end:
            return


def shown(path: str) -> str:
    """Return `path` for a message: control characters escaped, not long."""
    text = path if path.isprintable() else repr(path)
    return text if len(text) <= 200 else f"{text[:100]}...{text[-97:]}"
