"""Earlier states of this repository: a git revision, written to a directory of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write_revision(revision: str, into: Path, repository: Path = ROOT) -> Path:
    """Write the files of `revision` to the directory `into`; return it.

    An archive, not a work tree: nothing is registered in the repository, so nothing is left there after a crash.

    Raises:
        SystemExit: git does not know the revision, and has printed an error.
    """
    # Without the colon, `main:docs` would be an archive of a part.
    command = ["git", "-C", str(repository), "archive", "--format=tar", f"{revision}^{{commit}}"]
    made = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if made.returncode:
        raise SystemExit(made.returncode)
    # tar itself: the filters of tarfile are newer than Debian's Python 3.11. What git has archived is our own.
    into.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-C", str(into)], input=made.stdout, check=True)
    return into
