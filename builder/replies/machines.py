"""What a reply says of the builder itself, of the system that it runs on, of the cache of a workstation."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class SystemLibrary(TypedDict):
    """A library that is there."""

    path: str
    soname: str


class Baseline(TypedDict):
    """What a runtime has to load."""

    system: str
    architecture: str
    runtime: str
    source: str
    versions: dict[str, str]
    """By family, the newest."""
    libraries: dict[str, SystemLibrary]
    runtime_libraries: dict[str, SystemLibrary]


class VersionDifference(TypedDict):
    """A family of symbol versions."""

    known: str | None
    found: str | None


class Difference(TypedDict):
    """How a runtime differs from what this version came with."""

    added: list[str]
    missing: list[str]
    versions: dict[str, VersionDifference]


class CacheKind(TypedDict):
    """What one kind of thing takes in the cache of a workstation."""

    kind: str
    files: int
    bytes: int


class CacheState(TypedDict):
    """The cache of a workstation."""

    place: str
    """Its directory."""
    cleared: bool
    """Whether all that is told here was removed."""
    bytes: int
    """What it took."""
    limit: int
    """In bytes; above it, what was used longest ago goes."""
    kinds: list[CacheKind]
    """The largest first."""


class OwnLayer(TypedDict):
    """The builder's own layer."""

    key: str
    reused: bool
    arn: NotRequired[str]
    size: NotRequired[int]
    unzipped: NotRequired[int]


class OwnSettings(TypedDict):
    """Where the builder keeps things."""

    bucket: str
    prefix: str
    layer: str
