"""Descriptions of the native files of zips, read once per zip and kept: on this machine and in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.natives.elf import FORMAT, Native, read_natives
from builder.store import whole
from builder.store.keeping import Store
from builder.store.values import Fields, UnfitError, body, value_of
from builder.workspace.directory import Workspace


def natives_of(key: str, archive: Callable[[], Path], *, store: Store, workspace: Workspace) -> Sequence[Native]:
    """Return the native files of a zip, from this machine's cache, else from the store, else by reading it.

    Args:
        key: stands for the zip's content.
        archive: returns the zip; called only if it has to be read.
    """
    name = f"{FORMAT}-{key}.json"
    path = workspace.cached("natives") / name
    if workspace.intact(path):
        with contextlib.suppress(UnfitError, FileNotFoundError):
            return _parse(Fields(value_of(path.read_bytes())))
    # The cache on this machine first: the store costs a request.
    found = store.find(f"natives/{name}", _parse)
    if found is None:
        found = read_natives(archive())
        store.write_json(f"natives/{name}", _as_json(found))
    with whole.file(path) as partial:
        partial.write_bytes(body(_as_json(found)))
    workspace.seal(path)
    return found


def _as_json(natives: Sequence[Native]) -> dict[str, object]:
    return {"natives": [native.as_json() for native in natives]}


def _parse(kept: Fields) -> tuple[Native, ...]:
    return tuple(map(Native.parse, kept.rows("natives")))
