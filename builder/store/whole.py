"""Files and directories that appear whole or not at all: made beside their place, then renamed.

Whoever reads meanwhile, or makes the same, sees all of it or none: builds share a cache, and a builder can be killed at
any moment. What it leaves behind then begins with a dot, see `is_leftover`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MARK = ".new-"


@contextlib.contextmanager
def file(target: Path) -> Iterator[Path]:
    """A path beside `target`, at which nothing is yet; what is there when the block ends takes the place of `target`.

    Nothing happens where nothing is there then, or where the block raises.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_MARK)
    os.close(handle)
    partial = Path(name)
    partial.unlink()
    try:
        yield partial
        if partial.exists():
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(target: Path) -> Iterator[Path]:
    """An empty directory beside `target`, which becomes `target` when the block ends without an error.

    Where somebody else was quicker, what they have made stays.
    """
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=_MARK))
    try:
        yield partial
        with contextlib.suppress(OSError):  # a directory that is not empty is in the way: somebody was quicker
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Whether it was being made; once nobody makes anything, it was left behind."""
    return path.name.startswith(_MARK)
