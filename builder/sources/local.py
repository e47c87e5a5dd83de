"""Selects the files of a project on disk that a component wants.

The rules for `files` and `exclude` of a build file:

- an entry is a file, a directory (with everything below it, `templates/` or `templates`) or a pattern (`*.py`,
  `pkg/**`, `img/?.png`); `*` stops at `/` and, as in a shell, does not begin a hidden name; `**` does not stop; a
  directory that a pattern matches counts as listed;
- everything keeps its path relative to `source_dir`; no entry at all means everything below `source_dir`;
- `exclude` takes files away again: a pattern without `/` is compared with every name on the path, others with the path;
- `.git`, `__pycache__` and `*.pyc` are never taken; `.npmrc`, which may have a login for npm, is shipped only where an
  entry ends with that very name; symbolic links are followed inside the project, refused beyond it.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from builder.errors import LfsMissing, PathNotFound, UnsafeSource
from builder.nearest import alike, meant
from builder.sources.checkout import LFS_HEADER, LFS_MAX_BYTES

_NEVER = frozenset({".git", "__pycache__"})
# npm reads it while it installs; no function needs it at run time, and it may hold a login.
_NPMRC = ".npmrc"
_MAGIC = re.compile(r"[*?\[]")


def select_files(
    root: Path, source_dir: str, files: Sequence[str], exclude: Sequence[str], *, to_ship: bool = True
) -> tuple[tuple[str, Path], ...]:
    """Return the files that `files` selects below `root`/`source_dir`: (path relative to it, real path), sorted.

    `to_ship=False` is for files that are read but not packaged: Git LFS pointers are let through.

    Raises:
        PathNotFound: entries select nothing (`problems` has one each, with the nearest existing name).
        UnsafeSource: a link or path that leaves `root`, or something that is neither file, directory nor link.
        LfsMissing: a file is a Git LFS pointer, whose content is not here.
    """
    base = directory_in(root, source_dir)
    if not base.is_dir():
        problem = f"source_dir: {source_dir!r} is not a directory{nearest_path(root, source_dir)}"
        raise PathNotFound(problem, hint="source_dir is relative to the project", problems=(problem,))
    chosen: dict[str, Path] = {}
    missing: list[str] = []
    for entry in files or ("",):
        found = dict(_selected(root, base, entry))
        if not found and entry:
            missing.append(missing_entry(base, entry))
        # A pattern or a directory never ships npm's logins; only the file's own name does.
        if to_ship and not is_npmrc(entry.rstrip("/")):
            found = {name: path for name, path in found.items() if not is_npmrc(name)}
        chosen.update(found)
    if missing:
        raise PathNotFound("; ".join(missing), hint="files are relative to source_dir", problems=missing)
    patterns = [_exclusion(pattern) for pattern in exclude]
    kept = {name: path for name, path in chosen.items() if not any(pattern.match(name) for pattern in patterns)}
    if to_ship:
        refuse_lfs_pointers(kept)
    return tuple(sorted(kept.items()))


def placed_files(root: Path, place: str, to: str, boundary: Path) -> tuple[tuple[str, Path], ...]:
    """Return a file or everything below a directory, at another place in the zip: (path there, real path), sorted.

    Args:
        place: where it is, relative to `root`; it may climb out of that. boundary: what it may not leave.

    Raises:
        PathNotFound: it does not exist, or is an empty directory.
        UnsafeSource: it leaves `boundary`.
        LfsMissing: a file is a Git LFS pointer, whose content is not here.
    """
    path = Path(os.path.normpath(root / place))
    if not _inside(path, boundary):
        raise UnsafeSource(f"{place!r} leaves the repository")
    if path.is_dir():
        found = dict(_below(boundary, path, to, lambda name: True))
        found = {name: file for name, file in found.items() if not is_npmrc(name)}
    elif path.is_symlink() or path.exists():
        found = {to: _file(boundary, path, to)}
    else:
        found = {}
    if not found:
        what = "is an empty directory" if path.is_dir() else f"does not exist{nearest_path(root, place)}"
        raise PathNotFound(f"{place!r} {what}", hint="from is relative to source_dir")
    refuse_lfs_pointers(found)
    return tuple(sorted(found.items()))


def fixed_part(entry: str) -> str:
    """Return the beginning of an entry of `files` up to its first part that is a pattern."""
    parts = [part for part in entry.split("/") if part not in ("", ".")]
    return "/".join(itertools.takewhile(lambda part: not _MAGIC.search(part), parts))


def is_npmrc(path: str) -> bool:
    """Tell by its name whether the file may hold npm's logins."""
    return path.rpartition("/")[2].lower() == _NPMRC


def directory_in(root: Path, path: str, boundary: Path | None = None) -> Path:
    """Return `root`/`path`, which need not exist.

    Raises:
        UnsafeSource: it is not below `boundary`, or `root` where that is not given.
    """
    place = Path(os.path.normpath(root / path)) if boundary else root / path
    if not _inside(place, boundary or root):
        raise UnsafeSource(f"{path!r} leaves the {'repository' if boundary else 'project'}")
    return place


def missing_entry(base: Path, entry: str) -> str:
    """Say why `entry` selects nothing below `base`, with the nearest existing name."""
    path = base / entry.strip("/")
    if not _MAGIC.search(entry):
        if path.is_dir():
            return f"{entry!r} is an empty directory (if it is a submodule, the warnings say why it was not fetched)"
        if path.is_file():
            return f"{entry!r} is a file, not a directory" if entry.endswith("/") else f"{entry!r} is never packaged"
    what = "matches nothing" if _MAGIC.search(entry) else "does not exist"
    return f"{entry!r} {what}{nearest_path(base, entry)}"


def nearest_path(base: Path, wanted: str) -> str:
    """Return `; did you mean X?` for the file or directory below `base` whose path or name is most like `wanted`."""
    names: list[str] = []
    for directory, below, files in os.walk(base):
        below[:] = sorted(name for name in below if name not in _NEVER)
        relative = Path(directory).relative_to(base)
        names += [(relative / name).as_posix() for name in [*files, *below]]
        # A suggestion is not worth a walk through a large tree, nor the comparisons.
        if len(names) > 2000:
            break
    wanted = wanted.strip("/")
    same_name = [name for name in names if name.rpartition("/")[2] == wanted.rpartition("/")[2]]
    return meant(alike(wanted, same_name, cutoff=0.0) if same_name else alike(wanted, names))


def _selected(root: Path, base: Path, entry: str) -> Iterator[tuple[str, Path]]:
    """Yield (name, real path) of every file that one entry selects; nothing if it matches nothing."""
    parts = [part for part in entry.split("/") if part not in ("", ".")]
    if ".." in parts or entry.startswith("/") or "\0" in entry:
        raise UnsafeSource(f"{entry!r} leaves the project")
    if any(_MAGIC.search(part) for part in parts):
        pattern = re.compile(as_regex("/".join(parts)) + r"(?:/.*)?", re.DOTALL)
        start = 0
        # The fixed beginning of a pattern is entered directly: `docs/**/*.md` need not walk everything.
        while not _MAGIC.search(parts[start]):
            start += 1
        fixed = "/".join(parts[:start])
        yield from _below(root, base / fixed, fixed, lambda name: bool(pattern.fullmatch(name)))
        return
    name = "/".join(parts)
    path = base / name
    if path.is_dir():
        yield from _below(root, path, name, lambda name: True)
    elif (path.is_symlink() or path.exists()) and not entry.endswith("/") and not _never(parts):
        yield name, _file(root, path, name)


def _below(
    root: Path, directory: Path, prefix: str, wanted: Callable[[str], bool], above: tuple[Path, ...] = ()
) -> Iterator[tuple[str, Path]]:
    """Yield every file below `directory` whose name is `wanted`.

    `above` are the real directories on the way, to notice links that go round. Unwanted links may lead anywhere: they
    are not followed.
    """
    if _never(prefix.split("/")) or not directory.is_dir():
        return
    real = directory.resolve()
    if not _inside(directory, root):
        raise _leaves(prefix, directory)
    if _goes_round(real, above):
        raise UnsafeSource(f"{prefix}: the symbolic link leads back to a directory above it")
    for path in sorted(directory.iterdir()):
        name = f"{prefix}/{path.name}" if prefix else path.name
        if path.name in _NEVER or path.suffix == ".pyc":
            continue
        if not path.is_dir():
            if wanted(name):
                yield name, _file(root, path, name)
        elif (
            not path.is_symlink()
            or wanted(name)
            or (_inside(path, root) and not _goes_round(path.resolve(), (*above, real)))
        ):
            yield from _below(root, path, name, wanted, (*above, real))


def _goes_round(real: Path, above: Sequence[Path]) -> bool:
    return any(directory.is_relative_to(real) for directory in above)


def _file(root: Path, path: Path, name: str) -> Path:
    """Return the real path of a file that may be taken."""
    if not name.isprintable():
        raise UnsafeSource(f"{name!r}: the name has characters that cannot be packaged", hint="rename the file")
    if not _inside(path, root):
        raise _leaves(name, path)
    try:
        mode = path.stat().st_mode
    except OSError:
        raise UnsafeSource(f"{name}: the symbolic link points to nothing", hint="remove the link") from None
    if not stat.S_ISREG(mode):
        raise UnsafeSource(f"{name}: is neither a file nor a directory")
    return path.resolve()


def _leaves(name: str, path: Path) -> UnsafeSource:
    target = f" (it points to {str(path.readlink())!r})" if path.is_symlink() else ""
    return UnsafeSource(
        f"{name}: the symbolic link leaves the project{target}", hint="replace the link by the file itself"
    )


def _inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _never(parts: Sequence[str]) -> bool:
    return bool(_NEVER.intersection(parts)) or parts[-1].endswith(".pyc")


def refuse_lfs_pointers(files: Mapping[str, Path]) -> None:
    """Refuse to ship Git LFS pointers instead of their content; `files` are real paths by name.

    Raises:
        LfsMissing: some are pointers; `problems` has one each.
    """
    pointers = {}
    for name, path in sorted(files.items()):
        if path.stat().st_size <= LFS_MAX_BYTES:
            with path.open("rb") as file:
                if file.read(len(LFS_HEADER)) == LFS_HEADER:
                    pointers[name] = path
    if pointers:
        error = LfsMissing(
            "",
            hint="push the content (git lfs push --all origin), or commit the file itself, exclude it, or download it "
            "in preinstall",
        )
        error.lacking = {str(path): f"{name}: is a Git LFS pointer" for name, path in pointers.items()}
        raise error.with_message()


def add_reasons(error: LfsMissing, root: Path, reasons: Mapping[str, str]) -> None:
    """Add the reason why each file could not be had to the error; `reasons` are by posix paths relative to `root`."""
    explained = {}
    for pointer, problem in error.lacking.items():
        path = Path(os.path.relpath(os.path.realpath(pointer), os.path.realpath(root))).as_posix()
        explained[pointer] = f"{problem}: {reasons[path]}" if path in reasons else problem
    if explained:
        error.lacking = explained
        error.with_message()


def _exclusion(pattern: str) -> re.Pattern[str]:
    bare = pattern.strip("/").removeprefix("./")
    anywhere = "" if "/" in bare else r"(?:.*/)?"
    return re.compile(rf"{anywhere}{as_regex(bare, hidden=True)}(?:/.*)?\Z", re.DOTALL)


def as_regex(pattern: str, *, hidden: bool = False) -> str:
    """Return a pattern as a regular expression for the whole path. `hidden`: wildcards may match a leading dot."""
    visible = "" if hidden else r"(?!\.)"
    result, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        first = visible if at == 0 or pattern[at - 1] == "/" else ""
        at += 1
        if pattern.startswith("**/", at - 1) and (at == 1 or pattern[at - 2] == "/"):
            result, at = f"{result}(?:.*/)?", at + 2
        elif pattern.startswith("**", at - 1):
            result, at = f"{result}.*", at + 1
        elif character == "*":
            result += first + "[^/]*"
        elif character == "?":
            result += first + "[^/]"
        elif character == "[" and (end := pattern.find("]", at + 1)) > 0 and "/" not in pattern[at:end]:
            result += first + _character_class(pattern[at:end])
            at = end + 1
        else:
            result += re.escape(character)
    return result


def _character_class(inside: str) -> str:
    """Translate `[inside]` of a pattern; a range that goes backwards matches nothing, as in a shell."""
    negated = inside[0] in "!^"
    escaped = re.sub(r"([\\\[\]&~|^])", r"\\\1", inside[1:] if negated else inside)
    expression = f"(?!/)[{'^' if negated else ''}{escaped}]"
    try:
        re.compile(expression)
    except re.error:
        return r"(?!)"
    return expression
