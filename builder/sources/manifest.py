"""A project as a manifest in S3 that holds its files or names them by their hashes; Terraform sends one.

    {"files": {"app.py": {"text": "…"}, "icon.png": {"base64": "…"}, "model.bin": "<sha256 in hex>"},
     "executable": ["bin/run"]}

A file that is named by its sha256 is the object `files/SHA256` beside the manifest. Content with another hash is
refused, as is a manifest with another hash than the event names, so that what was planned is what is built, whoever
else writes there. A manifest may be compressed with gzip; its hash is that of the JSON text. Names and sizes follow the
rules of archives.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.amounts import megabytes, some
from builder.archives.archived import Archived, Limits, Unreadable
from builder.errors import SourceError, UnsafeSource
from builder.paths import normalised, path_problem, shown
from builder.sources.archive import snapshot_of_entries
from builder.sources.git import Snapshot

# The manifest is parsed in memory; large files are beside it, not in it.
MAX_BYTES = 64 << 20
# S3 answers in some 30 ms: sixteen at a time keep a build of many small files from waiting for each.
_READERS = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GZIP = b"\x1f\x8b"
_HINT = "run terraform apply again; if another tool has written the manifest, compare it with docs/reference.md"


@dataclass(frozen=True, kw_only=True)
class Content:
    """An object's content: its size in bytes, and its bytes, to be read once."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


Read = Callable[[str], Content]
"""Reader of a file by its sha256 in hex. May be called from several threads; raises LambdasmithError."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`files` maps posix paths to their content, or to its sha256 in hex; `executable` are some of them."""

    files: Mapping[str, bytes | str]
    executable: frozenset[str] = frozenset()


def parse(content: bytes, *, label: str, sha256: str | None = None) -> Manifest:
    """Parse `content`, which must have `sha256` if that is given; `label` is its name in messages.

    Raises:
        SourceError: it is not a manifest, or has another hash.
        UnsafeSource: a file's name leaves the project.
    """
    text = _inflated(content, label) if content.startswith(_GZIP) else content
    # Of the JSON text: another version of a compressor gives other bytes for the same text.
    if sha256 is not None and (found := hashlib.sha256(text).hexdigest()) != sha256:
        raise SourceError(
            f"{label}: is not the manifest that was sent: its sha256 is {found}, not {sha256}",
            hint="something else has written there; delete that object, and run terraform apply again",
        )
    try:
        value = json.loads(text)  # a name or text that cannot be encoded is reported later, as that file's problem
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{label}: is not JSON", hint=_HINT) from error
    problems = list(_problems(value))
    if problems:
        raise SourceError(f"{label}: {some(problems, 20, '; ')}", hint=_HINT, problems=problems[:20])
    unsafe = [f"{shown(name)} {problem}" for name in value["files"] if (problem := _name_problem(name))]
    if unsafe:
        raise UnsafeSource(f"{label}: " + "; ".join(unsafe[:20]), problems=unsafe[:20])
    files = {name: given if isinstance(given, str) else _held(given) or b"" for name, given in value["files"].items()}
    return Manifest(files=files, executable=frozenset(value.get("executable", ())))


def _inflated(content: bytes, label: str) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    # One byte more than allowed is enough to see that there is too much: a few kilobytes can inflate to gigabytes.
    try:
        text = reader.decompress(content, MAX_BYTES + 1)
    except zlib.error as error:
        raise SourceError(f"{label}: is damaged: {error}", hint=_HINT) from error
    if len(text) > MAX_BYTES:
        raise SourceError(f"{label}: is larger than the {megabytes(MAX_BYTES)} of a manifest")
    if not reader.eof:
        raise SourceError(f"{label}: is cut off", hint=_HINT)
    return text


def _name_problem(name: str) -> str | None:
    problem = path_problem(name)
    return problem if problem or name == normalised(name) != "" else "is not the plain name of a file"


def _problems(value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        yield 'must be a JSON object with "files", an object of names and contents'
        return
    for key in value:
        if key not in ("files", "executable"):
            yield f"{shown(key)}: unknown key; known are files, executable"
    for name, given in value["files"].items():
        if isinstance(given, str):
            if not _SHA256.fullmatch(given):
                yield f"files: {shown(name)}: is not followed by a sha256 of 64 hexadecimal digits"
        elif _held(given) is None:
            yield f'files: {shown(name)}: must have its sha256, {{"text": …}} or {{"base64": …}}'
    executable = value.get("executable", [])
    if not isinstance(executable, list) or not all(isinstance(name, str) for name in executable):
        yield "executable: must be a list of names"
        return
    for name in executable:
        if name not in value["files"]:
            yield f"executable: {shown(name)} is not one of the files"


def _held(given: Any) -> bytes | None:
    """Return the content in the manifest itself; None if `given` is no content."""
    try:
        match given:
            case {"text": str(text), **rest} if not rest:
                return text.encode()
            case {"base64": str(text), **rest} if not rest:
                return base64.b64decode(text, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        pass
    return None


def snapshot_of_manifest(
    manifest: Manifest, read: Read, into: Path, *, path: str = "", limits: Limits | None = None, label: str = ""
) -> Snapshot:
    """Write the files into `into` and return a snapshot, as `archive.snapshot_of` does.

    Raises:
        SourceError: a file's content is not what the manifest says.
        UnsafeSource, OutOfSpace: as for an archive.
    """
    return snapshot_of_entries(_entries(manifest, read), into, path=path, limits=limits, label=label)


def _entries(manifest: Manifest, read: Read) -> Iterator[Archived]:
    """Yield every file in order of its name; the next ones are read meanwhile."""
    names = iter(sorted(manifest.files))
    with ThreadPoolExecutor(_READERS) as pool:
        ahead: deque[tuple[str, Future[Content]]] = deque()
        try:
            while True:
                while len(ahead) < _READERS and (name := next(names, None)) is not None:
                    ahead.append((name, _coming(manifest.files[name], read, pool)))
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
            # After an error nothing is written any more; reads that have not begun need not.
            for _, each in ahead:
                each.cancel()


def _coming(given: bytes | str, read: Read, pool: ThreadPoolExecutor) -> Future[Content]:
    if isinstance(given, str):
        return pool.submit(read, given)
    here: Future[Content] = Future()
    here.set_result(Content(size=len(given), chunks=lambda: iter((given,))))
    return here


def _verified(name: str, content: Content, given: bytes | str) -> Iterator[bytes]:
    if isinstance(given, bytes):
        yield given
        return
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != given:
        raise Unreadable(
            f"{shown(name)} is not the file that the manifest names: its sha256 is {digest.hexdigest()}",
            hint="something else was written there meanwhile; delete that object, and run terraform apply again",
        )
