"""PEP 751 locks: written as text, and one best file per distribution chosen for a target.

Choosing among wheels is `packaging`'s work: our own patterns on file names would be wrong sooner or later.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypedDict, cast
from urllib.parse import unquote, urlsplit

from builder.errors import NoWheelForTarget, ResolutionFailed
from builder.paths import is_entry_name, path_problem, shown
from builder.runtimes import Target

if TYPE_CHECKING:
    from packaging.pylock import (
        Package,
        PackageArchive,
        PackageDirectory,
        PackageSdist,
        PackageVcs,
        PackageWheel,
        Pylock,
    )
    from packaging.tags import Tag

    Choice = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist

# Of PEP 751, what we read or write. `Place` is a file or directory, `Commits` a repository.
Place = TypedDict(
    "Place",
    {
        "name": str,
        "url": str,
        "path": str,
        "size": int,
        "hashes": dict[str, str],
        "subdirectory": str,
        "editable": bool,
        "upload-time": datetime.datetime,
    },
    total=False,
)
Commits = TypedDict(
    "Commits",
    {"type": str, "url": str, "path": str, "requested-revision": str, "commit-id": str, "subdirectory": str},
    total=False,
)


class Locked(TypedDict, total=False):
    """A distribution."""

    name: str
    version: str
    index: str
    vcs: Commits
    directory: Place
    archive: Place
    sdist: Place
    wheels: list[Place]
    tool: dict[str, dict[str, str]]


Document = TypedDict("Document", {"lock-version": str, "created-by": str, "packages": list[Locked]}, total=False)
SourceKind = Literal["sdist", "vcs", "directory"]
# Our key below [packages.tool] for the content of a local directory: PEP 751 has no hash for one.
TOOL = "lambdasmith"
_LOCK_AGAIN = "make the lock again with the tool that made it: `uv export --format pylock.toml`, `pip lock`"


@dataclass(frozen=True, kw_only=True)
class LockedWheel:
    """Wheel of a lock. `sha256` in hex, `filename` as the index names it; `url`, or else `path` in the project."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class LockedSource:
    """Distribution of a lock that must be built into a wheel first.

    Args:
        version: "" if only the build knows it. identity: of its content: sha256 of an sdist, commit id, or hash of a
            directory's tree.
        url: of the sdist or repository; "" for a distribution in the project at `path`.
        filename: of an sdist.
        subdirectory: the distribution's directory within it. ref: the requested branch or tag of a repository.
    """

    name: str
    version: str
    kind: SourceKind
    identity: str
    url: str = ""
    path: str = ""
    filename: str = ""
    subdirectory: str = ""
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Content of a lock for one target, each part sorted by name."""

    wheels: tuple[LockedWheel, ...]
    sources: tuple[LockedSource, ...] = ()


def parsed(text: str, what: str = "the lock") -> Document:
    """Parse the TOML of a lock; `check` and `chosen` then check its form.

    Raises:
        ResolutionFailed: it is not TOML.
    """
    try:
        return cast("Document", tomllib.loads(text))
    # Also a number of more digits than Python converts, a date that is none, or brackets without end.
    except (ValueError, RecursionError) as error:
        raise ResolutionFailed(f"{what} is not valid TOML: {error}") from error


def check(document: Document, what: str) -> None:
    """Return if a document that someone else wrote is a lock in form: every value of the kind that PEP 751 names.

    Raises:
        ResolutionFailed: with the place of the first wrong value.
    """
    from packaging.pylock import Pylock, PylockValidationError

    try:
        Pylock.from_dict(document)
    except PylockValidationError as error:
        raise ResolutionFailed(f"{what} is not a valid PEP 751 file: {error}", hint=_LOCK_AGAIN) from error


def dumped(document: Document, only: Sequence[str] = ()) -> str:
    """Return the document as TOML text; equal documents give equal text.

    Args:
        only: what is written of each package, in this order; all of it without.
    """
    # Of no packages the key is written all the same: PEP 751 requires it.
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if key != "packages" or not value]
    for package in document["packages"]:
        values: Mapping[str, object] = package
        keys = [key for key in only or values if key in values]
        lines += ["", "[[packages]]", *(f"{_key(key)} = {_value(values[key])}" for key in keys)]
    return "\n".join([*lines, ""])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"a lock has no {type(value).__name__}")


def select(lock: str, target: Target) -> Selection:
    """Choose the best file per distribution of a PEP 751 lock for `target`.

    Raises:
        NoWheelForTarget: a distribution of the lock has no wheel that the target accepts, and no source.
        ResolutionFailed: the lock is not valid, or a file has no sha256.
    """
    wheels: list[LockedWheel] = []
    sources: list[LockedSource] = []
    for package, choice in chosen(parsed(lock), target):
        locked = _checked(_locked(package, choice, target))
        if isinstance(locked, LockedWheel):
            wheels.append(locked)
        else:
            sources.append(locked)
    return Selection(
        wheels=tuple(sorted(wheels, key=lambda wheel: wheel.name)),
        sources=tuple(sorted(sources, key=lambda source: source.name)),
    )


def chosen(
    document: Document,
    target: Target,
    *,
    extras: Sequence[str] = (),
    group: str | None = None,
    what: str = "the lock",
) -> Iterator[tuple[Package, Choice]]:
    """Return the packages of a lock that `target` needs, each with its best file; messages call the lock `what`.

    Raises:
        NoWheelForTarget, ResolutionFailed: as `select`.
    """
    from packaging.pylock import Pylock, PylockSelectError, PylockValidationError

    try:
        lock = Pylock.from_dict(document)
    except PylockValidationError as error:
        raise ResolutionFailed(f"{what} is not a valid PEP 751 file: {error}", hint=_LOCK_AGAIN) from error
    try:
        yield from lock.select(
            environment=_environment(target),  # type: ignore[arg-type]  # a TypedDict of just these keys
            tags=tags(target),
            extras=extras,
            dependency_groups=[group] if group else None,
        )
    except PylockSelectError as error:
        raise NoWheelForTarget(
            f"{what} does not fit {target.label}: {error}", hint="also lock for this runtime and architecture"
        ) from error
    except ValueError as error:  # a marker that is valid, but has no meaning here
        raise ResolutionFailed(f"{what}: {_meaningless(lock, target) or error}", hint=_LOCK_AGAIN) from error


def _meaningless(lock: Pylock, target: Target) -> str:
    """Return the package whose marker cannot be evaluated, with the marker; "" if there is none."""
    around: Mapping[str, str | frozenset[str]] = {
        **_environment(target),
        "extras": frozenset[str](),
        "dependency_groups": frozenset[str](),
    }
    for package in lock.packages:
        try:
            if package.marker is not None:
                package.marker.evaluate(around, context="lock_file")
        except ValueError:
            return f"package {package.name}: marker {package.marker} compares what cannot be compared"
    return ""


def _checked(locked: LockedWheel | LockedSource) -> LockedWheel | LockedSource:
    """Check the values of a lock that become parts of paths: escapes in a URL may stand for slashes."""
    if isinstance(locked, LockedWheel):
        problem = _file_problem(locked.filename, locked.sha256)
    elif locked.kind == "sdist":
        problem = _file_problem(locked.filename, locked.identity) or path_problem(locked.subdirectory)
    elif locked.kind == "vcs" and not re.fullmatch("[0-9a-f]{40}", locked.identity):
        problem = f"{locked.identity[:80]!r} is not the id of a commit"
    else:
        problem = path_problem(locked.subdirectory)
    if problem:
        raise ResolutionFailed(f"the lock: package {locked.name}: {problem}", hint=_LOCK_AGAIN)
    return locked


def _file_problem(filename: str, sha256: str) -> str | None:
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        return f"{sha256[:80]!r} is not a sha256"
    return None if is_entry_name(filename) else f"{shown(filename)!r} is not the name of a file"


def _locked(package: Package, choice: Choice, target: Target) -> LockedWheel | LockedSource:
    from packaging import pylock

    name, version = str(package.name), str(package.version or "")
    if isinstance(choice, pylock.PackageVcs):
        return _locked_repository(name, version, choice)
    if isinstance(choice, pylock.PackageDirectory):
        return _locked_directory(name, version, choice, package.tool or {})
    url, path = choice.url or "", choice.path or ""
    filename = getattr(choice, "name", None) or unquote(PurePosixPath(urlsplit(url).path or path).name)
    sha256 = choice.hashes.get("sha256")
    if not sha256:
        raise ResolutionFailed(f"the package index gives no sha256 for {filename}")
    if filename.endswith(".whl"):
        if isinstance(choice, pylock.PackageArchive):
            check_tags(filename, target)
        wheel_version = filename.split("-")[1]
        return LockedWheel(
            name=name, version=version or wheel_version, filename=filename, url=url, sha256=sha256, path=path
        )
    below = choice.subdirectory or "" if isinstance(choice, pylock.PackageArchive) else ""
    return LockedSource(
        name=name,
        version=version,
        kind="sdist",
        identity=sha256,
        url=url,
        path=path,
        filename=filename,
        subdirectory=below,
    )


def _locked_repository(name: str, version: str, choice: PackageVcs) -> LockedSource:
    if choice.type != "git":
        raise ResolutionFailed(f"{name} comes from {choice.type}, which cannot be fetched", hint="use git or an index")
    return LockedSource(
        name=name,
        version=version,
        kind="vcs",
        identity=choice.commit_id,
        url=choice.url or "",
        subdirectory=choice.subdirectory or "",
        ref=choice.requested_revision or "",
    )


def _locked_directory(name: str, version: str, choice: PackageDirectory, tools: Mapping[str, object]) -> LockedSource:
    tool = tools.get(TOOL)
    tree = tool.get("tree") if isinstance(tool, Mapping) else None
    return LockedSource(
        name=name,
        version=version,
        kind="directory",
        identity=str(tree or ""),
        path=choice.path,
        subdirectory=choice.subdirectory or "",
    )


def check_tags(filename: str, target: Target, *, why: str = "") -> None:
    """Raise NoWheelForTarget if a wheel of that name is not for `target`; `why` is added to the message."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        _, _, _, offered = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise ResolutionFailed(f"{filename} is not the name of a wheel: {error}") from error
    if not offered & set(tags(target)):
        raise NoWheelForTarget(f"{filename} does not run on {target.label}{why}")


def _environment(target: Target) -> dict[str, str]:
    """Return the PEP 508 environment markers of a Lambda function."""
    major, minor = target.runtime.python or (3, 13)
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{major}.{minor}.0",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{major}.{minor}.0",
        "python_version": f"{major}.{minor}",
        "sys_platform": "linux",
    }


@functools.cache
def tags(target: Target) -> Sequence[Tag]:
    """Return the wheel tags that `target` accepts, best first."""
    from packaging.tags import compatible_tags, cpython_tags

    version = target.runtime.python or (3, 13)
    _, newest = target.runtime.glibc
    # manylinux1, 2010 and 2014 are older names of three of these.
    older = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
    platforms: list[str] = []
    for minor in range(newest, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{target.machine}")
        if minor in older and (target.machine == "x86_64" or minor == 17):
            platforms.append(f"{older[minor]}_{target.machine}")
    platforms.append(f"linux_{target.machine}")
    interpreter = f"cp{version[0]}{version[1]}"
    return (*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms))
