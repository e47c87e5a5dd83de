"""What can be put around any component: reuse, progress, checks. Each is a component itself."""

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

# How libraries are named among the inputs of a component; no file and no distribution begins like this.
_LIBRARY = "library "


@dataclass(frozen=True, kw_only=True)
class Collecting(Wrapper):
    """A component that native libraries of the machine are added to: the machine counts as an input, too."""

    project: Project
    workshop: Workshop

    def key(self) -> str:
        """Hash the component's own key together with what is known of the machine."""
        machine = shipment.key(self.project, self.name, self.workshop)
        return hashlib.sha256(f"{self.of.key()}\0{machine}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Stored(Wrapper):
    """A component that is made once for the same inputs, and then taken from the store."""

    project: Project
    workshop: Workshop

    @functools.cached_property
    def _key(self) -> str:
        return self.of.key()

    def key(self) -> str:
        """Return the component's key, which is computed once: it hashes files."""
        return self._key

    def make(self) -> Artifact:
        """Return the artifact that the store has, or else make it."""
        return self.known.artifact or self.of.make()

    @property
    def known(self) -> Component:
        """The component as a plan takes it, with the artifact where the store has one that can be used again."""
        return Component(name=self.name, kind=self.kind, key=self.key(), artifact=self._recalled[0])

    @property
    def differing_libraries(self) -> tuple[str, ...]:
        """Why an artifact is not used again, in words: the machine has other native libraries now."""
        return tuple(f"{name} of this machine" for name in self._recalled[1])

    def changed_since(self, key: str) -> tuple[str, ...]:
        """Return which inputs differ from those that had another `key`, in words, as far as the store knows those."""
        if key == self.key():
            return ()
        then = self._records.find(f"components/{key}.json", _inputs)
        if then is None:
            return ()
        # Libraries of the machine are known when the component has been built, not now.
        then = {name: value for name, value in then.items() if not name.startswith(_LIBRARY)}
        return changed_inputs(then, self.inputs())

    def keep(self, artifact: Artifact) -> None:
        """Put into the store what was made just now, with the inputs that it is found by the next time."""
        store = self.workshop.store
        if not store.exists(artifact.name, sha256=artifact.sha256):
            store.put(artifact.name, shipment.zip_of(self.name, self.workshop), sha256=artifact.sha256)
        libraries = {f"{_LIBRARY}{row['library']}": f"#{str(row['sha256'])[:16]}" for row in artifact.native_libraries}
        made_of: Mapping[str, object] = {"inputs": self.inputs() | libraries}
        self._records.write_json(self._record, {**artifact.as_json(), **made_of})

    @functools.cached_property
    def _recalled(self) -> tuple[Artifact | None, tuple[str, ...]]:
        """The artifact that can be used again, and the libraries that keep one from it."""
        artifact = self._records.find(self._record, artifact_of)
        # The bucket's owner may remove any object, and then this is simply made again.
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
        """Where it is kept which artifact the inputs give. What foreign code has made is its trust domain's alone."""
        return self.workshop.kept if self.runs_code else self.workshop.store

    @property
    def _record(self) -> str:
        return f"components/{self.key()}.json"


def _inputs(kept: Fields) -> dict[str, str]:
    return kept.fields("inputs").all_texts()


@dataclass(frozen=True, kw_only=True)
class Unbuilt(Wrapper):
    """A component that a dry run does not build: what the store has of it, whatever was asked for."""

    artifact: Artifact | None

    def make(self) -> Artifact:
        """Return what is known."""
        return self.artifact or UNBUILT


@dataclass(frozen=True, kw_only=True)
class Announced(Wrapper):
    """A component whose making is a phase of the progress, with the reason for it."""

    progress: Progress
    why: str

    def make(self) -> Artifact:
        """Make it while people are told."""
        with self.progress.phase(self.name, f"building {self.name}: {self.why}"):
            return self.of.make()


@dataclass(frozen=True, kw_only=True)
class Watched(Wrapper):
    """A component whose making must leave the project as it is: others are made of the same files."""

    project_files: Untouched

    def make(self) -> Artifact:
        """Make it.

        Raises:
            SourceChanged: code that ran has written to the project.
        """
        artifact = self.of.make()
        self.project_files.check(f"building {self.name}")
        return artifact
