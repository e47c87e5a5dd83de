"""Inputs become a lock: the exact files, with hashes, for one runtime and architecture, as PEP 751 text.

uv resolves, or exports its own lock; the locks of others are read. All results get one form: only packages that the
target needs, local paths relative to the project, git as commits, and every hash of the input checked.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from builder.errors import ResolutionFailed
from builder.network.urls import is_http, is_url, without_secrets
from builder.python import origins
from builder.python.inputs import Inputs, LockFile
from builder.python.pylock import TOOL, Commits, Document, Locked, Place, check, chosen, dumped, parsed
from builder.python.requirements import normalised_name
from builder.python.resolver import Resolver, indexes
from builder.python.uv import Compilation, exported
from builder.runtimes import Target

if TYPE_CHECKING:
    from packaging.version import Version

# Part of every key: raise it when the same inputs would give another lock.
_FORMAT = 3
_LOCK_AGAIN = "lock again with the tool that wrote the file"
# What of a package is kept, in this order.
KEPT = ("name", "version", "index", "vcs", "directory", "archive", "sdist", "wheels", "tool")


def lock_key(inputs: Inputs, target: Target, index_url: str, resolver: str, pins: str = "") -> str:
    """Return the content key of a lock: entries, contents of all files and trees, target, index and resolver version.

    `pins` are the rules that tie names to indexes: a stored lock is one that they allow.
    """
    text = f"lock\0{_FORMAT}\0{target.label}\0{origins.bare(index_url)}\0{resolver}\0{inputs.names}\0{pins}"
    digest = hashlib.sha256(text.encode())
    for name, content in sorted(inputs.contents.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    for path, tree in sorted(inputs.trees.items()):
        digest.update(f"\0tree\0{path}\0{tree}".encode())
    return digest.hexdigest()


def resolve(inputs: Inputs, target: Target, by: Resolver) -> str:
    """Resolve the inputs for `target` and return the PEP 751 lock as text.

    Raises:
        RequirementNotFound, NoWheelForTarget, ResolutionFailed: with uv's explanation as `log_tail`.
        SourceUnreachable: the package index does not answer.
        SourceError: a git dependency cannot be fetched.
        WrongIndex: a distribution does not come from the index that owns its name.
    """
    with tempfile.TemporaryDirectory(prefix="lock-", dir=by.scratch) as scratch:
        document = _resolved(inputs, target, replace(by, scratch=Path(scratch)))
    origins.attribute(document["packages"], inputs, indexes(inputs, by), by.indexes, by.note)
    origins.check_pins(document["packages"], inputs, by.indexes)
    return dumped(document, KEPT)


def _resolved(inputs: Inputs, target: Target, by: Resolver) -> Document:
    lock = inputs.lock
    if lock is None:
        document = Compilation(inputs, target, by).document()
        return _finished(document, inputs, target, root=by.root, folder=by.scratch)
    if lock.kind == "uv":
        # uv writes paths relative to its output
        return _finished(exported(lock, by), inputs, target, root=by.root, folder=by.scratch)
    return adopted(inputs, lock, target, by.root)


def adopted(inputs: Inputs, lock: LockFile, target: Target, root: Path) -> Document:
    """Convert the project's own pylock.toml to the form of our locks.

    Raises:
        ResolutionFailed, NoWheelForTarget: it is not one, or has nothing for `target`.
    """
    document = parsed(inputs.contents[lock.path].decode("utf-8", "replace"), lock.path)
    check(document, lock.path)
    folder = (root / lock.path).parent
    return _finished(document, inputs, target, root=root, folder=folder, extras=lock.extras, group=lock.group)


def _finished(
    document: Document,
    inputs: Inputs,
    target: Target,
    *,
    root: Path,
    folder: Path,
    extras: Sequence[str] = (),
    group: str | None = None,
) -> Document:
    """Return the lock in the form that is kept: for `target` alone, with allowed files, and relative paths.

    Raises:
        ResolutionFailed: a file has none of the input's hashes, or a required hash is missing.
    """
    allowed = _allowed_hashes(inputs)
    packages: list[Locked] = [{**package} for package in document.get("packages", [])]
    for package in packages:
        _hold_hashes(package, allowed, inputs)
        _check_urls(package, inputs)
    document = {**document, "packages": packages}
    what = inputs.lock.path if inputs.lock else ", ".join(inputs.names)
    wanted = {
        (str(package.name), package.version)
        for package, _ in chosen(document, target, extras=extras, group=group, what=what)
    }
    kept = []
    for package in packages:
        if _identity(package) in wanted:
            _relocate(package, inputs, root, folder)
            kept.append(package)
    return {
        "lock-version": document.get("lock-version", "1.0"),
        "created-by": str(document.get("created-by", "uv")),
        "packages": sorted(kept, key=lambda package: (str(package["name"]), str(package.get("version")))),
    }


def _identity(package: Locked) -> tuple[str, Version | None]:
    from packaging.version import Version

    return str(package["name"]), Version(str(package["version"])) if "version" in package else None


def _allowed_hashes(inputs: Inputs) -> dict[str, set[str]]:
    allowed: dict[str, set[str]] = {}
    for requirement in (*inputs.requirements, *inputs.constraints):
        if requirement.hashes and requirement.name:
            allowed.setdefault(requirement.name, set()).update(value.partition(":")[2] for value in requirement.hashes)
    return allowed


def _sha256(file: Place) -> str:
    return file.get("hashes", {}).get("sha256", "")


def _hold_hashes(package: Locked, allowed: Mapping[str, set[str]], inputs: Inputs) -> None:
    """Drop the files of a package that the input's hashes do not allow."""
    name = str(package["name"])
    hashes = allowed.get(normalised_name(name))
    if hashes is None:
        if inputs.options.require_hashes:
            raise ResolutionFailed(
                f"{', '.join(inputs.names)}: --require-hashes, but {name} {package.get('version', '')} has no hash",
                hint="lock again with hashes, for example `uv pip compile --generate-hashes`",
            )
        return
    offered = list(origins.files(package))

    def fits(file: Place) -> bool:
        return _sha256(file) in hashes

    if not any(fits(file) for file in offered):
        origin = next((one.origin for one in inputs.requirements if one.name == normalised_name(name)), inputs.names[0])
        raise ResolutionFailed(
            f"{origin}: {name} {package.get('version', '')} has another hash in the index than in the file: "
            f"{', '.join(_sha256(file) for file in offered[:3])}",
            hint="find out why before you change the hash: the index may serve another file than it once did",
        )
    package["wheels"] = [file for file in package.get("wheels", []) if fits(file)]
    if not package["wheels"]:
        del package["wheels"]
    if "sdist" in package and not fits(package["sdist"]):
        del package["sdist"]


def _check_urls(package: Locked, inputs: Inputs) -> None:
    """Return if every address in a package of a lock can be asked, and has no login in it.

    Raises:
        ResolutionFailed: one is not.
    """
    what = f"{', '.join(inputs.names)}: the URL of {package['name']}"
    places: list[Place | Commits] = [*origins.files(package), package.get("vcs", {}), {"url": package.get("index", "")}]
    for file in places:
        url = str(file.get("url") or "")
        if not url:
            continue
        if not is_url(url):
            raise ResolutionFailed(f"{what}, {without_secrets(url)!r}, is not a URL", hint=_LOCK_AGAIN)
        if "@" in urlsplit(url).netloc:
            raise ResolutionFailed(
                f"{what} has credentials in it", hint="take them out of the file: it is kept with the build"
            )
        if "hashes" in file and not is_http(url):
            raise ResolutionFailed(
                f"{what}, {without_secrets(url)!r}, cannot be fetched: only https:// and http:// are supported",
                hint="a file of the project is named by `path`, relative to the lock",
            )


def _relocate(package: Locked, inputs: Inputs, root: Path, folder: Path) -> None:
    """Make local places relative to the project, and note what a directory contains."""
    key: Literal["directory", "archive", "sdist"]
    for key in ("directory", "archive", "sdist"):
        file: Place = {**package.get(key, {})}
        if "path" not in file:
            continue
        place = (folder / str(file["path"])).resolve()
        file["path"] = PurePosixPath(os.path.relpath(place, root.resolve())).as_posix()
        package[key] = file
        if key == "directory":
            file.pop("editable", None)
            package["tool"] = {TOOL: {"tree": inputs.trees.get(str(file["path"]), "")}}
    wheels = []
    for wheel in package.get("wheels", []):
        if "path" in wheel:
            place = (folder / str(wheel["path"])).resolve()
            wheel = {**wheel, "path": PurePosixPath(os.path.relpath(place, root.resolve())).as_posix()}
        wheels.append(wheel)
    if wheels:
        package["wheels"] = wheels
