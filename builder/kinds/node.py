"""Builds Node.js: npm's production dependencies by the lock, beside the project's files; or a bundle by esbuild.

https://docs.npmjs.com/cli/v11/commands/npm-ci
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from builder.errors import CommandFailed, CompilationFailed
from builder.hashing import files_key
from builder.kinds import advice
from builder.kinds.bundle import bundle, names_shipped, problem
from builder.kinds.kept import Kept
from builder.kinds.npm import CPUS, Npm, registries, settings
from builder.npm.lockfile import MANIFEST, NAMES, SETTINGS, Lock, Unusable, read_lock, read_manifest
from builder.npm.modules import MODULES, Modules, installed, taken
from builder.sources.local import select_files
from builder.spec.builds import NodeBuild, NpmLayer
from builder.workshop.kind import Files, Made, Place, Work

Recipe = NodeBuild | NpmLayer

_RUNTIME = "nodejs24.x"
# Part of every key of kept packages: raised when the same lock would give others, or other notes about them.
_KEPT = 1
ENDINGS = (".js", ".mjs", ".cjs")
# Where Lambda's Node.js searches for packages of layers.
_LAYERS = "nodejs/"
_HANDLER = re.compile(
    r"\bexports\.handler\s*=|\bexport\s+(?:const|let|var|async\s+function|function)\s+handler\b"
    r"|\bexport\s*\{[^}]*\bhandler\s*[,}]"
)
_SYNTAX = re.compile(r"^(?:file://)?(?P<path>/.*):(?P<line>\d+)$")


class _Node:
    format = 1
    prunes = True

    def __init__(self, name: str) -> None:
        self.name = name

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        if self.name != "node" or not any((root / lock).is_file() for lock in NAMES):
            return None
        try:
            main = read_manifest(root).get("main")
        except Unusable:
            return None
        files = [str(main).removeprefix("./")] if main else ["index.mjs", "index.js"]
        for file in files:
            module = PurePosixPath(file)
            path = root / module
            inside = not module.is_absolute() and ".." not in module.parts and path.is_file()
            if inside and module.suffix in ENDINGS and _HANDLER.search(path.read_text(errors="replace")):
                handler = f"{module.with_suffix('')}.handler"
                return {"runtimes": [_RUNTIME], "handler": handler, "build": "node"}
        return None

    def problem(self, recipe: Recipe, place: Place) -> str | None:
        if isinstance(recipe, NpmLayer) and len({str(PurePosixPath(file).parent) for file in recipe.files}) > 1:
            return "names files of different directories; one package's dependencies are one layer"
        try:
            lock = _lock(recipe, place)
        except Unusable as error:
            return str(error)
        return problem(recipe, place, lock) if isinstance(recipe, NodeBuild) and recipe.bundle else None

    def needs(self, recipe: Recipe, place: Place) -> Sequence[str]:
        return ("node",)

    def reads_outside(self, recipe: Recipe, place: Place) -> bool:
        try:
            lock = _lock(recipe, place)
        except Unusable:
            return False
        root = place.root.resolve()
        return not all(path.is_relative_to(root) for path in (lock.top, *lock.local()))

    def inputs(self, recipe: Recipe, place: Place) -> Files:
        lock = _lock(recipe, place)
        paths: set[Path] = set()
        for folder in _sources(recipe, place, lock):
            paths |= {path for _, path in _own(folder)}
        base = _base(recipe, place)
        return tuple(sorted((Path(os.path.relpath(path, base)).as_posix(), path) for path in paths | set(_few(lock))))

    def build(self, recipe: Recipe, place: Place, work: Work) -> Made:
        with work.workshop.workspace.build_place() as folder:
            return _Building(recipe, place, work, folder).made()


NODE = _Node("node")
NPM = _Node("npm")


def _base(recipe: Recipe, place: Place) -> Path:
    if isinstance(recipe, NpmLayer):
        return (place.root / PurePosixPath(recipe.files[0]).parent).resolve()
    return place.base.resolve()


def _lock(recipe: Recipe, place: Place) -> Lock:
    return read_lock(_base(recipe, place), place.root.resolve(), place.repository.resolve())


def _few(lock: Lock) -> Iterator[Path]:
    """Yield the files that npm needs."""
    yield from (path for path in (lock.top / MANIFEST, lock.file, lock.top / SETTINGS) if path.is_file())
    yield from (path for path in lock.local() if path.is_file())
    if lock.workspace:
        yield lock.home / MANIFEST


def _local(lock: Lock) -> list[Path]:
    """Return directories of local packages, in which every file counts."""
    return [path for path in lock.local() if path.is_dir() and path != lock.home]


def _sources(recipe: Recipe, place: Place, lock: Lock) -> list[Path]:
    """Return directories in which every file counts: local packages, and for a bundle whatever may be imported."""
    folders = _local(lock)
    if isinstance(recipe, NodeBuild) and recipe.bundle:
        root = place.root.resolve()
        folders.append(lock.top if root.is_relative_to(lock.top) else root)
    return folders


def _own(folder: Path) -> Files:
    """Return a directory's files without those that npm installs."""
    return select_files(folder, ".", (), (MODULES,), to_ship=False)


class _Building:
    """One build, in a copy of what npm needs; `folder` is the same in every build."""

    def __init__(self, recipe: Recipe, place: Place, work: Work, folder: Path) -> None:
        self._recipe, self._place, self._work, self._folder = recipe, place, work, folder
        self._lock = _lock(recipe, place)
        self._bundles = recipe if isinstance(recipe, NodeBuild) and recipe.bundle else None
        self._scripts = isinstance(recipe, NodeBuild) and recipe.scripts
        # Install scripts can write to it, so it serves one owner only.
        self._cache = work.workshop.cache("npm", work.workshop.toolbox.identity("node"))
        home = folder / "home"
        home.mkdir()
        self._npm = Npm(work=work, label=place.label, scratch=home, cache=self._cache.folder)

    def made(self) -> Made:
        if not self._bundles:
            self._check_syntax()
        if not self._bundles and not self._lock.needs_packages():
            return Made(files=())
        return self._bundle(self._bundles) if self._bundles else self._modules()

    def _modules(self) -> Made:
        modules = self._packages(None)
        prefix = f"{'' if self._place.is_function else _LAYERS}{MODULES}/"
        files, pruned = taken(modules, prefix, self._work.out, self._place.prune)
        return Made(
            files=tuple(files),
            notes=modules.notes,
            pruned=tuple(pruned.rows()),
            contents=self._contents(modules.places),
        )

    def _bundle(self, recipe: NodeBuild) -> Made:
        # Everything is copied: a bundle may import any file of the project.
        copy = self._copy("source", _sources(recipe, self._place, self._lock))
        self._ci(copy, options=())
        base = self._in(copy, self._place.base.resolve())
        made = bundle(recipe, self._place, self._lock, self._npm, self._folder, base)
        files = []
        for name, path in made.files:
            target = self._work.out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            files.append((name, Path(shutil.copy(path, target))))
        names = names_shipped(recipe, self._lock)
        modules = self._packages(self._lock.closure(names)) if names else Modules()
        beside, pruned = taken(modules, f"{MODULES}/", self._work.out, self._place.prune)
        return Made(
            files=tuple(sorted([*files, *beside])),
            notes=(*made.notes, *modules.notes),
            pruned=tuple(pruned.rows()),
            contents=self._contents(made.places | modules.places),
        )

    def _packages(self, only: set[str] | None) -> Modules:
        """Return the production dependencies for the function's machine, whatever the builder's is."""
        workshop, place, lock = self._work.workshop, self._place, self._lock
        options = ["--omit=dev", f"--cpu={CPUS[place.target.architecture]}", "--os=linux", "--libc=glibc"]
        if lock.workspace:
            options.append(f"--workspace={lock.workspace}")

        def install() -> Modules:
            copy = self._copy("packages", _local(lock))
            self._ci(copy, options=options)
            modules = installed(lock, self._in(copy, lock.top), copy, only)
            return replace(modules, notes=tuple(self._notes(modules.places)))

        if self._scripts:  # they may have left anything, so nothing is kept
            return install()
        tool = workshop.toolbox.identity("node")
        files = [*_few(lock), *(path for folder in _local(lock) for _, path in _own(folder))]
        named = sorted((str(path.relative_to(place.repository.resolve())), path) for path in files)
        # All that decides which files npm installs; anything missing here would serve one target's packages to another.
        how = (_KEPT, tool, options, only and sorted(only), place.target.runtime.name, registries(self._work, ""))
        cache = workshop.cache("node_modules", tool, place.component, place.target.label)
        return Kept(cache=cache, key=files_key(repr(how), named)).get(install)

    def _ci(self, copy: Path, options: Sequence[str]) -> None:
        self._cache.restore()
        self._npm.ci(self._in(copy, self._lock.top), self._lock, options=options, scripts=self._scripts)
        # Keyed by the lock: a new lock brings new packages worth storing.
        self._cache.keep(hashlib.sha256(self._lock.file.read_bytes()).hexdigest(), leave_out=("_logs", "_npx"))

    def _copy(self, name: str, folders: Sequence[Path]) -> Path:
        """Return a copy of the repository with what npm needs, and all files of some directories."""
        copy = self._folder / name
        for folder in folders:
            for below, path in _own(folder):
                _put(path, self._in(copy, folder) / below)
        for path in _few(self._lock):
            _put(path, self._in(copy, path))
        wanted = self._in(copy, self._lock.top / SETTINGS)
        for found in copy.rglob(SETTINGS):
            found.write_text(settings(found.read_text(errors="replace")) if found == wanted else "")
        return copy

    def _in(self, copy: Path, path: Path) -> Path:
        return copy / path.relative_to(self._place.repository.resolve())

    def _notes(self, places: set[str]) -> Iterator[str]:
        lock, target = self._lock, self._place.target
        if not self._scripts:
            way_out = "write build: {node: {scripts: true}}"
            if isinstance(self._recipe, NpmLayer):
                way_out += " instead of the layer"
            yield from advice.scripts_not_run(lock, places, way_out)
        yield from advice.variants_missing(lock, places, target)
        yield from advice.not_verified(lock, places)
        yield from advice.engines(lock, places, target, self._npm)

    def _contents(self, places: set[str] | frozenset[str]) -> tuple[str, ...]:
        packages = self._lock.packages
        names = {
            f"{self._lock.name_of(place)} {packages.get(place, {}).get('version', '')}".strip() for place in places
        }
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def _check_syntax(self) -> None:
        """Check that Node.js can parse the handler's file; its imports show only when it runs."""
        module = self._place.handler.rpartition(".")[0]
        base = self._place.base.resolve()
        path = next((path for ending in ENDINGS if (path := base / f"{module}{ending}").is_file()), None)
        if not self._place.is_function or path is None:
            return
        what = f"{self._place.label}: node --check {path.relative_to(base)}"
        try:
            self._npm.run([str(self._npm.node), "--check", str(path)], base, what)
        except CommandFailed as error:
            words = [line.replace(f"file://{base}/", "").replace(f"{base}/", "") for line in error.log_tail]
            found = _SYNTAX.match(error.log_tail[0]) if error.log_tail else None
            said = next((line for line in words if "SyntaxError" in line), error.message)
            where = f"{path.relative_to(base)}:{found['line']}" if found else str(path.relative_to(base))
            shown = [line for line in words if not line.startswith(("    at ", "Node.js v"))]
            raise CompilationFailed(f"{where}: {said}", hint="its output is above", log_tail=shown) from error


def _put(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
