"""Requests to package indexes and file hosts: with retries, and with clear errors for unexpected responses."""

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
"""Network settings without retries, for callers that have already retried."""

# Attempts at a file with a wrong hash: a proxy or a mirror may serve another file, or half of it, once.
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
    """Return gET `url` and return the result of `read`; retry if the server has trouble that may pass.

    Args:
        what: the file or project, for messages.

    Raises:
        SourceUnreachable: every attempt ends with an error, no response, or a broken connection.
    """
    import requests

    network = network or Network()
    where = f"{what}: {without_secrets(url)}" if what else without_secrets(url)

    def attempt() -> T:
        asking = session.get if session else requests.get
        try:
            # requests drops the login on a redirect to another host.
            limits = (network.connect_s, network.read_s)
            with asking(url, headers=headers, stream=True, timeout=limits, auth=login) as answer:
                if trouble := busy(where, answer.status_code, answer.headers):
                    raise trouble
                return read(answer)
        except requests.RequestException as error:
            # Without its cause, whose text may contain secrets of the URL.
            raise unreachable(where, error, url) from None

    return patiently(attempt, network)


def save(answer: requests.Response, path: Path, what: str) -> str:
    """Write the body of a response to `path` and return its sha256.

    Raises:
        SourceUnreachable: the response is not a file.
    """
    if answer.status_code != 200:
        raise SourceUnreachable(
            f"{what}: {without_secrets(answer.url)} answers {answer.status_code}",
            hint="if the file was removed, build with upgrade to lock again",
        )
    digest = hashlib.sha256()
    with path.open("wb") as file:
        # In chunks: a wheel may be larger than the memory that is left. Hashed on the way, so that it is read once.
        for chunk in answer.iter_content(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
