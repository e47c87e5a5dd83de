"""Warnings about layers that someone else has attached and that contain files of ours.

Only the directories of the zips are fetched, which are at their ends.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError
from builder.plan import UNBUILT

if TYPE_CHECKING:
    from builder.context import Context
    from builder.publishing.deployment import Deployment
    from builder.publishing.steps import FunctionState, LayerChoice

# First request: the end of a zip, enough for the directory of some 600 files.
_TAIL = 64 << 10
_TIMEOUT_S = (5, 20)
# Function from an HTTP Range to the content and the header Content-Range.
_Fetch = Callable[[str], tuple[bytes, str]]


def warn(deployment: Deployment, state: FunctionState | None, context: Context) -> None:
    """Warn of every kept layer that has files of a layer of ours, naming both and a file."""
    foreign = deployment.kept_layers(state)
    if not foreign or not deployment.layers:
        return
    with ThreadPoolExecutor(len(foreign) + len(deployment.layers)) as pool:
        theirs = {arn: pool.submit(_files, _layer(deployment, arn)) for arn in foreign}
        ours = {
            choice.component: pool.submit(_files, _our(choice, deployment, context)) for choice in deployment.layers
        }
    for arn, found in theirs.items():
        for component, files in ours.items():
            try:
                both = sorted(found.result() & files.result())
            except (OSError, zipfile.BadZipFile, LambdasmithError) as error:
                # Not the error's own text: its URL gives access to the content.
                context.progress.warn(f"layer {arn} could not be compared with {component} ({type(error).__name__})")
                continue
            if both:
                more = f" and {len(both) - 1} more" if both[1:] else ""
                context.progress.warn(
                    f"layer {arn}, which someone else attached, has files that {component} has as well "
                    f"({both[0]}{more}): {component}'s are used; name the layer in the build file's `layers` to "
                    f"choose the order, or detach it"
                )


def _layer(deployment: Deployment, arn: str) -> _Fetch | None:
    """Return a function that reads the layer version's zip; None if the builder may not see it."""
    content = deployment.origins.readable(arn)
    return functools.partial(_fetched, content.location) if content else None


def _our(choice: LayerChoice, deployment: Deployment, context: Context) -> _Fetch | None:
    if choice.arn:
        return _layer(deployment, choice.arn)
    if choice.artifact is None or choice.artifact is UNBUILT:
        return None
    return functools.partial(context.store.read_range, choice.artifact.name)


def _fetched(url: str, wanted: str) -> tuple[bytes, str]:
    import requests

    answer = requests.get(url, headers={"Range": wanted}, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    return answer.content, answer.headers.get("Content-Range", "")


def _files(fetch: _Fetch | None) -> frozenset[str]:
    """Return names of the files in a zip."""
    if fetch is None:
        return frozenset()
    with zipfile.ZipFile(io.BufferedReader(_Remote(fetch), _TAIL)) as archive:
        return frozenset(name for name in archive.namelist() if not name.endswith("/"))


class _Remote(io.RawIOBase):
    """Remote file that fetches only the parts that are read, if the server supports ranges."""

    def __init__(self, fetch: _Fetch) -> None:
        super().__init__()
        self._fetch, self._at = fetch, 0
        self._load(f"bytes=-{_TAIL}")

    def _load(self, wanted: str) -> None:
        self._kept, which = self._fetch(wanted)
        place, _, size = which.removeprefix("bytes ").partition("/")
        self._start, self._size = (int(place.partition("-")[0]), int(size)) if place else (0, len(self._kept))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the current position; request the bytes if they were not fetched yet."""
        if self._at >= self._size:
            return 0
        if not self._start <= self._at < self._start + len(self._kept):
            self._load(f"bytes={self._at}-{self._size - 1}")  # the directory follows, and is read next
        found = self._kept[self._at - self._start :][: len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
