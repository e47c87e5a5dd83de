"""Requirement files become a lock: the exact wheels, with hashes, for one runtime and architecture.

uv resolves; the lock is its PEP 751 file. Choosing among the wheels of a locked distribution is `packaging`'s work.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from builder import process
from builder.errors import (
    CommandFailed,
    InvalidBuildFile,
    NoWheelForTarget,
    PathNotFound,
    RequirementNotFound,
    ResolutionFailed,
    SourceUnreachable,
)
from builder.runtimes import Target

if TYPE_CHECKING:
    from packaging.tags import Tag

_NESTED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=)(?P<path>\S+)")
_CAUSE = re.compile(r"Because (?P<name>[A-Za-z0-9._-]+)(?P<version>==\S+)?")
_UNREACHABLE = ("Failed to fetch", "error sending request", "client error (Connect)", "Request failed after")


@dataclass(frozen=True, kw_only=True)
class LockedWheel:
    """One distribution of a lock. `sha256` in hex, `filename` as the index names the wheel."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RequirementFiles:
    """The requirement files of a component, as typed in the build file, and all that they include, path → content.

    Paths are relative to the project.
    """

    names: tuple[str, ...]
    contents: Mapping[str, bytes]


def read_requirement_files(names: Sequence[str], root: Path) -> RequirementFiles:
    """Read the named files below `root` and every file that they include by -r or -c.

    Raises:
        PathNotFound: a file is missing.
        InvalidBuildFile: a kind of file that is not understood, or one outside the project.
    """
    contents: dict[str, bytes] = {}
    pending = [(name, "the build file") for name in names]
    while pending:
        name, origin = pending.pop()
        if name in contents:
            continue
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise InvalidBuildFile(f"{origin}: {name} lies outside the project")
        if not path.is_file():
            raise PathNotFound(f"{origin}: {name} does not exist", hint="paths are relative to the build file")
        _refuse_unknown_kind(name)
        contents[name] = path.read_bytes()
        if path.suffix != ".toml":
            nested = (_NESTED.match(line) for line in contents[name].decode("utf-8", "replace").splitlines())
            folder = PurePosixPath(name).parent
            pending += [(str(folder / match["path"]), name) for match in nested if match]
    return RequirementFiles(names=tuple(names), contents=contents)


def _refuse_unknown_kind(name: str) -> None:
    base = PurePosixPath(name).name
    if base.endswith((".txt", ".in")) or base == "pyproject.toml":
        return
    raise InvalidBuildFile(
        f"layers.dependencies: {name} is not a kind of file that can be locked yet",
        hint="use a requirements.txt or a pyproject.toml; for other tools, export one (for example `uv export`)",
    )


def lock_key(files: RequirementFiles, target: Target, index_url: str, resolver: str) -> str:
    """The content key of a lock: file names and contents, target, index and resolver version."""
    digest = hashlib.sha256(f"lock\0{target.label}\0{index_url}\0{resolver}\0{files.names}".encode())
    for name, content in sorted(files.contents.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _uv(search_path: str) -> str:
    """The uv binary of our layer (/opt/bin) or of the environment that this Python belongs to."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv", path=search_path)
    if found is None:
        raise ResolutionFailed("uv is not in the builder's layer", hint="run `python setup.py update`")
    return found


def resolver_version() -> str:
    """What resolves, for keys: a new uv may choose other versions."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"uv {version('uv')}"
    except PackageNotFoundError:
        return "none"


def resolve(
    files: RequirementFiles,
    target: Target,
    *,
    root: Path,
    scratch: Path,
    environment: Mapping[str, str],
    timeout_s: float,
) -> str:
    """Resolve the files for `target` and return the PEP 751 lock as text.

    Args:
        environment: of the child: cache directory, index, trust store.
        scratch: an existing directory for the output.

    Raises:
        RequirementNotFound, NoWheelForTarget, ResolutionFailed: with uv's explanation as `log_tail`.
        SourceUnreachable: the package index does not answer.
    """
    uv = _uv(environment.get("PATH", ""))
    output = scratch / "pylock.toml"
    major, minor = target.runtime.python or (3, 13)
    command = [uv, "pip", "compile", *files.names, "--quiet", "--format", "pylock.toml", "--output-file", str(output)]
    command += ["--python-version", f"{major}.{minor}", "--python-platform", _uv_platform(target)]
    command += ["--only-binary", ":all:", "--no-header", "--no-annotate", "--no-config", "--python", sys.executable]
    try:
        process.run(command, cwd=root, environment=environment, timeout_s=timeout_s, what="resolving dependencies")
    except CommandFailed as error:
        raise _resolution_error(error, files, target) from error
    return output.read_text()


def _uv_platform(target: Target) -> str:
    # uv knows no 2_26 or 2_27: what runs on Amazon Linux 2 must be asked for as 2_17.
    glibc = "2_34" if target.runtime.glibc >= (2, 34) else "2_17"
    return f"{target.machine}-manylinux_{glibc}"


def _resolution_error(
    error: CommandFailed, files: RequirementFiles, target: Target
) -> ResolutionFailed | SourceUnreachable:
    text = " ".join(error.log_tail)
    named = ", ".join(files.names)
    match = _CAUSE.search(text)
    subject = f"{match['name']}{match['version'] or ''}" if match else ""
    if any(word in text for word in _UNREACHABLE) and "not found in the package registry" not in text:
        return SourceUnreachable(
            f"{named}: the package index cannot be reached",
            hint="check index_url in the builder's configuration and the function's network",
            log_tail=error.log_tail,
        )
    if "no usable wheels" in text or "no wheels with a matching" in text:
        return NoWheelForTarget(
            f"{named}: {subject} has no wheel for {target.runtime.name} on {target.architecture} "
            f"(glibc {'.'.join(map(str, target.runtime.glibc))})",
            hint="choose a version that offers one, another runtime or architecture; see the resolver's words above",
            log_tail=error.log_tail,
        )
    if "not found in the package registry" in text or "there is no version of" in text:
        return RequirementNotFound(
            f"{named}: {subject} does not exist in the package index",
            hint="check the spelling and the version",
            log_tail=error.log_tail,
        )
    return ResolutionFailed(f"{named}: the requirements cannot be resolved", log_tail=error.log_tail)


def select(lock: str, target: Target) -> tuple[LockedWheel, ...]:
    """The one best wheel per distribution of a PEP 751 lock for `target`, sorted by name.

    Raises:
        NoWheelForTarget: a distribution of the lock has no wheel that the target accepts.
        ResolutionFailed: the lock is not valid, or a wheel has no sha256.
    """
    from packaging.pylock import Package, PackageWheel, Pylock, PylockSelectError, PylockValidationError

    try:
        choices = list(
            Pylock.from_dict(tomllib.loads(lock)).select(
                environment=_environment(target),  # type: ignore[arg-type]  # a TypedDict of just these keys
                tags=_tags(target),
            )
        )
    except PylockSelectError as error:
        raise NoWheelForTarget(f"the lock does not fit {target.label}: {error}") from error
    except (PylockValidationError, tomllib.TOMLDecodeError) as error:
        raise ResolutionFailed(f"the lock is not a valid PEP 751 file: {error}") from error

    def locked(package: Package, wheel: PackageWheel) -> LockedWheel:
        url = wheel.url or ""
        filename = wheel.name or unquote(PurePosixPath(urlsplit(url).path).name)
        sha256 = wheel.hashes.get("sha256")
        if not sha256:
            raise ResolutionFailed(f"the package index gives no sha256 for {filename}")
        return LockedWheel(
            name=str(package.name), version=str(package.version), filename=filename, url=url, sha256=sha256
        )

    wheels = []
    for package, choice in choices:
        if not isinstance(choice, PackageWheel):
            raise NoWheelForTarget(f"{package.name} {package.version} has no wheel for {target.label}")
        wheels.append(locked(package, choice))
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))


def _environment(target: Target) -> dict[str, str]:
    """PEP 508 environment markers of a Lambda function."""
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


def _tags(target: Target) -> list[Tag]:
    from packaging.tags import compatible_tags, cpython_tags

    version = target.runtime.python or (3, 13)
    _, newest = target.runtime.glibc
    platforms = [f"manylinux_2_{minor}_{target.machine}" for minor in range(newest, 4, -1)]
    platforms += [f"manylinux2014_{target.machine}", f"linux_{target.machine}"]
    interpreter = f"cp{version[0]}{version[1]}"
    return [*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms)]
