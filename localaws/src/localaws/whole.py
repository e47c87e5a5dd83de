"""Files and directories that appear whole or not at all: made beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFTOVERS = "*.partial"
"""Files that were being written when a process ended."""


def write(target: Path, content: bytes) -> None:
    """Put `content` in the place of `target`."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.partial")
    partial.write_bytes(content)
    partial.replace(target)


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    """Yield a directory beside `target` to fill, renamed to `target` at the end.

    Whoever comes second in a race finds `target` there and drops its own copy: the content is the same by definition.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name[:16]}-", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
