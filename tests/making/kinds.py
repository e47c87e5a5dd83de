"""Projects that are not Python, built on this machine by the workstation's door, with one cache for all tests."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from builder.flow import workstation
from builder.progress import Progress


def write(root: Path, files: Mapping[str, str]) -> Path:
    """A directory with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@dataclass
class Lab:
    """Builds directories; toolchains are fetched once."""

    cache: Path
    environment: Mapping[str, str]

    def place(self, files: Mapping[str, str]) -> Path:
        """A directory with these files, always the same: what is built there finds the compiler's cache of the last."""
        root = self.cache.with_name("place")
        shutil.rmtree(root, ignore_errors=True)
        return write(root, files)

    def build(
        self,
        project: Path,
        out: Path,
        *,
        architecture: Literal["x86_64", "arm64"] | None = None,
        said: list[str] | None = None,
        **environment: str,
    ) -> dict[str, Any]:
        """The reply; `said` gets what people would be told meanwhile."""
        progress = Progress(lambda moment: (said if said is not None else []).append(moment.message))
        order = workstation.Order(directory=project, out=out, cache=self.cache, architecture=architecture)
        return dict(workstation.build(order, progress, {**self.environment, **environment}))


def lab(folder: Path) -> Lab:
    """A lab with an empty cache."""
    return Lab(cache=folder / "cache", environment=dict(os.environ))


def names(archive: Path) -> dict[str, bool]:
    """Place in the zip → whether it is executable."""
    with zipfile.ZipFile(archive) as opened:
        return {info.filename: bool(info.external_attr >> 16 & 0o100) for info in opened.infolist()}
