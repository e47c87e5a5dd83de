"""The project's own files in a component, and hashes of files: what keys are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from builder.plan import DEPENDENCIES, FUNCTION
from builder.project import Project, layer_files
from builder.sources.local import select_files

# Part of every key made here: changes when the same inputs would give other bytes.
_FORMAT = "1"


def own_files(project: Project, name: str) -> tuple[tuple[str, Path], ...]:
    """The project's files that go into the function or a named layer as they are: (place in the zip, path)."""
    function = project.spec.function
    if name == DEPENDENCIES:
        return ()
    if name != FUNCTION:
        layer = project.layer(name)
        return layer_files(project.root, layer) if layer.ships_files else ()
    if function is None or not function.ships_files:
        return ()
    return select_files(project.root, function.source_dir, function.files, function.left_out)


def files_key(inputs: str, files: Sequence[tuple[str, Path]]) -> str:
    """The content key of what `inputs`, in words, make of the files."""
    digest = hashlib.sha256(f"files\0{_FORMAT}\0{inputs}".encode())
    for name, path in files:
        digest.update(f"\0{name}\0{int(is_executable(path))}\0{_content_hash(path)}".encode())
    return digest.hexdigest()


def hashes(files: Sequence[tuple[str, Path]]) -> dict[str, str]:
    """File → a hash of its content, for people."""
    return {name: f"#{_content_hash(path)[:16]}{'x' * is_executable(path)}" for name, path in files}


def is_executable(path: Path) -> bool:
    """Whether its owner may run it."""
    return bool(path.stat().st_mode & 0o100)


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
