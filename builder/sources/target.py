"""The directory that a source is written to: complete, or as it was."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import OutOfSpace


@contextmanager
def written(into: Path, label: str, whole: str) -> Iterator[None]:
    """Make `into`, which must not exist or be empty, and let the block fill it. After an error it is as it was.

    Args:
        label, whole: for the message of a full disk: whose files they are, and what was not yet complete.

    Raises:
        FileExistsError: `into` is not empty.
        OutOfSpace: the disk is full.
    """
    existed = into.is_dir() and not into.is_symlink()
    if into.exists() and (not existed or any(into.iterdir())):
        raise FileExistsError(errno.EEXIST, "not an empty directory", str(into))
    into.mkdir(parents=True, exist_ok=True)
    try:
        yield
    # BaseException: an interrupted build must not leave half a project behind either.
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if existed:
            into.mkdir()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                f"{label}: the disk is full before {whole}", hint="give the builder a larger ephemeral_storage"
            ) from error
        raise
