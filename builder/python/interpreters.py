"""The Python of this machine that compiles for a target: the one that runs the builder, else one on the PATH.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LambdasmithError
from builder.system import process

# Our own modules run in it, and code objects of earlier versions have other fields.
_OLDEST = (3, 11)
# It only prints its version; a program of that name may be anything and wait for ever.
_TIMEOUT_S = 10.0
_ASK = (
    "import importlib.util, sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.abiflags or '-', "
    "sys.version_info.releaselevel, sys.implementation.cache_tag, importlib.util.MAGIC_NUMBER.hex(), sys.base_prefix)"
)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """CPython. `prefix` contains its library directory, `magic` is the start of its bytecode, in hex."""

    executable: str
    prefix: str
    cache_tag: str
    magic: str

    @property
    def tag(self) -> str:
        """Tag of its bytecode, as part of a key.

        The magic number changes with the format. Patch releases of one minor version read each other's bytecode.
        """
        return f"{self.cache_tag}-{self.magic}"


def compiling_for(python: tuple[int, int] | None) -> Interpreter | None:
    """Return an interpreter whose bytecode that Python reads; None if there is none. Searched once per process."""
    if python is None or python < _OLDEST:
        return None
    if python == sys.version_info[:2] and sys.implementation.name == "cpython":
        return Interpreter(
            executable=sys.executable,
            prefix=sys.base_prefix,
            cache_tag=str(sys.implementation.cache_tag),
            magic=importlib.util.MAGIC_NUMBER.hex(),
        )
    return _found(python, os.environ.get("PATH", os.defpath))


@functools.cache
def _found(python: tuple[int, int], search_path: str) -> Interpreter | None:
    for executable in _candidates(python, search_path):
        interpreter = _asked(executable, python)
        if interpreter is not None:
            return interpreter
    return None


def _candidates(python: tuple[int, int], search_path: str) -> Iterator[str]:
    name = f"python{python[0]}.{python[1]}"
    for folder in dict.fromkeys(search_path.split(os.pathsep)):
        if found := shutil.which(name, path=folder):
            yield found
            # pyenv's shims run only the selected version; the real interpreters are beside them.
            if Path(folder).name == "shims":
                versions = sorted(Path(folder).parent.glob(f"versions/{python[0]}.{python[1]}.*/bin/{name}"))
                yield from map(str, versions)


def _asked(executable: str, python: tuple[int, int]) -> Interpreter | None:
    """Ask the program for its facts; None if they do not match its name."""
    try:
        done = process.run(
            [executable, "-I", "-S", "-c", _ASK],
            cwd=Path("/"),
            environment={"PATH": os.defpath},
            timeout_s=_TIMEOUT_S,
            what=f"asking {executable}",
            trusted=True,
        )
        name, version, flags, level, cache_tag, magic, prefix = done.tail[-1].split(maxsplit=6)
    except (LambdasmithError, ValueError, IndexError):
        return None
    # A build without the GIL has another format, and before a release the format may still change.
    if (name, version, flags, level) != ("cpython", f"{python[0]}.{python[1]}", "-", "final"):
        return None
    return Interpreter(executable=executable, prefix=prefix, cache_tag=cache_tag, magic=magic)
