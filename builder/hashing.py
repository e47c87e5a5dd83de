"""Hashes of files: of one, of what is made of many, and short ones for people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

# Part of every key made here: raised when the same inputs would give other bytes.
_FORMAT = "1"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_key(inputs: str, files: Sequence[tuple[str, Path]]) -> str:
    """Return the content key of what `inputs`, in words, make of the files."""
    digest = hashlib.sha256(f"files\0{_FORMAT}\0{inputs}".encode())
    # Name, mode and content: a change of any of them changes the artifact.
    for name, path in files:
        digest.update(f"\0{name}\0{int(is_executable(path))}\0{sha256_of(path)}".encode())
    return digest.hexdigest()


def readable_hashes(files: Sequence[tuple[str, Path]]) -> dict[str, str]:
    """Return file → a hash of its content and mode, for people to compare."""
    return {name: f"#{sha256_of(path)[:16]}{'x' * is_executable(path)}" for name, path in files}


def is_executable(path: Path) -> bool:
    """Tell whether its owner may run it."""
    return bool(path.stat().st_mode & 0o100)
