"""A project whose files lie one by one in S3, and the manifest that says which they are: how Terraform sends one.

    {"files": {"app.py": "<sha256 in hex>", "bin/run": "…"}, "executable": ["bin/run"]}

The file `app.py` is at `files/app.py` beside the manifest. Its content must have the sha256 that the manifest says, so
that what is built is what was planned. Names and sizes go by the rules of archives.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import SourceError, UnsafeSource
from builder.sources.archive import snapshot_of_entries
from builder.sources.archived import Archived, Limits, Unreadable
from builder.sources.git import Snapshot
from builder.sources.paths import normalised, path_problem, shown

MAX_BYTES = 8 << 20
_READERS = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HINT = "run terraform apply again; if another tool has written the manifest, compare it with docs/reference.md"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What lies at one place: its size in bytes, and its bytes, to be read once."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


Read = Callable[[str], Content]
"""A file by its name in the manifest. May be called from several threads; raises LambdasmithError."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`files` maps posix paths to sha256 in hex; `executable` are some of them."""

    files: Mapping[str, str]
    executable: frozenset[str] = frozenset()


def parse(text: bytes, *, label: str) -> Manifest:
    """The manifest that `text` is; `label` is what messages call it.

    Raises:
        SourceError: it is none.
        UnsafeSource: a file's name leaves the project.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{label}: is not JSON", hint=_HINT) from error
    problems = list(_problems(value))
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise SourceError(f"{label}: " + "; ".join(problems[:20]) + more, hint=_HINT, problems=problems[:20])
    unsafe = [f"{shown(name)} {problem}" for name in value["files"] if (problem := _name_problem(name))]
    if unsafe:
        raise UnsafeSource(f"{label}: " + "; ".join(unsafe[:20]), problems=unsafe[:20])
    return Manifest(files=value["files"], executable=frozenset(value.get("executable", ())))


def _name_problem(name: str) -> str | None:
    problem = path_problem(name)
    return problem if problem or name == normalised(name) != "" else "is not the plain name of a file"


def _problems(value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        yield 'must be a JSON object with "files", an object of names and sha256'
        return
    for key in value:
        if key not in ("files", "executable"):
            yield f"{shown(key)}: unknown key; known are files, executable"
    for name, sha256 in value["files"].items():
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            yield f"files: {shown(name)}: is not followed by a sha256 of 64 hexadecimal digits"
    executable = value.get("executable", [])
    if not isinstance(executable, list) or not all(isinstance(name, str) for name in executable):
        yield "executable: must be a list of names"
        return
    for name in executable:
        if name not in value["files"]:
            yield f"executable: {shown(name)} is none of the files"


def snapshot_of_manifest(
    manifest: Manifest, read: Read, into: Path, *, path: str = "", limits: Limits | None = None, label: str = ""
) -> Snapshot:
    """Write the files into `into` as `archive.snapshot_of` does, and say the same of them.

    Raises:
        SourceError: a file has another content than the manifest says.
        UnsafeSource, OutOfSpace: as for an archive.
    """
    return snapshot_of_entries(_entries(manifest, read), into, path=path, limits=limits, label=label)


def _entries(manifest: Manifest, read: Read) -> Iterator[Archived]:
    """Every file in order of its name; the next ones are on their way while one is written."""
    names = iter(sorted(manifest.files))
    with ThreadPoolExecutor(_READERS) as pool:
        ahead: deque[tuple[str, Future[Content]]] = deque()
        try:
            while True:
                while len(ahead) < _READERS and (name := next(names, None)) is not None:
                    ahead.append((name, pool.submit(read, name)))
                if not ahead:
                    return
                name, coming = ahead.popleft()
                content = coming.result()
                yield Archived(
                    name=name.encode("utf-8", "surrogatepass"),
                    executable=name in manifest.executable,
                    size=content.size,
                    content=lambda name=name, content=content: _verified(name, content, manifest.files[name]),  # type: ignore[misc]
                )
        finally:
            for _, each in ahead:
                each.cancel()


def _verified(name: str, content: Content, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise Unreadable(
            f"{shown(name)} is not the file that the manifest names: its sha256 is {digest.hexdigest()}",
            hint="something else was written there meanwhile; run terraform apply again",
        )
