"""Relative posix paths that a user typed: which ones are acceptable."""

from __future__ import annotations

import re

_MAX_PATH = 1024


def path_problem(path: str) -> str | None:
    """Why `path` is no relative posix path that stays where it starts; None if it is one."""
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
    return None


def normalised(path: str) -> str:
    """`path` without empty and `.` segments; "" for the directory itself. Expects no problem in it."""
    return "/".join(segment for segment in path.split("/") if segment not in ("", "."))
