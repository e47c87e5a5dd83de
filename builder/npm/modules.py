"""Files of an artifact from what `npm ci` has installed: links followed, useless files left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import ArtifactConflict, UnsafeSource
from builder.jsontext import read_json
from builder.npm.lockfile import MANIFEST, Lock
from builder.npm.prune import RULES
from builder.python.prune import Pruned, PruneOptions, prune
from builder.sources.local import is_npmrc

MODULES = "node_modules"
# npm's own notes, and commands for a terminal. Other hidden names belong to packages, such as .prisma.
_NPMS = frozenset({".bin", ".package-lock.json", ".cache"})


@dataclass(kw_only=True)
class Modules:
    """Installed packages: files by their path below `node_modules`, places of packages as the lock names them, and
    notes for the user.
    """

    files: dict[str, Path] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    notes: tuple[str, ...] = ()


def installed(lock: Lock, top: Path, repository: Path, only: Collection[str] | None) -> Modules:
    """Return the packages that the code of `lock.home` finds.

    Args:
        top: where npm has worked, a copy of the lock's directory in `repository`, a copy of the whole.
        only: the places of the wanted packages; None for all.

    Raises:
        ArtifactConflict: a workspace and its root have different versions of a package that both need.
        UnsafeSource: a link leads out of the project.
    """
    found = _Walk(lock, top, repository, only)
    found.folder(top / MODULES, "")
    # npm puts a package into the workspace if its root has another version of it.
    if lock.workspace:
        below = _Walk(lock, top, repository, only)
        below.folder(top / lock.workspace / MODULES, "")
        if twice := sorted(below.top_level & found.top_level):
            raise ArtifactConflict(
                f"{', '.join(twice)}: {lock.workspace} needs one version and its dependencies another, in the same "
                "place",
                hint="make the versions agree and run `npm install`; `npm ls NAME` shows who wants which",
            )
        found.modules.files |= below.modules.files
        found.modules.places |= below.modules.places
    return found.modules


class _Walk:
    def __init__(self, lock: Lock, top: Path, repository: Path, only: Collection[str] | None) -> None:
        self._top, self._repository, self._only = top.resolve(), repository.resolve(), only
        self._home = (top / lock.workspace).resolve()
        self.modules, self.top_level = Modules(), set[str]()

    def folder(self, folder: Path, prefix: str, above: tuple[Path, ...] = ()) -> None:
        """Add the packages in one `node_modules`."""
        for name, path in _packages(folder):
            real = path.resolve()
            if not real.is_relative_to(self._repository):
                raise UnsafeSource(f"{MODULES}/{prefix}{name}: the link leaves the project")
            place = Path(os.path.relpath(real, self._top)).as_posix()
            # Links between workspaces may form a circle.
            if real == self._home or real in above or not self._is_wanted(name, real, place):
                continue
            if not prefix:
                self.top_level.add(name)
            self.modules.places.add(place)
            for below, file in _files(real, self._repository):
                self.modules.files[f"{prefix}{name}/{below}"] = file
            self.folder(real / MODULES, f"{prefix}{name}/{MODULES}/", (*above, real))

    def _is_wanted(self, name: str, real: Path, place: str) -> bool:
        if name.startswith("."):
            return self._only is None
        if self._only is not None and place not in self._only:
            return False
        # Locks of older npm don't say which C library a package is for, so npm installs those for both.
        libc = _manifest(real).get("libc")
        return not isinstance(libc, list) or "glibc" in libc


def _manifest(folder: Path) -> dict[str, object]:
    try:
        content = read_json((folder / MANIFEST).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _packages(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and directory of each package in a `node_modules`."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name in _NPMS or not path.is_dir():
            continue
        if path.name.startswith("@"):
            yield from ((f"{path.name}/{below.name}", below) for below in sorted(path.iterdir()) if below.is_dir())
        else:
            yield path.name, path


def _files(folder: Path, repository: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, Path]]:
    """Yield every file of a package, except for packages inside."""
    for path in sorted(folder.iterdir()):
        if (not above and path.name == MODULES) or is_npmrc(path.name):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(repository):
            raise UnsafeSource(f"{MODULES}/…/{path.name}: the link leaves the project")
        if path.is_file():
            yield path.name, path
        elif path.is_dir() and path.resolve() not in above:
            yield from (
                (f"{path.name}/{below}", file) for below, file in _files(path, repository, (*above, path.resolve()))
            )


def taken(modules: Modules, prefix: str, out: Path, options: PruneOptions) -> tuple[list[tuple[str, Path]], Pruned]:
    """Prune the files and move them to `out`: (`prefix` and path below node_modules, path)."""
    removed = prune(modules.files, options, lambda path: modules.files[path].read_bytes(), RULES)
    pruned, files = Pruned(), []
    for name, path in sorted(modules.files.items()):
        if rule := removed.get(name):
            pruned.count(rule, path.stat().st_size)
            continue
        target = out / f"{prefix}{name}"
        put(path, target)
        files.append((f"{prefix}{name}", target))
    return files, pruned


def put(path: Path, target: Path) -> None:
    """Link the file to another place, links followed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Linked rather than copied: packages may have tens of thousands of files.
        os.link(path.resolve(), target)
    except OSError:  # on another disk
        shutil.copy(path, target)
