"""Wrappers of any component: reuse, progress, checks. Each is a component itself."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from builder.making import shipment
from builder.making.buildable import Wrapper
from builder.making.product import artifact_of
from builder.making.project import Project
from builder.making.untouched import Untouched
from builder.plan import UNBUILT, Artifact, Component, changed_inputs
from builder.progress import Progress
from builder.store.keeping import Store
from builder.store.values import Fields
from builder.workshop.workshop import Workshop

# Prefix of libraries among the inputs of a component; no file and no distribution begins with it.
_LIBRARY = "library "


@dataclass(frozen=True, kw_only=True)
class Collecting(Wrapper):
    """A component to which native libraries of the machine are added, so the machine is also an input."""

    project: Project
    workshop: Workshop

    def key(self) -> str:
        """Hash the component's own key together with the machine's facts."""
        machine = shipment.key(self.project, self.name, self.workshop)
        return hashlib.sha256(f"{self.of.key()}\0{machine}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Stored(Wrapper):
    """A component that is taken from the store if it was made from the same inputs before."""

    project: Project
    workshop: Workshop

    @functools.cached_property
    def _key(self) -> str:
        return self.of.key()

    def key(self) -> str:
        """Return the component's key, computed once because it hashes files."""
        return self._key

    def make(self) -> Artifact:
        """Return the artifact in the store, or make it."""
        return self.known.artifact or self.of.make()

    @property
    def known(self) -> Component:
        """Component for a plan, with its artifact if the store has one that can be used again."""
        return Component(name=self.name, kind=self.kind, key=self.key(), artifact=self._recalled[0])

    @property
    def differing_libraries(self) -> tuple[str, ...]:
        """Phrases for libraries of the machine that changed, so that an artifact cannot be used again."""
        return tuple(f"{name} of this machine" for name in self._recalled[1])

    def changed_since(self, key: str) -> tuple[str, ...]:
        """Return phrases for the inputs that differ from those of another `key`, if the store has a record of these."""
        if key == self.key():
            return ()
        then = self._records.find(f"components/{key}.json", _inputs)
        if then is None:
            return ()
        # Left out: the machine's libraries are known only after the build, so they would all count as removed.
        then = {name: value for name, value in then.items() if not name.startswith(_LIBRARY)}
        return changed_inputs(then, self.inputs())

    def keep(self, artifact: Artifact) -> None:
        """Put a new artifact into the store, with a record of its inputs, by which the next build finds it."""
        store = self.workshop.store
        # The zip first: a record must never name an artifact that is not there.
        if not store.exists(artifact.name, sha256=artifact.sha256):
            store.put(artifact.name, shipment.zip_of(self.name, self.workshop), sha256=artifact.sha256)
        libraries = {f"{_LIBRARY}{row['library']}": f"#{str(row['sha256'])[:16]}" for row in artifact.native_libraries}
        made_of: Mapping[str, object] = {"inputs": self.inputs() | libraries}
        self._records.write_json(self._record, {**artifact.as_json(), **made_of})

    @functools.cached_property
    def _recalled(self) -> tuple[Artifact | None, tuple[str, ...]]:
        """Artifact that can be used again, or else the libraries that prevent it."""
        artifact = self._records.find(self._record, artifact_of)
        # The bucket's owner may have removed the zip: then it is made again.
        if (
            artifact is None
            or artifact is UNBUILT
            or not self.workshop.store.exists(artifact.name, sha256=artifact.sha256)
        ):
            return None, ()
        differing = shipment.differing(self.project, self.name, artifact, self.workshop)
        return (None, differing) if differing else (artifact, ())

    @property
    def _records(self) -> Store:
        """Store of the record; artifacts that foreign code has made are for its trust domain alone."""
        return self.workshop.kept if self.runs_code else self.workshop.store

    @property
    def _record(self) -> str:
        return f"components/{self.key()}.json"


def _inputs(kept: Fields) -> dict[str, str]:
    return kept.fields("inputs").all_texts()


@dataclass(frozen=True, kw_only=True)
class Unbuilt(Wrapper):
    """A component that a dry run would build: it has the artifact in the store, if any, even with `force`."""

    artifact: Artifact | None

    def make(self) -> Artifact:
        """Return the known artifact, or `UNBUILT`."""
        return self.artifact or UNBUILT


@dataclass(frozen=True, kw_only=True)
class Announced(Wrapper):
    """A component whose making is a phase of the progress, with the reason for it."""

    progress: Progress
    why: str

    def make(self) -> Artifact:
        """Make it in a phase of the progress."""
        with self.progress.phase(self.name, f"building {self.name}: {self.why}"):
            return self.of.make()


@dataclass(frozen=True, kw_only=True)
class Watched(Wrapper):
    """A component whose code must not change the project, because others are made from the same files."""

    project_files: Untouched

    def make(self) -> Artifact:
        """Make it.

        Raises:
            SourceChanged: code that ran has written to the project.
        """
        artifact = self.of.make()
        self.project_files.check(f"building {self.name}")
        return artifact
