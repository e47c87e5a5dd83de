"""CPythons of this machine that can stand in for Lambda's `/var/lang`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VERSIONS", "Interpreter", "find"]

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

_ASK = (
    "import json, platform, sys, sysconfig;"
    "print(json.dumps([platform.python_implementation(), list(sys.version_info[:3]), sys.base_prefix,"
    " getattr(sys, '_base_executable', sys.executable), sysconfig.get_config_var('LIBDIR') or '',"
    " sys.version_info.releaselevel, bool(sysconfig.get_config_var('Py_GIL_DISABLED'))]))"
)
# Prefixes that hold much more than Python: a dedicated prefix is always preferred.
_SHARED_PREFIXES = (Path("/usr"), Path("/usr/local"))


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """CPython whose version was verified by running it."""

    version: str
    """Major and minor, "3.13"."""
    full_version: str
    prefix: Path
    executable: Path
    """Real file below `prefix`, never a virtual environment's."""
    lib_dir: Path
    """Directory of its shared libpython, if it has one."""

    @property
    def stdlib(self) -> Path:
        return self.prefix / "lib" / f"python{self.version}"

    @property
    def include(self) -> Path:
        return self.prefix / "include" / f"python{self.version}"

    @property
    def shared_libraries(self) -> tuple[Path, ...]:
        """libpython files that the executable may load; none for a static build."""
        patterns = (f"libpython{self.version}.so*", "libpython3.so*")
        return tuple(sorted(path for pattern in patterns for path in self.lib_dir.glob(pattern)))

    def __str__(self) -> str:
        return f"CPython {self.full_version} at {self.executable}"


def find(environ: Mapping[str, str]) -> dict[str, Interpreter]:
    """Find the best interpreter of each version that runs for this user, in the order of VERSIONS.

    Looks at pyenv's versions, those that uv manages, PATH, /usr/bin, /usr/local/bin and /opt. A dedicated prefix wins
    over a shared one, then the newest patch release, then the order of the search.
    """
    candidates = list(dict.fromkeys(_candidates(environ)))
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        found = [interpreter for interpreter in pool.map(_ask, candidates) if interpreter]
    best: dict[str, Interpreter] = {}
    for interpreter in found:
        known = best.get(interpreter.version)
        if known is None or _rank(interpreter) > _rank(known):
            best[interpreter.version] = interpreter
    return {version: best[version] for version in VERSIONS if version in best}


def _rank(interpreter: Interpreter) -> tuple[bool, tuple[int, ...]]:
    patch = tuple(int(part) for part in interpreter.full_version.split("."))
    return interpreter.prefix not in _SHARED_PREFIXES, patch


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or "/nonexistent")
    roots = [
        Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(environ.get("UV_PYTHON_INSTALL_DIR") or _data_home(environ, home) / "uv" / "python"),
        Path("/opt"),
        Path("/opt/python"),
    ]
    for root in roots:
        yield from _below(_listed(root))
    for folder in [*environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]:
        if not folder or Path(folder).name == "shims":  # pyenv's shims are slow, and their targets are listed above
            continue
        for version in VERSIONS:
            if path := shutil.which(f"python{version}", path=folder):
                yield Path(path)


def _data_home(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")


def _listed(root: Path) -> Iterable[Path]:
    try:
        return sorted(root.iterdir())
    except OSError:  # absent, or below someone else's home
        return ()


def _below(prefixes: Iterable[Path]) -> Iterator[Path]:
    for prefix in prefixes:
        for version in VERSIONS:
            executable = prefix / "bin" / f"python{version}"
            if os.access(executable, os.X_OK):
                yield executable


def _ask(executable: Path) -> Interpreter | None:
    try:
        answer = subprocess.run(
            [executable, "-I", "-S", "-c", _ASK], capture_output=True, timeout=20, check=True, stdin=subprocess.DEVNULL
        ).stdout
        implementation, numbers, prefix, base, lib_dir, level, free_threaded = json.loads(answer)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    version = f"{numbers[0]}.{numbers[1]}"
    if implementation != "CPython" or free_threaded or level != "final" or version not in VERSIONS:
        return None
    real = Path(prefix) / "bin" / f"python{version}"
    if not os.access(real, os.X_OK):
        real = Path(base)
    if not re.fullmatch(r"python3(\.\d+)?", real.name) or not (Path(prefix) / "lib" / f"python{version}").is_dir():
        return None
    libraries = Path(lib_dir) if lib_dir else Path(prefix) / "lib"
    if not libraries.is_dir():  # a relocated build still names the place where it was compiled
        libraries = Path(prefix) / "lib"
    return Interpreter(
        version=version,
        full_version=".".join(map(str, numbers)),
        prefix=Path(prefix),
        executable=real,
        lib_dir=libraries,
    )
