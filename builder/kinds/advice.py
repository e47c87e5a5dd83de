"""Warnings about what npm silently leaves out and a function may miss at run time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from builder.amounts import some
from builder.kinds.npm import CPUS, Npm
from builder.npm.lockfile import Lock
from builder.runtimes import Target

_SHOWN = 5
# npm's own reading of ranges. argv: npm's directory, a range, more ranges as JSON.
_RANGES = """
const semver = require(process.argv[1] + "/node_modules/semver");
const ranges = JSON.parse(process.argv[3]);
const unfit = (range) => semver.validRange(range) && !semver.intersects(process.argv[2], range);
console.log(JSON.stringify(ranges.filter(unfit)));
"""


def scripts_not_run(lock: Lock, places: Collection[str], way_out: str) -> Iterator[str]:
    """Warn of packages whose install scripts were not run."""
    names = sorted({lock.name_of(place) for place in places if lock.packages.get(place, {}).get("hasInstallScript")})
    if names:
        yield (
            f"install scripts of packages were not run: {some(names, _SHOWN)}; if the function needs the "
            f"files that they make, {way_out}"
        )


def variants_missing(lock: Lock, places: Collection[str], target: Target) -> Iterator[str]:
    """Warn of native packages for Lambda that the lock lacks, because it was made beside a node_modules of another
    system (https://github.com/npm/cli/issues/4828).
    """
    cpu = CPUS[target.architecture]
    missing = []
    for place in sorted(places):
        optional = lock.packages.get(place, {}).get("optionalDependencies")
        wanted = [
            str(name)
            for name in (optional if isinstance(optional, dict) else ())
            # By npm's usual names of such packages, such as @esbuild/linux-x64.
            if f"linux-{cpu}" in name and "musl" not in name
        ]
        if wanted and not any(lock.resolved(name, place) for name in wanted):
            missing.append(f"{lock.name_of(place)} wants {' or '.join(wanted)}")
    if missing:
        yield (
            f"{lock.file.name} has no packages for Lambda's Linux on {target.architecture}: {some(missing, _SHOWN)}; "
            f"remove node_modules and {lock.file.name}, run `npm install` and commit the lock"
        )


def not_verified(lock: Lock, places: Collection[str]) -> Iterator[str]:
    """Warn of packages that came from a server and have no hash in the lock."""
    names = [
        lock.name_of(place)
        for place in sorted(places)
        if str((entry := lock.packages.get(place, {})).get("resolved", "")).startswith(("http", "git"))
        and not entry.get("integrity")
    ]
    if names:
        yield f"{lock.file.name} has no hash of {some(names, _SHOWN)}: the packages were not verified"


def engines(lock: Lock, places: Collection[str], target: Target, npm: Npm) -> Iterator[str]:
    """Warn of packages, or the project itself, that say they don't run on the function's Node.js."""
    own = {"package.json": _range(lock.manifest)}
    wanted = own | {lock.name_of(place): _range(lock.packages.get(place, {})) for place in sorted(places)}
    ranges = sorted({each for each in wanted.values() if each})
    if not ranges:
        return
    runs = target.runtime.name.removeprefix("nodejs")
    code = [str(npm.node), "-e", _RANGES, str(npm.library()), runs, json.dumps(ranges)]
    bad = json.loads(npm.run(code, npm.scratch, f"{npm.label}: comparing engines")[-1])
    unfit = [f"{name} ({each})" for name, each in wanted.items() if each in bad]
    if unfit:
        yield f"engines: {some(unfit, _SHOWN)} is not for {target.runtime.name}"


def _range(entry: Mapping[str, object]) -> str:
    given = entry.get("engines")
    return str(given.get("node", "")) if isinstance(given, dict) else ""
