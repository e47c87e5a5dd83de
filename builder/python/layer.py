"""Locked wheels become one artifact: a part per wheel, made once ever, then spliced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.errors import ArtifactConflict
from builder.plan import Artifact
from builder.python.lock import LockedWheel
from builder.python.parts import part_key, read_pruned, store_part
from builder.python.prune import PruneOptions, merged
from builder.python.wheels import download
from builder.store import Store
from builder.workspace import Workspace
from builder.splice import Part, splice
from builder.zips import Entry

_PARALLEL = 8


def dependencies_key(lock: str, options: PruneOptions, target: str) -> str:
    """The content key of a dependency artifact: what is locked and how it is pruned."""
    return hashlib.sha256(f"dependencies\0{target}\0{lock}\0{part_key('', options)}".encode()).hexdigest()


def build_layer(
    wheels: Sequence[LockedWheel], out: Path, *, options: PruneOptions, workspace: Workspace, store: Store
) -> Artifact:
    """Write the artifact of `wheels` to `out`; parts come from /tmp, else from the store, else from the index.

    Raises:
        ArtifactConflict: two wheels have different content for one path.
        ResolutionFailed, SourceUnreachable: a wheel cannot be had or is not the locked one.
    """
    folder = workspace.cached("parts")
    keys = {wheel.sha256: part_key(wheel.sha256, options) for wheel in wheels}
    paths = {sha256: folder / f"{key}.zip" for sha256, key in keys.items()}

    def fetch(wheel: LockedWheel) -> bool:
        path = paths[wheel.sha256]
        return path.exists() or store.fetch(f"parts/{path.name}", path)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        missing = [wheel for wheel, found in zip(wheels, pool.map(fetch, wheels), strict=True) if not found]
        if missing:
            files = download(missing, workspace.cached("wheels"))
            uploads = []
            for wheel in missing:
                path = paths[wheel.sha256]
                store_part(files[wheel.sha256], path, options)
                uploads.append(pool.submit(store.put, f"parts/{path.name}", path))
            for upload in uploads:
                upload.result()
    return _spliced([(paths[wheel.sha256], f"{wheel.name} {wheel.version}") for wheel in wheels], out)


def layer_of_wheels(
    wheels: Sequence[Path], out: Path, *, options: PruneOptions, scratch: Path, extra: Mapping[str, bytes]
) -> Artifact:
    """Write the artifact of wheel files at hand to `out`, with `extra` files added; for the builder's own layer."""
    parts = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        part = scratch / f"{wheel.name}.part"
        store_part(wheel, part, options)
        parts.append((part, f"{name} {version}"))
    return _spliced(parts, out, extra=extra)


def _spliced(parts: Sequence[tuple[Path, str]], out: Path, extra: Mapping[str, bytes] | None = None) -> Artifact:
    entries = [Entry(name=name, source=content) for name, content in (extra or {}).items()]
    with out.open("wb") as file:
        summary = splice(file, [Part(path=path, label=label) for path, label in parts], entries=entries)
    if not summary.files:
        raise ArtifactConflict("the dependencies install no files")
    return Artifact(
        sha256=summary.sha256,
        size=summary.size,
        unzipped=summary.unzipped,
        files=summary.files,
        pruned=tuple(merged(row for path, _ in parts for row in read_pruned(path))),
        contents=tuple(label for _, label in parts),
    )
