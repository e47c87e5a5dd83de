"""A C and C++ compiler on demand: Zig's. It comes with the headers and symbol lists of every C library, so its results
run with the runtime's.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

from builder.runtimes import Target
from builder.toolchains.catalogue import WHEELS
from builder.toolchains.toolbox import Toolbox
from builder.workspace.directory import Workspace

_TOOLS = ("cc", "c++", "ar", "ranlib")


def version() -> str:
    """Return the locked version of the compiler, for keys."""
    return WHEELS["zig"].version


def no_compiler(folder: Path, asked: Path) -> dict[str, str]:
    """Return variables for a build without a compiler: calling one fails, and makes the file `asked`."""
    script = f'#!/bin/sh\n: > "{asked}"\necho "no compiler yet" >&2\nexit 1\n'
    return _variables(_scripts(folder / "no-compiler", dict.fromkeys(_TOOLS, script)))


def compiler(target: Target, folder: Path, toolbox: Toolbox, *, debug: bool = False) -> dict[str, str]:
    """Return variables for a build that compiles for `target`'s machine and C library; fetch the compiler if necessary.

    The programs `cc`, `c++`, `ar` and `ranlib` are then in `programs(folder)`.

    Args:
        folder: an existing directory; compiled code has /build in the place of its path.
        debug: let the build have debug information if it asks for some; cgo reads types from it.

    Raises:
        ResolutionFailed, SourceUnreachable, OutOfSpace: the compiler cannot be had.
    """
    zig = toolbox.get("zig").root / "ziglang" / "zig"
    triple = f"{target.machine}-linux-gnu.{target.runtime.glibc[0]}.{target.runtime.glibc[1]}"
    # No debug information and no paths of this machine; undefined behaviour is not trapped, as with other compilers.
    options = f'-target {triple} -fno-sanitize=undefined "-ffile-prefix-map={folder}=/build"'
    if headers := _split_headers(folder):
        options += f' -isystem "{headers}"'
    # Last, so that it wins over a -g of the build.
    last = "" if debug else " -g0"
    scripts = {
        "cc": f'#!/bin/sh\nexec "{zig}" cc {options} "$@"{last}\n',
        "c++": f'#!/bin/sh\nexec "{zig}" c++ {options} "$@"{last}\n',
        "ar": f'#!/bin/sh\nexec "{zig}" ar "$@"\n',
        "ranlib": f'#!/bin/sh\nexec "{zig}" ranlib "$@"\n',
    }
    return _variables(_scripts(programs(folder), scripts)) | caches(toolbox.workspace)


def programs(folder: Path) -> Path:
    """Return the directory where `compiler` puts its programs."""
    return folder / "compiler"


def caches(workspace: Workspace) -> dict[str, str]:
    """Return the variables that say where the compiler keeps the C library that it has compiled."""
    cache = str(workspace.cached("zig"))
    return {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}


def _split_headers(folder: Path) -> Path | None:
    """Return a directory to search for the half of Python's headers that Debian keeps by architecture; else None.

    `pyconfig.h` there includes `<x86_64-linux-gnu/python3.11/pyconfig.h>` from /usr/include, which must not be
    searched: it has the headers of this machine's C library.
    """
    include, triplet = Path(sysconfig.get_paths()["include"]), str(sysconfig.get_config_var("MULTIARCH") or "")
    split = include.parent / triplet / include.name
    if not triplet or not (split / "pyconfig.h").is_file():
        return None
    place = folder / "headers"
    (place / triplet).mkdir(parents=True, exist_ok=True)
    link = place / triplet / include.name
    link.unlink(missing_ok=True)
    link.symlink_to(split)
    return place


def _scripts(folder: Path, scripts: Mapping[str, str]) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {name: folder / name for name in scripts}


def _variables(tools: Mapping[str, Path]) -> dict[str, str]:
    cc, cxx = str(tools["cc"]), str(tools["c++"])
    return {
        "CC": cc,
        "CXX": cxx,
        "AR": str(tools["ar"]),
        "RANLIB": str(tools["ranlib"]),
        "LDSHARED": f"{cc} -shared",
        "LDCXXSHARED": f"{cxx} -shared",
    }
