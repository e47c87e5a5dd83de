"""What the native files of zips say of themselves, read once per zip and kept: on this machine and in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.elf import FORMAT, Native, read_natives
from builder.store import Store
from builder.workspace import Workspace


def described(key: str, archive: Callable[[], Path], *, store: Store, workspace: Workspace) -> Sequence[Native]:
    """The native files of a zip, from this machine's cache, else from the store, else read out of it.

    Args:
        key: stands for its content.
        archive: where it is; asked only if it has to be read.
    """
    name = f"{FORMAT}-{key}.json"
    path = workspace.cached("natives") / name
    if not workspace.intact(path) and store.fetch(f"natives/{name}", path):
        workspace.seal(path)
    if path.exists():
        return [Native.from_json(row) for row in json.loads(path.read_text())["natives"]]
    found = read_natives(archive())
    store.write_json(f"natives/{name}", {"natives": [native.as_json() for native in found]})
    return found
