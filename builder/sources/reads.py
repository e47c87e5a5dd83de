"""What something was made of: paths of a repository, and the fingerprint of what was there."""

from __future__ import annotations

from dataclasses import dataclass

from builder.store.values import SHA256, Fields


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What a function was made of: `paths` of the repository, "" for all of it, and the fingerprint of their content.

    A path need not exist: whether it does may decide something.
    """

    paths: tuple[str, ...]
    fingerprint: str

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"paths": list(self.paths), "fingerprint": self.fingerprint}

    @classmethod
    def parse(cls, kept: Fields) -> Reads:
        """Parse the output of `as_json`."""
        return cls(paths=kept.texts("paths"), fingerprint=kept.text("fingerprint", SHA256))
