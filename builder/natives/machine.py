"""The build machine: its system, and where its dynamic linker searches. Nothing is run to find out."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# How deep configuration files may include each other, so that two that include each other come to an end.
_DEEPEST = 8


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The build machine: `system` as in the baselines (AL2, AL2023), else id and version (debian-12).

    `directories` are the dynamic linker's, in its order: those of ld.so.conf, then its built-in ones.
    """

    system: str
    directories: tuple[Path, ...]

    @classmethod
    def here(cls, machine: str, root: Path = Path("/")) -> Machine:
        """Describe this machine, for libraries of `machine` (x86_64, aarch64), which need not be its own.

        Args:
            root: where its file system begins.
        """
        configured = _configured(root / "etc/ld.so.conf", root, _DEEPEST)
        return cls(system=_system(root), directories=tuple(dict.fromkeys([*configured, *_own(machine, root)])))


def _system(root: Path) -> str:
    """Return the system named by os-release(5)."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        with contextlib.suppress(OSError, ValueError):
            words = shlex.split((root / name).read_text(encoding="utf-8"), comments=True)
            values = dict(word.split("=", 1) for word in words if "=" in word)
            system, version = values.get("ID", "linux"), values.get("VERSION_ID", "")
            return f"AL{version}" if system == "amzn" else "-".join(filter(None, (system, version)))
    return "unknown"


def _configured(file: Path, root: Path, deepest: int) -> Iterator[Path]:
    """Yield the directories of a configuration file of ldconfig(8): any number per line, or `include PATTERN`."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].replace(",", " ").replace(":", " ").split()
        if words and words[0] == "include":
            for pattern in words[1:] if deepest else ():
                folder = root if pattern.startswith("/") else file.parent
                for included in sorted(folder.glob(pattern.lstrip("/"))):
                    yield from _configured(included, root, deepest - 1)
        elif words and words[0] != "hwcap":
            # A directory may have a type behind it: /lib=libc6.
            yield from (root / word.partition("=")[0].lstrip("/") for word in words if word.startswith("/"))


def _own(machine: str, root: Path) -> Iterator[Path]:
    """Yield the built-in directories: Debian's of an architecture, then everyone's."""
    for name in (f"lib/{machine}-linux-gnu", f"usr/lib/{machine}-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"):
        yield root / name
    yield root / f"usr/{machine}-linux-gnu/lib"  # of a cross compiler


def directories_of(library_path: str) -> tuple[Path, ...]:
    """Return the directories of an LD_LIBRARY_PATH, without relative ones, which depend on where one is."""
    return tuple(Path(entry) for entry in re.split("[:;]", library_path) if entry.startswith("/"))


def find(name: str, directories: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of that name, in the order of the directories; several directories may be the same one."""
    seen = set()
    for folder in directories:
        path = folder / name
        with contextlib.suppress(OSError):
            # /lib is a link to /usr/lib on most systems.
            if path.is_file() and (real := path.resolve()) not in seen:
                seen.add(real)
                yield path
