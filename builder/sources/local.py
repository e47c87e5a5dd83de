"""Files of a project on disk: which of them a component wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def select_files(
    root: Path, source_dir: str, files: Sequence[str], exclude: Sequence[str]
) -> tuple[tuple[str, Path], ...]:
    raise NotImplementedError
