"""The zip of a Go module, with the files that `go` itself takes from a repository, so that hashes agree.

https://go.dev/ref/mod#zip-files; which files are left out: `golang.org/x/mod/zip` and `cmd/go/internal/modfetch`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import SourceError
from builder.sources.checkout import TreeEntry
from builder.sources.commits import Commit, Commits
from builder.sources.linefeeds import Linefeeds

MAX_FILE_BYTES = 16 << 20
"""Limit of go.mod and LICENSE."""
_MAX_BYTES = 500 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
# The zip goes over loopback and is unpacked at once: compressing it well would only take time.
_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class Content:
    """Place of a module's files: `directory` (posix, "" for the root) of a commit of a repository."""

    repository: Commits
    commit: Commit
    directory: str
    go_mod: bytes


def write_zip(out: Path, module: str, version: str, content: Content) -> None:
    """Write the module's zip. Its comment is the commit's time, in seconds since the epoch.

    Raises:
        SourceError: the module is larger than Go allows.
    """
    name = f"{module}@{version}"
    with content.repository.lock, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        # Kept with the zip, so that `info` needs no fetch when it is served again.
        archive.comment = str(content.commit.time).encode()
        left = _MAX_BYTES
        for path, chunks in _files(content):
            limit = min(left, MAX_FILE_BYTES) if path in ("go.mod", "LICENSE") else left
            info = zipfile.ZipInfo(f"{name}/{path}", _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                size = 0
                for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise SourceError(
                            f"{path} makes the module larger than Go allows: 500 MB, and 16 MB for go.mod and LICENSE",
                            hint="take large files out of the module, or give their directory a go.mod of its own",
                        )
                    file.write(chunk)
            left -= size


def read_zip(path: Path) -> tuple[int, bytes | None]:
    """Read time and go.mod of the module from a zip that `write_zip` made; None for a missing go.mod."""
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if re.fullmatch(r"[^@]+@[^/]+/go\.mod", name)]
        return int(archive.comment), archive.read(found[0]) if found else None


def _files(content: Content) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield path and content of each file of the module."""
    repository, commit = content.repository, content.commit
    entries = {entry.path: entry for entry in repository.files(commit, content.directory)}
    linefeeds = Linefeeds(repository, commit)
    chosen = chosen_files(entries, content.go_mod)
    for path in chosen:
        yield path, linefeeds.applied(_below(content.directory, path), repository.content(entries[path]))
    if content.directory and "LICENSE" not in chosen:
        # A module in a directory gets the repository's license, as with `go`.
        license_ = repository.read(commit, "LICENSE", MAX_FILE_BYTES)
        if license_ is not None:
            yield "LICENSE", (license_,)


def _below(directory: str, path: str) -> str:
    return f"{directory}/{path}" if directory else path


def chosen_files(paths: Mapping[str, TreeEntry] | Iterable[str], go_mod: bytes) -> list[str]:
    """Return those of the regular files' posix paths that belong to the module, sorted.

    Files in directories with a go.mod of their own, and vendored ones, don't.
    """
    modules = {path.rpartition("/")[0] for path in paths if path.rpartition("/")[2].lower() == "go.mod" and "/" in path}
    is_new = _language(go_mod) >= (1, 24)
    return sorted(
        path
        for path in paths
        if not _is_vendored(path, is_new=is_new)
        and not any(parent in modules for parent in _parents(path))
        and path != ".hg_archival.txt"
    )


def _language(go_mod: bytes) -> tuple[int, int]:
    match = re.search(rb"^[ \t]*go[ \t]+(\d+)\.(\d+)", go_mod, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _is_vendored(path: str, *, is_new: bool) -> bool:
    """Tell whether it is in a vendored package. Modules from before Go 1.24 keep the outcome of a bug in Go.

    https://go.dev/issue/37397
    """
    if is_new and path == "vendor/modules.txt":
        return True
    if path.startswith("vendor/"):
        return "/" in path[len("vendor/") :]
    _, found, after = path.partition("/vendor/")
    if not found:
        return False
    return "/" in (after if is_new else path[len("/vendor/") :])


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
