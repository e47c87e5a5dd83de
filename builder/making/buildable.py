"""What a component is to all that builds: a name, a key, inputs and a way to make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from builder.plan import Artifact, Kind


class Buildable(Protocol):
    """A component of one project, with all that making it takes. `components.component` knows the classes."""

    @property
    def name(self) -> str:
        """The component's name in the build file, or `function`."""

    @property
    def kind(self) -> Kind:
        """What it is to Lambda and to people."""

    @property
    def runs_code(self) -> bool:
        """Whether code that the builder does not vouch for has a hand in it: then it is this trust domain's alone."""

    @property
    def uses_lock(self) -> bool:
        """Whether it is made of, or with, the locked dependencies."""

    def key(self) -> str:
        """Return the hash of all that the artifact depends on and that is known before it is made.

        Raises:
            PathNotFound, UnsafeSource: a file of the build file is missing or leads out of the project.
            UnknownToolchain: the build file names one that cannot be had.
        """

    def inputs(self) -> dict[str, str]:
        """Return what it is made of, for people to compare: file → `#hash`, distribution → version."""

    def make(self) -> Artifact:
        """Build it; its zip is at `shipment.zip_of`.

        Raises:
            BuildFailed, ResolutionFailed, SourceError: with what was being built.
        """


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """A component around another one, `of`, which decides on all that the wrapper does not."""

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
        """As `Buildable`."""
        return self.of.key()

    def inputs(self) -> dict[str, str]:
        """As `Buildable`."""
        return self.of.inputs()

    def make(self) -> Artifact:
        """As `Buildable`."""
        return self.of.make()
