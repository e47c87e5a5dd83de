"""Wheels: downloaded in parallel, verified against the lock, kept by sha256."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CommandFailed, ResolutionFailed
from builder.hashing import sha256_of
from builder.network.untrusted import explained
from builder.network.urls import without_secrets
from builder.python.asking import WRONG, get, save
from builder.secrets.indexes import NO_LOGINS, Indexes, login_refused
from builder.store import whole
from builder.system import process

if TYPE_CHECKING:
    import requests

    from builder.python.pylock import LockedWheel

# Lambda allows 1,024 file descriptors and gives two processors at our memory: more connections do not help.
_PARALLEL = 8


def download(wheels: Sequence[LockedWheel], cache: Path, indexes: Indexes = NO_LOGINS) -> dict[str, Path]:
    """Fetch what `cache` does not have; the file of each wheel, by sha256.

    Raises:
        AuthenticationFailed: the server wants a login, or another one.
        ResolutionFailed: a file does not have the hash that the lock names.
        SourceUnreachable: the server does not give it after some attempts.
    """
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=_PARALLEL))
    session.mount("http://", HTTPAdapter(pool_maxsize=_PARALLEL))
    with ThreadPoolExecutor(_PARALLEL) as pool:
        paths = list(pool.map(lambda wheel: _fetch(wheel, cache, session, indexes), wheels))
    return {wheel.sha256: path for wheel, path in zip(wheels, paths, strict=True)}


def _fetch(wheel: LockedWheel, cache: Path, session: requests.Session, indexes: Indexes) -> Path:
    path = cache / wheel.sha256 / wheel.filename
    # Hashed again: commands of projects run as the same user as the builder, and might have written to the cache.
    if path.exists() and sha256_of(path) == wheel.sha256:
        os.utime(path.parent)  # in the cache, what was used longest ago goes first
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole.file(path) as partial:
        for _ in range(WRONG):
            found = _downloaded(wheel, partial, session, indexes)
            if found == wheel.sha256:
                return path
        raise ResolutionFailed(
            f"{wheel.filename} has sha256 {found}, the lock says {wheel.sha256}: {without_secrets(wheel.url)}",
            hint="the index served another file than the one that was locked; build with force to lock again",
        )
    return path


def _downloaded(wheel: LockedWheel, path: Path, session: requests.Session, indexes: Indexes) -> str:
    """The sha256 of what came."""

    def read(answer: requests.Response) -> str:
        if answer.status_code in (401, 403):
            raise login_refused(wheel.filename, answer.url, answer.status_code, indexes)
        return save(answer, path, wheel.filename)

    return get(wheel.url, read, what=wheel.filename, session=session, login=indexes.login(wheel.url))


def keep_wheel(path: Path, sha256: str, filename: str, cache: Path) -> Path:
    """Copy a wheel that was not downloaded to where `download` looks for it."""
    kept = cache / sha256 / filename
    if not kept.exists() or sha256_of(kept) != sha256:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole.file(kept) as partial:
            shutil.copyfile(path, partial)
    return kept


def download_with_pip(lock: Path, into: Path, *, environment: Mapping[str, str], timeout_s: float) -> list[Path]:
    """Have pip fetch the wheels of a hashed requirements file for this interpreter; for when nothing else is there.

    `into` must be an empty directory. Hashes are enforced by pip.

    Raises:
        UntrustedCertificate: the index's.
        CommandFailed: pip's own words are in `log_tail`.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--dest", str(into)]
    try:
        process.run(
            [*command, "--requirement", str(lock)],
            cwd=into,
            environment=environment,
            timeout_s=timeout_s,
            what="downloading the builder's own layer",
            trusted=True,
        )
    except CommandFailed as error:
        raise explained("\n".join(error.log_tail)) or error from None
    return sorted(into.glob("*.whl"))
