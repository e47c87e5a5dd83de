"""The table of Lambda runtimes: systems, C libraries, and dates of deprecation.

Sources: the runtime table of the Lambda developer guide (operating system, dates) and AWS's own packager for the C
library of each Python. Dates are when AWS deprecates a runtime, not when it stops running.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from builder.errors import InvalidEvent

Architecture = Literal["x86_64", "arm64"]

# Names of Lambda's two architectures for wheels, uv and ELF headers.
MACHINES: Mapping[Architecture, str] = {"x86_64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One managed runtime. `python` is (major, minor) for Python runtimes, `glibc` its C library's version."""

    name: str
    family: Literal["python", "nodejs", "provided"]
    system: Literal["AL2", "AL2023"]
    glibc: tuple[int, int]
    deprecated: datetime.date | None
    python: tuple[int, int] | None = None

    def is_deprecated(self, today: datetime.date) -> bool:
        """Tell whether AWS has stopped supporting it by `today`."""
        return self.deprecated is not None and self.deprecated <= today


def _python(minor: int, system: Literal["AL2", "AL2023"], deprecated: str) -> Runtime:
    return Runtime(
        name=f"python3.{minor}",
        family="python",
        system=system,
        glibc=(2, 26) if system == "AL2" else (2, 34),
        deprecated=datetime.date.fromisoformat(deprecated),
        python=(3, minor),
    )


def _other(
    name: str, family: Literal["nodejs", "provided"], system: Literal["AL2", "AL2023"], deprecated: str
) -> Runtime:
    return Runtime(
        name=name,
        family=family,
        system=system,
        glibc=(2, 26) if system == "AL2" else (2, 34),
        deprecated=datetime.date.fromisoformat(deprecated),
    )


RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        _python(9, "AL2", "2025-12-15"),
        _python(10, "AL2", "2026-10-31"),
        _python(11, "AL2", "2027-06-30"),
        _python(12, "AL2023", "2028-10-31"),
        _python(13, "AL2023", "2029-06-30"),
        _python(14, "AL2023", "2029-06-30"),
        _other("nodejs20.x", "nodejs", "AL2023", "2026-04-30"),
        _other("nodejs22.x", "nodejs", "AL2023", "2027-04-30"),
        _other("nodejs24.x", "nodejs", "AL2023", "2028-04-30"),
        _other("provided.al2", "provided", "AL2", "2026-07-31"),
        _other("provided.al2023", "provided", "AL2023", "2029-06-30"),
    )
}

_GO = "use runtimes: [provided.al2023] with build: go, which makes the bootstrap that it starts"
# Runtimes with which AWS creates no functions any more, and what to use. Source: as above.
RETIRED: Mapping[str, str] = {
    "go1.x": _GO,
    "provided": "use provided.al2023",
    "python2.7": "use python3.13",
    "python3.6": "use python3.13",
    "python3.7": "use python3.13",
    "python3.8": "use python3.13",
    **{f"nodejs{old}": "use nodejs24.x" for old in ("8.10", "10.x", "12.x", "14.x", "16.x", "18.x")},
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an artifact is made for: a runtime and an architecture."""

    runtime: Runtime
    architecture: Architecture

    @property
    def machine(self) -> str:
        """Architecture as wheel tags and ELF tools spell it."""
        return MACHINES[self.architecture]

    @property
    def label(self) -> str:
        """Text for messages and keys, for example `python3.13-x86_64`."""
        return f"{self.runtime.name}-{self.architecture}"


def architecture_of(machine: str) -> Architecture:
    """Return the Lambda architecture of a `uname -m` machine.

    Raises:
        InvalidEvent: Lambda has no such architecture.
    """
    for architecture, name in MACHINES.items():
        if machine in (architecture, name):
            return architecture
    raise InvalidEvent(f"architecture {machine!r} does not exist on Lambda", hint="use x86_64 or arm64")
