"""A C and C++ compiler on demand: Zig's, from the package index, locked like everything else.

It comes with the headers and symbol lists of every C library, so what it compiles here runs on the runtime's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

from builder.errors import ResolutionFailed
from builder.python.indexes import Indexes
from builder.python.inputs import read_inputs
from builder.python.pylock import select
from builder.python.wheels import download, locked_versions
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.workspace import Workspace

LOCK = Path(__file__).resolve().parents[1] / "toolchains.lock"
# Headers of systems that Lambda is not: a third of what would be unpacked.
_ELSEWHERE = re.compile(r"ziglang/lib/libc/(?:mingw|musl|wasi|include/[^/]*(?:windows|darwin|bsd|musl|wasi))")
_TOOLS = ("cc", "c++", "ar", "ranlib")


def version() -> str:
    """The locked version of the compiler, for keys."""
    return locked_versions(LOCK.read_text())["ziglang"]


def no_compiler(folder: Path, asked: Path) -> dict[str, str]:
    """Variables for a build without a compiler: whoever calls one fails, and `asked` is there afterwards."""
    script = f'#!/bin/sh\n: > "{asked}"\necho "no compiler yet" >&2\nexit 1\n'
    return _variables(_scripts(folder / "no-compiler", dict.fromkeys(_TOOLS, script)))


def compiler(
    target: Target,
    folder: Path,
    *,
    workspace: Workspace,
    environment: Mapping[str, str],
    indexes: Indexes,
    timeout_s: float,
) -> dict[str, str]:
    """Variables for a build that compiles for `target`'s machine and C library; fetches the compiler if need be.

    Raises:
        ResolutionFailed, SourceUnreachable, OutOfSpace: it cannot be had.
    """
    zig = _installed(folder, workspace, environment, indexes, timeout_s)
    triple = f"{target.machine}-linux-gnu.{target.runtime.glibc[0]}.{target.runtime.glibc[1]}"
    # No debug information and no paths of this machine; undefined behaviour is not trapped, as with other compilers.
    options = f'-target {triple} -fno-sanitize=undefined "-ffile-prefix-map={folder}=/build"'
    if headers := _split_headers(folder):
        options += f' -isystem "{headers}"'
    scripts = {
        "cc": f'#!/bin/sh\nexec "{zig}" cc {options} "$@" -g0\n',
        "c++": f'#!/bin/sh\nexec "{zig}" c++ {options} "$@" -g0\n',
        "ar": f'#!/bin/sh\nexec "{zig}" ar "$@"\n',
        "ranlib": f'#!/bin/sh\nexec "{zig}" ranlib "$@"\n',
    }
    cache = str(workspace.cached("zig"))
    variables = _variables(_scripts(folder / "compiler", scripts))
    return variables | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}


def _split_headers(folder: Path) -> Path | None:
    """A directory to search for the half of Python's headers that Debian keeps by architecture, None elsewhere.

    `pyconfig.h` there includes `<x86_64-linux-gnu/python3.11/pyconfig.h>` from /usr/include, which is no place to
    search: it has the headers of this machine's C library.
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


def _installed(
    folder: Path, workspace: Workspace, environment: Mapping[str, str], indexes: Indexes, timeout_s: float
) -> Path:
    """The compiler's binary, below the cache of tools."""
    home = workspace.cached("tools") / f"ziglang-{version()}"
    zig = home / "ziglang" / "zig"
    if zig.exists():
        workspace.used(home)
        return zig
    wheel = _wheel(folder, workspace, environment, indexes, timeout_s)
    partial = home.with_name(home.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        names = [info for info in archive.infolist() if not _ELSEWHERE.match(info.filename)]
        archive.extractall(partial, names)
    (partial / "ziglang" / "zig").chmod(0o755)
    partial.rename(home)
    shutil.rmtree(wheel.parent)  # 100 MB that nobody needs twice
    return zig


def _wheel(
    folder: Path, workspace: Workspace, environment: Mapping[str, str], indexes: Indexes, timeout_s: float
) -> Path:
    from builder.python.lock import resolve
    from builder.python.resolver import Resolver

    place = folder / "toolchain"
    place.mkdir(exist_ok=True)
    (place / "requirements.txt").write_bytes(LOCK.read_bytes())
    runtime = RUNTIMES.get(f"python{sys.version_info.major}.{sys.version_info.minor}", RUNTIMES["python3.13"])
    here = Target(runtime=runtime, architecture=architecture_of(os.uname().machine))
    inputs = read_inputs(["requirements.txt"], place)
    by = Resolver(root=place, scratch=place, environment=environment, timeout_s=timeout_s, indexes=indexes)
    wheels = [wheel for wheel in select(resolve(inputs, here, by), here).wheels if wheel.name == "ziglang"]
    if not wheels:
        raise ResolutionFailed("the package index has no compiler (ziglang) for this machine")
    return download(wheels, workspace.cached("wheels"), indexes)[wheels[0].sha256]
