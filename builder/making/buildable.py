"""The protocol of all components: a name, a key, inputs and a way to make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from builder.plan import Artifact, Kind


class Buildable(Protocol):
    """A component of one project, with everything needed to make it. `components.component` knows the classes."""

    @property
    def name(self) -> str:
        """The component's name in the build file, or `function`."""

    @property
    def kind(self) -> Kind:
        """Kind of the component: function, layer or dependencies."""

    @property
    def runs_code(self) -> bool:
        """Whether making it runs foreign code: then the artifact is for this trust domain alone."""

    @property
    def uses_lock(self) -> bool:
        """Whether making it needs the lock of the dependencies."""

    def key(self) -> str:
        """Return the hash of everything that is known before the build and changes the artifact.

        Raises:
            PathNotFound, UnsafeSource: a file that the build file names is missing or leads out of the project.
            UnknownToolchain: the build file names a toolchain that does not exist.
        """

    def inputs(self) -> dict[str, str]:
        """Return the inputs, for people to compare: file → `#hash`, distribution → version."""

    def make(self) -> Artifact:
        """Build it; its zip is at `shipment.zip_of`.

        Raises:
            BuildFailed, ResolutionFailed, SourceError: naming the component.
        """


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """A component around another one, `of`, whose members it has unless a wrapper replaces them."""

    of: Buildable

    @property
    def name(self) -> str:
        """As `Buildable`."""
        return self.of.name

    @property
    def kind(self) -> Kind:
        """As `Buildable`."""
        return self.of.kind

    @property
    def runs_code(self) -> bool:
        """As `Buildable`."""
        return self.of.runs_code

    @property
    def uses_lock(self) -> bool:
        """As `Buildable`."""
        return self.of.uses_lock

    def key(self) -> str:
        """Return the key, see `Buildable`."""
        return self.of.key()

    def inputs(self) -> dict[str, str]:
        """Return the inputs, see `Buildable`."""
        return self.of.inputs()

    def make(self) -> Artifact:
        """Make the component, see `Buildable`."""
        return self.of.make()
