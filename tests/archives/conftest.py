"""An archive unpacked, or refused, in a place of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.archives.archived import Limits
from builder.errors import LambdasmithError, UnsafeSource
from builder.sources.archive import Extracted, extract


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Unpacks bytes below `into`, which is not there at first."""

    into: Path

    def unpack(self, data: bytes, limits: Limits | None = None) -> Extracted:
        path = self.into.parent.parent / "a.bin"
        path.write_bytes(data)
        return extract(path, self.into, limits=limits)

    def refusal(self, data: bytes, kind: type[LambdasmithError] = UnsafeSource, *, limits: Limits | None = None) -> str:
        """The message with which it is refused; nothing is left of it."""
        with pytest.raises(LambdasmithError) as caught:
            self.unpack(data, limits)
        assert type(caught.value) is kind, caught.value
        assert list(self.into.parent.iterdir()) == []
        start, _, said = caught.value.message.partition(": ")
        assert start == "a.bin"
        return said


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    into = tmp_path / "around" / "into"
    into.parent.mkdir()
    return Bench(into=into)
