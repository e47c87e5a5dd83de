"""Node.js that can stand in for Lambda's `/var/lang`: the machine's own, or one from the package index."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localaws.runtime.images import RuntimeUnavailable

__all__ = ["MAJORS", "Node", "Nodes", "find", "major_of", "options"]

log = logging.getLogger(__name__)

MAJORS = ("20", "22", "24")

# Defaults of newer releases that Lambda turns off unless NODE_OPTIONS asks for them:
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html
_TAKEN_BACK = {
    "20": ("experimental-require-module",),
    "22": ("experimental-require-module", "experimental-detect-module"),
    "24": (),
}
# A distribution's build, which loads libraries of the system, is not accepted: the sandbox lacks some of them, and
# Debian's build also finds modules that are installed on the host.
_QUESTION = """
const shares = Object.entries(process.config.variables).some(([k, v]) => /^node_shared/.test(k) && `${v}` === "true");
const names = ["experimental-require-module", "experimental-detect-module"];
const known = names.filter((name) => process.allowedNodeEnvironmentFlags.has(`--${name}`));
console.log(JSON.stringify([process.release.name, process.versions.node, process.execPath, shares, known]));
"""


@dataclass(frozen=True, kw_only=True)
class Node:
    """Node.js whose version was verified by running it."""

    version: str
    """"22.20.0"."""
    executable: Path
    switches: tuple[str, ...]
    """Switches of this release for the features that Lambda turns off."""

    @property
    def major(self) -> str:
        return self.version.split(".")[0]

    def __str__(self) -> str:
        return f"Node.js {self.version} at {self.executable}"


def major_of(runtime: str) -> str | None:
    """Return "22" for "nodejs22.x"; None for a runtime that is not Node.js or cannot run here."""
    found = re.fullmatch(r"nodejs(\d+)\.x", runtime)
    return found[1] if found and found[1] in MAJORS else None


def find(environ: Mapping[str, str]) -> dict[str, Node]:
    """Find the newest Node.js of each major version on this machine, among builds that include their libraries.

    Looks at PATH and at nvm's installations.
    """
    candidates = list(dict.fromkeys(_candidates(environ)))
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        found = [node for node in pool.map(_ask, candidates) if node]
    best: dict[str, Node] = {}
    for node in found:
        if node.major not in best or _numbers(node) > _numbers(best[node.major]):
            best[node.major] = node
    return best


class Nodes:
    """Node.js for each major version. Thread-safe."""

    def __init__(self, found: Mapping[str, Node], install: Callable[[str], Path]) -> None:
        """`install` returns the executable of a major version, or raises RuntimeUnavailable."""
        self._found = dict(found)
        self._install = install
        self._descriptions = {
            major: str(found[major]) if major in found else f"a Node.js {major}, to be installed at first use"
            for major in MAJORS
        }
        self._chosen = {major: found[major] for major in MAJORS if major in found}
        self._lock = threading.Lock()

    def described(self) -> Mapping[str, str]:
        """Describe what runs each major version, as far as known."""
        return self._descriptions

    def get(self, major: str) -> Node:
        """Return a Node.js: the machine's of this version, else an installed one, else the nearest, with a warning.

        Raises RuntimeUnavailable when there is none at all.
        """
        with self._lock:
            # Within the lock also while installing: two functions must not download 200 MB twice.
            if major not in self._chosen:
                self._chosen[major], self._descriptions[major] = self._choose(major)
            return self._chosen[major]

    def _choose(self, major: str) -> tuple[Node, str]:
        try:
            executable = self._install(major)
            if node := _ask(executable):
                return node, str(node)
            raise RuntimeUnavailable(f"{executable} does not run on this machine")  # noqa: TRY301 - like the other
        except RuntimeUnavailable as error:
            other = _nearest(self._found, major)
            if other is None:
                raise RuntimeUnavailable(f"no Node.js {major} was found, and {error}") from error
            log.warning("functions for Node.js %s run on %s: %s", major, other, error)
            return other, f"{other}, instead of a Node.js {major}"


def _nearest(found: Mapping[str, Node], major: str) -> Node | None:
    """Return the version nearest to `major`; of two equally near, the newer."""
    return min(found.values(), key=lambda node: (abs(int(node.major) - int(major)), -int(node.major)), default=None)


def _ask(executable: Path) -> Node | None:
    """Ask an executable for its version; None if it is not a usable Node.js."""
    try:
        answer = subprocess.run(
            [executable, "-e", _QUESTION],
            capture_output=True,
            timeout=20,
            check=True,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath},
        ).stdout
        name, version, path, shares, switches = json.loads(answer)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if name != "node" or shares or not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return None
    return Node(version=version, executable=Path(os.path.realpath(path)), switches=tuple(switches))


def options(node: Node, major: str, *, memory_mb: int, node_options: str) -> list[str]:
    """Return the command line options that Lambda's bootstrap gives to node in runtime `major`.

    `node_options` is the function's NODE_OPTIONS: options that are set there are left alone.
    """
    chosen = node_options.replace("_", "-")
    given = ["--expose-gc", "--max-http-header-size=81920"]
    given += [
        f"--no-{name}" for name in _TAKEN_BACK[major] if name in node.switches and f"--{name}" not in chosen.split()
    ]
    if "--max-semi-space-size" not in chosen and "--max-old-space-size" not in chosen:
        given += [f"--max-semi-space-size={memory_mb // 20}", f"--max-old-space-size={memory_mb - memory_mb // 10}"]
    return given


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for folder in environ.get("PATH", "").split(os.pathsep):
        if folder and (path := shutil.which("node", path=folder)):
            yield Path(os.path.realpath(path))
    nvm = Path(environ.get("NVM_DIR") or Path(environ.get("HOME") or "/nonexistent") / ".nvm")
    try:
        yield from sorted(path for path in nvm.glob("versions/node/*/bin/node") if os.access(path, os.X_OK))
    except OSError:  # below someone else's home
        return


def _numbers(node: Node) -> tuple[int, ...]:
    return tuple(int(part) for part in node.version.split("."))
