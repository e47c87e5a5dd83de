"""Packs of a repository's last fetch, kept for the next build of a warm environment, which then fetches only news.

An entry holds the packs of one commit and its LFS files, and belongs to one URL and one set of credentials: a request
with other credentials does not see it. It never answers a question: the server is always asked first. Entries appear
and go whole, so that builds may share them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.network.access import GitCredentials
from builder.store import whole
from builder.system import seals

# Each fetch adds a pack, and each pack slows down every look-up. When there are more, the next fetch starts over.
_MAX_PACKS = 8
# Of the disk, for one repository: a build needs the rest.
_SHARE = 0.1
_COMMIT = "commit"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A commit that packs hold, without its history. `partly`: without the content of some files."""

    commit: str
    partly: bool = False


class Kept:
    """One repository's entry in the existing directory `cache`, as seen by one set of credentials."""

    def __init__(self, cache: Path, url: str, credentials: GitCredentials | None) -> None:
        self._cache = cache
        self._name, who = names(url, credentials)
        self._place = cache / f"{self._name}-{who}"
        self._limit_bytes = int(shutil.disk_usage(cache).total * _SHARE)

    def link_packs(self, directory: Path, *, partly: bool = False) -> Held | None:
        """Put the packs into the empty `directory`, and return which commit they hold; None without any.

        Args:
            partly: take them also if they lack the content of some files.
        """
        try:
            found = re.fullmatch("([0-9a-f]{40})( partly)?", (self._place / _COMMIT).read_text())
            for path in [*self._place.glob("*.pack"), *self._place.glob("*.idx")]:
                # Hard links: another build may remove the entry at any moment, and the linked files stay.
                os.link(path, directory / path.name)
        except OSError:  # nothing kept, or someone else is changing it
            found = None
        if found and (partly or not found[2]):
            return Held(commit=found[1], partly=bool(found[2]))
        for path in directory.iterdir():
            path.unlink()
        return None

    def link_lfs(self, oid: str, target: Path) -> bool:
        """Make the LFS file with that sha256 available as `target`; the caller has to check its content."""
        try:
            os.link(self._place / "lfs" / oid, target)
        except OSError:
            return False
        return True

    def keep(self, held: Held, packs: Path, lfs: Mapping[str, Path]) -> None:
        """Replace the entry by the files in `packs`, and the LFS files by their sha256.

        An entry that would be too large is not kept at all.
        """
        files = {path.name: path for path in packs.iterdir()} | {f"lfs/{oid}": path for oid, path in lfs.items()}
        count = sum(name.endswith(".pack") for name in files)
        # First, since a new entry cannot be renamed over an old directory.
        self.forget()
        if count > _MAX_PACKS or sum(path.stat().st_size for path in files.values()) > self._limit_bytes:
            return
        with contextlib.suppress(OSError):  # another disk, or another build was quicker: then there is no entry
            with whole.folder(self._place) as entry:
                (entry / "lfs").mkdir()
                for name, path in files.items():
                    os.link(path, entry / name)
                (entry / _COMMIT).write_text(f"{held.commit}{' partly' * held.partly}")
            # Sealed, so that they outlive a build of another project. Git's own hashes are compared when they are read.
            for name in (*files, _COMMIT):
                seals.seal(self._place / name)

    def forget(self) -> None:
        """Remove all entries of the repository, whoever fetched them: one is enough."""
        for entry in self._cache.glob(f"{self._name}-*"):
            with contextlib.suppress(OSError):
                # Renamed first: removing takes a while, and no other build may borrow half an entry.
                gone = Path(tempfile.mkdtemp(prefix=".old-", dir=self._cache))
                entry.rename(gone / "entry")
                shutil.rmtree(gone, ignore_errors=True)


def names(url: str, credentials: GitCredentials | None) -> tuple[str, str]:
    """Return the hashes of a repository and of the credentials that see it, for the names of cached things."""
    who = f"{credentials.base}\n{credentials.username}\n{credentials.token}" if credentials else ""
    return _hash(url), _hash(who)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
