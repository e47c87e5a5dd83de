"""npm's lock: which packages it has, and which files of the project npm needs to install them.

https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.jsontext import read_json
from builder.paths import name_problem, shown, upwards

# In npm's order: the first that exists counts.
NAMES = ("npm-shrinkwrap.json", "package-lock.json")
MANIFEST = "package.json"
SETTINGS = ".npmrc"
_MODULES = "node_modules"

Json = Mapping[str, object]


class Unusable(ValueError):
    """There is no lock, or npm would reject it; the text says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock and the package that it is used for.

    Args:
        file: the lock; npm works in its directory, `top`.
        home: the directory of the package's own package.json: `top`, or a workspace below it.
        packages: by place relative to `top` ("" is the project's own, else `node_modules/…` or a local directory).
    """

    file: Path
    home: Path
    packages: Mapping[str, Json]

    @property
    def top(self) -> Path:
        """Directory where npm works."""
        return self.file.parent

    @property
    def workspace(self) -> str:
        """`home` relative to `top`, "" if they are the same."""
        return "" if self.home == self.top else self.home.relative_to(self.top).as_posix()

    @property
    def manifest(self) -> Json:
        """The package's own package.json."""
        return read_manifest(self.home)

    def local(self) -> list[Path]:
        """Return directories and archives of this disk that the lock names: they may be missing, or outside of `top`.

        Raises:
            Unusable: no file can have such a name.
        """
        found = {self.home} - {self.top}
        for place, entry in self.packages.items():
            resolved = str(entry.get("resolved", ""))
            if entry.get("link") or resolved.startswith("file:"):
                path = resolved.removeprefix("file:")
                if problem := name_problem(path):
                    raise Unusable(f"{self.file.name}: {shown(place)}: resolved: the path {shown(path)} {problem}")
                found.add((self.top / path).resolve())
        return sorted(found)

    def has(self, name: str) -> bool:
        """Tell whether the project's own code can import the package."""
        return self.resolved(name, self.workspace) is not None

    def resolved(self, name: str, place: str) -> str | None:
        """Return where code at `place` finds the package `name`: as Node.js searches, from there upwards."""
        while True:
            candidate = f"{place}/{_MODULES}/{name}" if place else f"{_MODULES}/{name}"
            if candidate in self.packages:
                return candidate
            if not place:
                return None
            place = place.rpartition("/")[0]

    def needs_packages(self) -> bool:
        """Tell whether the function needs any installed package at run time."""
        return any(_MODULES in place.split("/") and not entry.get("dev") for place, entry in self.packages.items())

    def closure(self, names: Iterable[str]) -> set[str]:
        """Return the places of the packages `names` and all that they need."""
        found: set[str] = set()
        left = [place for name in names if (place := self.resolved(name, self.workspace))]
        while left:
            place = left.pop()
            if place in found or place not in self.packages:
                continue
            found.add(place)
            entry = self.packages[place]
            if entry.get("link"):
                left.append(str(entry.get("resolved", "")))
            # As npm installs them, peer dependencies included since version 7.
            for kind in ("dependencies", "optionalDependencies", "peerDependencies"):
                needed = entry.get(kind)
                names_needed = needed if isinstance(needed, dict) else ()
                left += [target for each in names_needed if (target := self.resolved(str(each), place))]
        return found

    def name_of(self, place: str) -> str:
        """Return the name of the package at `place`."""
        name = place.rpartition(f"{_MODULES}/")[2]
        return str(self.packages.get(place, {}).get("name") or name)

    def by_integrity(self, integrity: str) -> str:
        """Return `name@version` of the package with this hash, "" without one."""
        for place, entry in self.packages.items():
            if integrity in str(entry.get("integrity", "")).split():
                return f"{self.name_of(place)}@{entry.get('version')}"
        return ""


def read_lock(base: Path, root: Path, repository: Path) -> Lock:
    """Read the lock for code in `base`, a directory of the project `root`.

    The package.json is there or above, in the project; the lock beside it, or above, in the repository, if the package
    is one of its workspaces.

    Raises:
        Unusable: there is none, or npm would reject it.
    """
    home = next((folder for folder in upwards(base, root) if (folder / MANIFEST).is_file()), None)
    if home is None:
        raise Unusable(f"there is no {MANIFEST} in {_shown(base, root)}; run `npm init` and commit it")
    read_manifest(home)
    for folder in upwards(home, repository):
        file = next((folder / name for name in NAMES if (folder / name).is_file()), None)
        if file is None:
            continue
        packages = _packages(file, root)
        # A lock further up counts only if it knows this package as a workspace.
        if folder == home or home.relative_to(folder).as_posix() in packages:
            return _checked(Lock(file=file, home=home, packages=packages), repository)
        break
    raise Unusable(
        f"there is no package-lock.json beside {_shown(home / MANIFEST, root)}; run `npm install` and commit it"
    )


def read_manifest(folder: Path) -> Json:
    """Read package.json.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        content = read_json((folder / MANIFEST).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise Unusable(f"{MANIFEST} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise Unusable(f"{MANIFEST} cannot be read: it is not an object")
    return content


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _packages(file: Path, root: Path) -> Mapping[str, Json]:
    shown_file = _shown(file, root)
    try:
        content = read_json(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        merge = " (it has marks of a git merge)" if "<<<<<<<" in file.read_text(errors="replace") else ""
        raise Unusable(f"{shown_file} cannot be read: {error}{merge}; run `npm install` and commit it") from error
    packages = content.get("packages") if isinstance(content, dict) else None
    if odd := next((place for place in (packages if isinstance(packages, dict) else ()) if name_problem(place)), None):
        raise Unusable(f"{shown_file}: packages: the path {shown(odd)} {name_problem(odd)}; run `npm install` again")
    if not isinstance(packages, dict) or not all(isinstance(entry, dict) for entry in packages.values()):
        version = content.get("lockfileVersion") if isinstance(content, dict) else None
        raise Unusable(
            f"{shown_file} has lockfileVersion {version}, of npm 6 or older; run `npm install` with npm 7 or newer"
        )
    return packages


def _checked(lock: Lock, repository: Path) -> Lock:
    for path in lock.local():
        if not path.is_relative_to(repository):
            raise Unusable(f"{lock.file.name} names {path.name}, which is outside of the repository")
        if not path.exists():
            raise Unusable(f"{lock.file.name} names {_shown(path, lock.top)}, which does not exist")
    return lock


def packages_in(names: Sequence[str]) -> list[str]:
    """Return the packages of names as they are imported: `@scope/name/part` is of `@scope/name`."""
    return ["/".join(name.split("/")[: 2 if name.startswith("@") else 1]) for name in names]
