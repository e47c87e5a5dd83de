"""Makes a bundle with the project's own esbuild: one file that contains a source file and all its imports.

Options: https://esbuild.github.io/api/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CommandFailed, CompilationFailed, NoWheelForTarget
from builder.jsontext import read_json
from builder.kinds.npm import CPUS, Npm
from builder.npm.lockfile import Lock, packages_in
from builder.runtimes import architecture_of
from builder.spec.builds import NodeBuild
from builder.store.values import Fields
from builder.workshop.kind import Place

_MESSAGE = re.compile(r"^(?:\S+ )?\[(?P<kind>ERROR|WARNING)\] (?P<text>.*)$")
_PLACE = re.compile(r"^ {4}(?P<place>\S.*:\d+:\d+):$")
# Packages that come with Lambda's Node.js: they may be left to it.
_OF_THE_RUNTIME = ("@aws-sdk/", "@smithy/")
# An ES module lacks `require`, `__filename` and `__dirname`, which older packages use.
_BANNER = (
    'import{createRequire as lambdasmithRequire}from"node:module";'
    "const require=lambdasmithRequire(import.meta.url),"
    "__filename=import.meta.filename,__dirname=import.meta.dirname;"
)
_HINTS: Sequence[tuple[str, str]] = (
    (r"Could not resolve", "install it (`npm install NAME`, then commit the lock), or list it in external"),
    (
        r"Top-level await",
        'make it an ES module: "type": "module" in package.json, or a source file that ends in .mts or .mjs',
    ),
    (r'No loader is configured for "\.node"', "a native package cannot be bundled; list it in external"),
)
# esbuild can warn hundreds of times about one package.
_NOTES = 5


def names_shipped(recipe: NodeBuild, lock: Lock) -> tuple[str, ...]:
    """Return the packages to ship beside the bundle; patterns and the runtime's own packages are only left out."""
    names = packages_in([name for name in recipe.external if "*" not in name])
    return tuple(dict.fromkeys(name for name in names if lock.has(name) or not name.startswith(_OF_THE_RUNTIME)))


def problem(recipe: NodeBuild, place: Place, lock: Lock) -> str | None:
    """Say what is wrong with the recipe."""
    entry = str(recipe.bundle)
    if not (place.base / entry).is_file():
        return f"bundle: {entry!r} does not exist"
    if not place.is_function:
        return "bundle: is for the function; a layer has node_modules"
    if not lock.has("esbuild"):
        what_to_do = "run `npm install --save-dev --save-exact esbuild` and commit it"
        return f"bundle: esbuild is not in {lock.file.name}; {what_to_do}"
    for name in names_shipped(recipe, lock):
        locked = lock.resolved(name, lock.workspace)
        if locked is None:
            what_to_do = f"run `npm install {name}`, or write '{name}*' to ship none"
            return f"external: {name!r} is not in {lock.file.name}; {what_to_do}"
        if lock.packages[locked].get("dev"):
            return f"external: {name!r} is a development dependency; run `npm install --save-prod {name}`"
    return None


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The files of a bundle by name, esbuild's warnings, and the packages inside, as places of the lock."""

    files: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...]
    places: frozenset[str]


def bundle(recipe: NodeBuild, place: Place, lock: Lock, npm: Npm, folder: Path, base: Path) -> Bundle:
    """Run esbuild.

    Args:
        folder: an existing directory, the same in each build, for the results; base: the copy of `place.base` in it,
            with packages installed in it or above it.

    Raises:
        CompilationFailed: esbuild rejects the sources, or the handler is not in them.
    """
    module, _, attribute = place.handler.rpartition(".")
    is_module = _is_module(str(recipe.bundle), lock)
    out = folder / "bundle" / f"{module}{'.mjs' if is_module else '.js'}"
    options = [
        "--bundle",
        "--platform=node",
        f"--target=node{place.target.runtime.name.removeprefix('nodejs').partition('.')[0]}",
        f"--format={'esm' if is_module else 'cjs'}",
        f"--outfile={out}",
        f"--metafile={folder / 'meta.json'}",
        "--log-level=warning",
        "--color=false",
        *(f"--external:{name}" for name in recipe.external),
        *([f"--banner:js={_BANNER}"] if is_module else []),
        *(["--minify"] if recipe.minify else []),
        *(["--sourcemap"] if recipe.sourcemap else []),
    ]
    what = f"{place.label}: esbuild {recipe.bundle}"
    workshop = npm.work.workshop
    workshop.progress.say(f"bundling {recipe.bundle}")
    environment = dict(npm.environment())
    # esbuild is a Go program: without a limit its collector lets it grow until the kernel ends it.
    if workshop.memory_mb is not None:
        environment["GOMEMLIMIT"] = f"{workshop.memory_mb // 2}MiB"
    try:
        lines = npm.run(
            [str(_program(base, lock)), f"./{recipe.bundle}", *options], base, what, environment=environment
        )
    except CommandFailed as error:
        raise _failed(error, what) from error
    meta = read_metafile(folder / "meta.json", what)
    _check_exports(meta, attribute, str(recipe.bundle), place)
    root = folder / "bundle"
    made = sorted(path for path in root.rglob("*") if path.is_file())
    return Bundle(
        files=tuple((path.relative_to(root).as_posix(), path) for path in made),
        notes=tuple(f"esbuild: {where}{text}" for _, where, text in list(_messages(lines))[:_NOTES]),
        places=frozenset(places_in(meta, lock, base, folder)),
    )


def _is_module(entry: str, lock: Lock) -> bool:
    """Tell whether the bundle is an ES module, as Node.js would see the source."""
    if entry.endswith((".mts", ".mjs")):
        return True
    return not entry.endswith((".cts", ".cjs")) and lock.manifest.get("type") == "module"


def _program(base: Path, lock: Lock) -> Path:
    """Return esbuild's program for this machine. The package's own command may be a script that searches for it."""
    name = f"@esbuild/linux-{CPUS[architecture_of(os.uname().machine)]}/bin/esbuild"
    for folder in (base, *base.parents):
        for place in ("node_modules", "node_modules/esbuild/node_modules"):
            if (path := folder / place / name).is_file():
                path.chmod(0o755)
                return path
    raise NoWheelForTarget(
        f"{lock.file.name} has esbuild, but not {name.removesuffix('/bin/esbuild')}, its program for the builder",
        hint=f"remove node_modules and {lock.file.name}, run `npm install` and commit the lock (esbuild 0.16 or newer)",
    )


def _messages(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield ERROR or WARNING, `file:line:column: ` or "", and the text, of esbuild's messages."""
    for at, line in enumerate(lines):
        if message := _MESSAGE.match(line):
            following = (_PLACE.match(each) for each in lines[at + 1 : at + 3])
            where = next((f"{found['place']}: " for found in following if found), "")
            yield message["kind"], where, message["text"]


def _failed(error: CommandFailed, what: str) -> CompilationFailed:
    errors = [f"{where}{text}" for kind, where, text in _messages(error.log_tail) if kind == "ERROR"]
    first = errors[0] if errors else error.message
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, first)), "its output is above")
    return CompilationFailed(f"{what} fails: {first}", hint=hint, log_tail=error.log_tail[:40], problems=errors)


@dataclass(frozen=True, kw_only=True)
class Metafile:
    """esbuild's description of a bundle: its inputs by path, and the names that it exports, if known."""

    inputs: tuple[str, ...]
    exports: tuple[str, ...]


def read_metafile(path: Path, what: str) -> Metafile:
    """Read what esbuild, which is the project's own, wrote to `path`.

    Raises:
        CompilationFailed: it is not a metafile.
    """
    try:
        meta = Fields(read_json(path.read_text()))
        made = [one for _, one in meta.fields("outputs").members() if one.value.get("entryPoint")]
        exports = next((one.texts("exports") for one in made if "exports" in one), ())
        return Metafile(inputs=tuple(meta.fields("inputs").value), exports=exports)
    except (OSError, ValueError) as error:
        raise CompilationFailed(
            f"{what}: its metafile is not what esbuild writes ({type(error).__name__})",
            hint="remove node_modules, run `npm install` and commit the lock: is that esbuild?",
        ) from error


def _check_exports(meta: Metafile, attribute: str, entry: str, place: Place) -> None:
    """Check the exports, which esbuild does not list for a CommonJS bundle."""
    if meta.exports and attribute not in meta.exports:
        raise CompilationFailed(
            f"function.handler: {place.handler!r} needs {attribute}; {entry} exports {', '.join(meta.exports)}",
            hint="export a function of that name, or name another in function.handler",
        )


def places_in(meta: Metafile, lock: Lock, base: Path, folder: Path) -> Iterator[str]:
    """Yield the packages inside the bundle; esbuild names its inputs relative to `base`."""
    tops = [path for path in (base, *base.parents) if path.is_relative_to(folder)]
    for name in meta.inputs:
        if "node_modules/" not in name:
            continue
        inside = Path(os.path.normpath(base / name))
        for top in tops:
            parts = inside.relative_to(top).as_posix().split("/") if inside.is_relative_to(top) else []
            found = next(
                (place for end in range(len(parts), 0, -1) if (place := "/".join(parts[:end])) in lock.packages), None
            )
            if found:
                yield found
                break
