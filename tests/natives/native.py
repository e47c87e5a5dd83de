"""Small real ELF files, compiled by the machine's C compiler."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# Needs nothing of Python's headers: enough to be an extension module by its looks.
MODULE = "void *PyInit_{name}(void) {{ {body} return 0; }}"


def compiler() -> str:
    for name in ("gcc", "cc", "clang"):
        if found := shutil.which(name):
            return found
    pytest.skip("no C compiler; install gcc")


def shared(
    path: Path,
    source: str,
    *,
    soname: str = "",
    libraries: Sequence[Path] = (),
    runpath: str = "",
    flags: Sequence[str] = (),
) -> Path:
    """Compile `source` to the shared library `path`, which needs `libraries`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler(), "-shared", "-fPIC", "-x", "c", "-", "-o", str(path), "-Wl,--no-as-needed", "-nostdlib"]
    command += [f"-Wl,-soname,{soname}"] if soname else []
    command += [f"-Wl,-rpath,{runpath}"] if runpath else []
    command += ["-x", "none", *map(str, libraries), *flags]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    return path


def module(path: Path, *, libraries: Sequence[Path] = (), runpath: str = "", flags: Sequence[str] = ()) -> Path:
    """Compile what Python would take for an extension module."""
    name = path.name.partition(".")[0]
    return shared(path, MODULE.format(name=name, body=""), libraries=libraries, runpath=runpath, flags=flags)
