"""A module whose repository is known, its versions by their tags, and the times of their commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from builder.errors import RefNotFound
from builder.golang.paths import Version
from builder.sources.commits import Commits


@dataclass(frozen=True, kw_only=True)
class Info:
    """A version, and the time of its commit, in seconds since the epoch."""

    version: str
    time: int

    def as_json(self) -> dict[str, str]:
        """Return it as module proxies do."""
        return {"Version": self.version, "Time": _utc(self.time).strftime("%Y-%m-%dT%H:%M:%SZ")}


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module whose repository is known. Tags of its versions begin with `prefix`."""

    path: str
    repository: Commits
    root: str
    directory: str
    major: str

    @property
    def prefix(self) -> str:
        return f"{self.directory}/" if self.directory else ""

    def tags(self) -> dict[Version, str]:
        """Return the versions that have a tag, and their commits; pseudo-versions are never tags."""
        found = {}
        for name, commit in self.repository.tags().items():
            version = Version.parse(name.removeprefix(self.prefix)) if name.startswith(self.prefix) else None
            if version and not version.commit and not version.incompatible:
                found[version] = commit
        return found

    def versions(self) -> dict[Version, str]:
        """Return the tagged versions that the module's path allows."""
        return {version: commit for version, commit in self.tags().items() if version.fits(self.major)}


def canonical(text: str) -> Version:
    version = Version.parse(text)
    if version is None:
        raise RefNotFound(f"{text} is not a version", hint="versions are written v1.2.3")
    return version


def _utc(time: int) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def stamp(time: int) -> str:
    return _utc(time).strftime("%Y%m%d%H%M%S")
