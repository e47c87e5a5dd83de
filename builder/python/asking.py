"""Asking package indexes, and whoever has their files: patiently, and with words for what came instead."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from builder.errors import SourceUnreachable
from builder.network.access import Network
from builder.network.patience import patiently
from builder.network.urls import without_secrets
from builder.sources.answers import busy, unreachable

if TYPE_CHECKING:
    import requests

    from builder.secrets.indexes import Login

_CHUNK = 1 << 18
ONCE = Network(pauses_s=(), read_timeout_s=8)
"""For those who have been patient already."""

# How often a file is fetched that is not what it should be: a proxy or a mirror may have another one, or half, once.
WRONG = 2

T = TypeVar("T")


def get(
    url: str,
    read: Callable[[requests.Response], T],
    *,
    what: str = "",
    session: requests.Session | None = None,
    login: Login | None = None,
    headers: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> T:
    """What `read` makes of the answer to a GET of `url`; asked again where the server has trouble that may pass.

    Args:
        what: the file or project that it is about, for messages.

    Raises:
        SourceUnreachable: the server has trouble, does not answer, or breaks off, every time.
    """
    import requests

    network = network or Network()
    where = f"{what}: {without_secrets(url)}" if what else without_secrets(url)

    def attempt() -> T:
        asking = session.get if session else requests.get
        try:
            # A redirect to another host goes without the login.
            limits = (network.connect_s, network.read_s)
            with asking(url, headers=headers, stream=True, timeout=limits, auth=login) as answer:
                if trouble := busy(where, answer.status_code, answer.headers):
                    raise trouble
                return read(answer)
        except requests.RequestException as error:
            # Without its cause, which may have secrets of the URL.
            raise unreachable(where, error, url) from None

    return patiently(attempt, network)


def save(answer: requests.Response, path: Path, what: str) -> str:
    """Write the body of an answer to `path`; its sha256.

    Raises:
        SourceUnreachable: it is no file.
    """
    if answer.status_code != 200:
        raise SourceUnreachable(
            f"{what}: {without_secrets(answer.url)} answers {answer.status_code}",
            hint="if the file was removed, build with upgrade to lock again",
        )
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in answer.iter_content(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
