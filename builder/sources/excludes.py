"""Files that no project wants in its zip, though they lie in its directory: one list for all doors.

The list is data (`default_excludes.json`), so that programs in other languages read it as well: Terraform by
`jsondecode(file(…))`; deploy.sh, which is copied alone, has a copy that a test compares. Each entry is a name or a
pattern of a name (`*.pem`), which counts at any depth, for files and for directories with all their contents:

- `secrets`: logins, keys and settings with values that are no one else's business;
- `clutter`: what version control, tools and editors keep for themselves;
- `unless_nodejs`: useless, unless the text of the build file has the word `nodejs`, comments aside.

What the build file names stays: `files: [.env]` is explicit, `files: [settings/]` is not. deploy.sh cannot read it, and
sends none of them that git does not have.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from builder.amounts import some
from builder.sources.local import as_regex

BUILD_FILES = ("build.yaml", "build.yml", "build.json")
DATA = Path(__file__).with_name("default_excludes.json")
SECRETS = "secrets"
# Keys of a build file whose values name files. They are found by words: the file has not been read as YAML yet.
_NAMING = frozenset({"files", "inputs", "preinstall", "command", "dependencies", "source_dir"})
_TOKEN = re.compile(
    r"""(?:"(?P<quoted>[\w-]+)"|'(?P<single>[\w-]+)'|(?P<bare>[\w-]+)(?=[ \t]*:(?:\s|$)))[ \t]*:"""
    r"""|"(?P<double>[^"]*)"|'(?P<apostrophe>[^']*)'|(?P<word>[^\s,\[\]{}"']+)"""
)
_COMMENT = re.compile(r"(?:^|\s)#.*", re.MULTILINE)
# No build file is this long: whatever is after the first megabyte is not read for names.
_SHOWN, _READ = 5, 1 << 20


@functools.cache
def default_excludes() -> Mapping[str, tuple[str, ...]]:
    """Return the groups of the list by name, in its order."""
    groups: dict[str, list[str]] = json.loads(DATA.read_text(encoding="utf-8"))
    return {name: tuple(patterns) for name, patterns in groups.items()}


class Excludes:
    """The list as it applies to one project."""

    def __init__(self, build_file: str, directory: str = "") -> None:
        """Find the entries of the list that the project wants nevertheless.

        Args:
            build_file: its text; "" where there is none.
            directory: of the project, relative to the root of the paths to ask about.
        """
        groups = dict(default_excludes())
        if "nodejs" in _COMMENT.sub("", build_file):
            del groups["unless_nodejs"]
        self._plain = {name: group for group, names in groups.items() for name in names if "*" not in name}
        patterns = [(name, group) for group, names in groups.items() for name in names if "*" in name]
        # Asked for every name in a tree of perhaps 50,000 files: the quick checks come first, since most match nothing.
        self._ends = tuple(name[1:] for name, _ in patterns if name.rfind("*") == 0)
        rest = "|".join(as_regex(name, hidden=True) for name, _ in patterns if name.rfind("*") > 0)
        self._rest = re.compile(rest or r"(?!)")
        self._patterns = [(re.compile(as_regex(name, hidden=True)), group) for name, group in patterns]
        self._kept = re.compile("|".join(self._named(build_file, directory)) or r"(?!)")

    def group_of(self, path: str) -> str | None:
        """Return the group that leaves out the posix path of a file or directory; None if none does."""
        parts = path.split("/")
        for end, part in enumerate(parts, 1):
            if (group := self.named(part)) and not self._kept.fullmatch("/".join(parts[:end])):
                return group
        return None

    def named(self, name: str) -> str | None:
        """Return the group that has the name, wherever the file is, and whatever the build file says.

        A secret in capitals is also a secret: `.ENV`.
        """
        if group := self._written(name):
            return group
        small = name.lower()
        return SECRETS if small != name and self._written(small) == SECRETS else None

    def _written(self, name: str) -> str | None:
        if group := self._plain.get(name):
            return group
        if not name.endswith(self._ends) and not self._rest.fullmatch(name):
            return None
        return next((group for pattern, group in self._patterns if pattern.fullmatch(name)), None)

    def _named(self, build_file: str, directory: str) -> Iterator[str]:
        """Yield regular expressions for paths that the build file names and the list would leave out."""
        said = list(_said(build_file))
        folders = {_plain(directory), *(_plain(f"{directory}/{value}") for key, value in said if key == "source_dir")}
        for entry in {_plain(value) for _, value in said}:
            parts = entry.split("/")
            for end, part in enumerate(parts, 1):
                if self.named(part):
                    path = as_regex("/".join(parts[:end]))
                    yield from (re.escape(f"{folder}/" if folder else "") + path for folder in folders)


def _plain(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _said(build_file: str) -> Iterator[tuple[str, str]]:
    """Yield (key, value) for all values of the keys that name files; every word of a command."""
    key = ""
    for line in build_file.splitlines():
        for token in _TOKEN.finditer(_COMMENT.sub("", line)):
            if name := token["quoted"] or token["single"] or token["bare"]:
                key = name
            elif key in _NAMING:
                text = token["word"] or token["double"] or token["apostrophe"] or ""
                yield from ((key, value) for value in {text, *text.split()})


def text_of_build_file(directory: Path, wanted: str | None) -> str:
    """Read what may be the build file in `directory`: `wanted`, or all with a usual name; "" without any.

    It only serves to see which files are named; errors in it are reported when the build file itself is read.
    """
    texts = []
    # All of them: which one counts is decided later, and a file named in any is meant to be shipped.
    for name in [wanted] if wanted else BUILD_FILES:
        with contextlib.suppress(OSError), (directory / name).open(encoding="utf-8", errors="replace") as file:
            texts.append(file.read(_READ))
    return "\n".join(texts)


def leave_out(root: Path, excludes: Excludes) -> dict[str, list[str]]:
    """Remove from the directory `root` what the list names; return the removed paths by group, sorted."""
    gone: dict[str, list[str]] = {}
    for folder, directories, files in os.walk(root):
        below, skipped = Path(folder).relative_to(root).as_posix(), set[str]()
        for name in (*directories, *files):
            # Directories above were decided before os.walk came here, so only the name is looked at first.
            if excludes.named(name) and (group := excludes.group_of(path := _plain(f"{below}/{name}"))):
                gone.setdefault(group, []).append(path)
                if name in directories:
                    skipped.add(name)
        directories[:] = [name for name in directories if name not in skipped]
    for path in (path for paths in gone.values() for path in paths):
        target = root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()
    return {group: sorted(paths) for group, paths in gone.items()}


def left_out_warning(gone: Iterable[str]) -> str:
    """Return a warning about the secrets that were left out; "" if there are none."""
    paths = sorted(gone)
    if not paths:
        return ""
    return (
        f"left out, because such files usually hold secrets: {some(paths, _SHOWN)}; "
        "if one of them belongs to the function, name it in the build file's `files`"
    )
