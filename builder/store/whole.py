"""Makes files and directories that appear whole or not at all: written beside their place, then renamed.

Other processes that read or make the same meanwhile see all of it or none: builds share a cache, and a builder can be
killed at any moment. What it leaves behind then begins with a dot, see `is_leftover`.
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
    """Yield a path beside `target` where nothing is yet; what is there when the block ends replaces `target`.

    Nothing happens if nothing is there then, or if the block raises.
    """
    # In the same directory, hence on the same disk: only there is a rename atomic.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_MARK)
    os.close(handle)
    partial = Path(name)
    partial.unlink()
    try:
        yield partial
        if partial.exists():
            # Atomic: readers see the old file or the new one.
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside `target`, which becomes `target` when the block ends without an error.

    If another process was quicker, its directory stays.
    """
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=_MARK))
    try:
        yield partial
        with contextlib.suppress(OSError):  # a directory that is not empty is in the way: another process was quicker
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Tell whether it is unfinished; when no one is making anything, it was left behind."""
    return path.name.startswith(_MARK)
