"""Git LFS: files whose content is not in the repository but on a server beside it.

The batch API with the `basic` transfer, https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md. The forge's
credentials go to the batch API, which says where the files are, and nowhere else; downloads carry the headers of its
answer, and count only if size and sha256 are those of the pointer. A file that cannot be had stays a pointer, with a
reason: whether that matters is decided where files are selected for shipping.

Why not dulwich's client: it returns a file as one `bytes` object (a 500 MB model would need 500 MB of memory), and
opens its own connections, which ignore our rules on hosts, redirects, certificates and time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.amounts import megabytes
from builder.errors import UnsafeSource
from builder.hashing import sha256_of
from builder.jsontext import read_json
from builder.network.access import GitCredentials, Network
from builder.network.patience import patiently
from builder.network.urls import host_of, is_http, url_problem
from builder.sources.answers import busy, unreachable
from builder.sources.checkout import LFS_HEADER, LFS_MAX_BYTES

if TYPE_CHECKING:
    from builder.network.pool import GuardedPool

_TYPE = "application/vnd.git-lfs+json"
# Git LFS's own defaults: 100 objects per batch, eight transfers at a time.
_BATCH, _WORKERS, _CHUNK = 100, 8, 1 << 20
# A hundred objects with signed URLs of some kilobytes each fit many times over.
_MAX_ANSWER_BYTES = 16 << 20
# More than any server stores: a size above it is a damaged pointer.
_LARGEST = 1 << 50
# A header field that http.client sends: a name, and a value of one line.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\xa0-\xff]*")

Link = Callable[[str, Path], bool]
"""Places the file with a sha256, from an earlier fetch, at a path; False if there is none."""


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """The content of a pointer: `oid` is its sha256, `size` in bytes."""

    oid: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Outcome for all pointers: `files` have their content now ({sha256: path}), `left` don't ({path: reason})."""

    files: dict[str, Path] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0


class CannotHave(Exception):
    """Why a file, or all of them, cannot be had; asking again would not help."""


class _Wrong(CannotHave):
    """Something else arrived, which happens once in a while: one more try is worth it."""


def parse_pointer(text: bytes) -> Pointer | None:
    """Parse a file's whole content as a pointer; None if it is none, or a damaged one."""
    if len(text) > LFS_MAX_BYTES or not text.startswith(LFS_HEADER):
        return None
    oid = re.search(rb"^oid sha256:([0-9a-f]{64})$", text, re.MULTILINE)
    size = re.search(rb"^size (0|[1-9][0-9]{0,15})$", text, re.MULTILINE)
    if not oid or not size or int(size[1]) > _LARGEST:
        return None
    return Pointer(oid=oid[1].decode(), size=int(size[1]))


def fill(
    root: Path,
    paths: Sequence[str],
    *,
    url: str,
    ref: str,
    lfs_url: str,
    credentials: Sequence[GitCredentials],
    network: Network,
    scratch: Path,
    max_bytes: int | None,
    link: Link,
) -> Filled:
    """Replace the pointers at `paths` below `root` by their content; modes and times stay.

    Args:
        url: of the repository; `lfs_url` is what its `.lfsconfig` says, or empty.
        scratch: an existing directory on the same disk.
        max_bytes: for all of them together. Files that no longer fit are left.

    Raises:
        SourceUnreachable, OutOfTime: the server had trouble, or broke off, twice.
    """
    wanted: dict[Pointer, list[str]] = {}
    left: dict[str, str] = {}
    total = 0
    for path in sorted(paths):
        pointer = parse_pointer((root / path).read_bytes())
        if pointer is None:
            left[path] = "the pointer is damaged"
        # By the pointer's size: room is decided before a byte is downloaded, and _download stops at that size.
        elif max_bytes is not None and total + pointer.size > max_bytes:
            left[path] = f"{megabytes(pointer.size, ',.1f')} are more than there is room for"
        else:
            total += pointer.size
            wanted.setdefault(pointer, []).append(path)
    got, lacking = _obtain(list(wanted), url, ref, lfs_url, credentials, network, scratch, link)
    files, size_bytes = {}, 0
    for pointer, places in wanted.items():
        if pointer in got:
            _put(got[pointer], [root / path for path in places])
            files[pointer.oid] = root / places[0]
            size_bytes += pointer.size * len(places)
        else:
            left |= dict.fromkeys(places, lacking[pointer])
    return Filled(files=files, left=dict(sorted(left.items())), size_bytes=size_bytes)


def _obtain(
    pointers: Sequence[Pointer],
    url: str,
    ref: str,
    lfs_url: str,
    credentials: Sequence[GitCredentials],
    network: Network,
    scratch: Path,
    link: Link,
) -> tuple[dict[Pointer, Path], dict[Pointer, str]]:
    """Return the files, in `scratch`, and the reasons why others are missing."""
    got: dict[Pointer, Path] = {}
    for pointer in pointers:
        place = scratch / f"{pointer.oid}-{pointer.size}"
        if link(pointer.oid, place):
            # A kept file is checked like a download: another build of this environment may have written to it.
            if _is(pointer, place):
                got[pointer] = place
            else:
                place.unlink()
    missing = [pointer for pointer in pointers if pointer not in got]
    if not missing:
        return got, {}
    lacking: dict[Pointer, str] = {}
    server = _Server(url=url, ref=ref, credentials=credentials, network=network)
    try:
        endpoint = server.endpoint(lfs_url)
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            actions, refused = server.locate(endpoint, batch)
            lacking |= refused
            # One batch at a time: signed URLs expire, so they are asked for shortly before their use.
            with ThreadPoolExecutor(_WORKERS) as pool:
                fetched = pool.map(lambda item: server.try_download(item[0], item[1], scratch), actions)
                for (pointer, _), outcome in zip(actions, fetched, strict=True):
                    if isinstance(outcome, Path):
                        got[pointer] = outcome
                    else:
                        lacking[pointer] = outcome
    except CannotHave as error:
        lacking |= {pointer: str(error) for pointer in missing if pointer not in got and pointer not in lacking}
    finally:
        server.close()
    return got, lacking


def _put(content: Path, targets: Sequence[Path]) -> None:
    for number, target in enumerate(targets):
        before = target.stat()
        if number:  # one file at several places: each gets its own copy, so that a build can change one of them
            target.unlink()
            shutil.copyfile(targets[0], target)
        else:
            # Renamed within one disk: a half-copied file never takes the pointer's place.
            content.replace(target)
        target.chmod(before.st_mode & 0o777)
        os.utime(target, (before.st_mtime, before.st_mtime))


def _is(pointer: Pointer, path: Path) -> bool:
    return path.stat().st_size == pointer.size and sha256_of(path) == pointer.oid


@dataclass(frozen=True, kw_only=True)
class _Action:
    """The URL of a file, and the headers to send."""

    href: str
    headers: Mapping[str, str]


class _Server:
    """The LFS storage of one repository."""

    def __init__(self, *, url: str, ref: str, credentials: Sequence[GitCredentials], network: Network) -> None:
        from builder.network.pool import guarded_pool

        self._url, self._ref, self._credentials, self._network = url, ref, credentials, network
        self._hosts = network.hosts(url, credentials)
        self._asking = guarded_pool(url, self._check, network, hosts=self._hosts, credentials=credentials)
        # Files are where the forge says, usually on another host. None is refused: what arrives is checked by its hash.
        self._loading = guarded_pool(url, self._check, network, hosts=None)

    def close(self) -> None:
        self._asking.close()
        self._loading.close()

    def _check(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        if status == 200:
            return
        where = f"the LFS server {host_of(url)}"
        if trouble := busy(where, status, headers):
            raise trouble
        login = self._asking.login(url)
        if status in (401, 403) and login:
            raise CannotHave(f"{where} refuses {login.called} ({status}); {login.renewal}")
        if status in (401, 403):
            raise CannotHave(f"{where} requires a login, and the builder has none for it ({status})")
        raise CannotHave(f"{where} answers {status}")

    def endpoint(self, lfs_url: str) -> str:
        """Return the URL that the batch API is below."""
        if not lfs_url:
            return f"{self._url.removesuffix('.git')}.git/info/lfs"
        if url_problem(lfs_url) or host_of(lfs_url) not in self._hosts:
            host = host_of(lfs_url) if not url_problem(lfs_url) else "one that cannot be asked"
            raise CannotHave(f".lfsconfig names a server that is not an allowed host ({host}): see git_hosts")
        return lfs_url.rstrip("/")

    def locate(
        self, endpoint: str, pointers: Sequence[Pointer]
    ) -> tuple[list[tuple[Pointer, _Action]], dict[Pointer, str]]:
        """Ask where the files are; return that, and why some cannot be had.

        Raises:
            CannotHave: none of them can be had.
        """
        asked: dict[str, object] = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
        }
        if self._ref.startswith("refs/"):
            # Servers may allow files by branch.
            asked["ref"] = {"name": self._ref}
        return located(self._ask(f"{endpoint}/objects/batch", json.dumps(asked).encode()), pointers)

    def _ask(self, url: str, body: bytes) -> bytes:
        headers = {"Accept": _TYPE, "Content-Type": _TYPE}

        def attempt() -> bytes:
            with self._trouble(self._asking, url, url):
                response = self._asking.request("POST", url, body=body, headers=headers, preload_content=False)
                self._asking.limit_silence(response)
                # The answer's own size is not to be trusted: read no more than an answer can need.
                return response.read(_MAX_ANSWER_BYTES)

        return patiently(attempt, self._network)

    def try_download(self, pointer: Pointer, action: _Action, scratch: Path) -> Path | str:
        """Download a file to `scratch`; return its path, or the reason why it cannot be had."""
        place = scratch / f"{pointer.oid}-{pointer.size}"

        def attempt() -> None:
            # The address is left out of messages: often it is signed, and so a key to the file.
            what = f"{host_of(action.href)}: an LFS file could not be downloaded"
            with self._trouble(self._loading, what, action.href):
                self._download(pointer, action, place)

        why = ""
        for _ in range(2):
            try:
                patiently(attempt, self._network)
            except _Wrong as error:
                why = str(error)
            except CannotHave as error:
                return str(error)
            else:
                return place
        return why

    @contextlib.contextmanager
    def _trouble(self, pool: GuardedPool, what: str, url: str) -> Iterator[None]:
        """Turn errors in the block into ours."""
        from urllib3.exceptions import HTTPError

        try:
            yield
        except UnsafeSource as error:
            raise CannotHave(error.message) from None
        except (HTTPError, ConnectionError, TimeoutError) as error:
            if self._network.is_over:
                raise pool.out_of_time() from None
            # `from None`: the cause may quote what was sent, a token included.
            raise unreachable(what, error, url) from None

    def _download(self, pointer: Pointer, action: _Action, place: Path) -> None:
        headers = {**action.headers, "Accept-Encoding": "identity"}
        response = self._loading.request("GET", action.href, headers=headers, preload_content=False)
        actual, size = hashlib.sha256(), 0
        try:
            with place.open("wb") as file:
                # read1 returns what has arrived, without waiting for a full chunk: a server that drips is noticed.
                while size <= pointer.size:
                    self._loading.limit_silence(response)
                    if not (chunk := response.read1(_CHUNK, decode_content=False)):
                        break
                    size += len(chunk)
                    actual.update(chunk)
                    file.write(chunk)
        finally:
            response.close()
        if size != pointer.size or actual.hexdigest() != pointer.oid:
            raise _Wrong("what the LFS server sent is not the file that was committed")


def located(text: bytes, pointers: Sequence[Pointer]) -> tuple[list[tuple[Pointer, _Action]], dict[Pointer, str]]:
    """Read where a server's answer says that the files are, and why some cannot be had.

    Raises:
        CannotHave: the answer makes no sense.
    """
    try:
        answer = read_json(text)
    except ValueError:
        answer = None
    said = answer if isinstance(answer, dict) else {}
    rows = said.get("objects")
    # A server may choose another transfer although only `basic` was offered.
    if not isinstance(rows, list) or said.get("transfer", "basic") != "basic":
        raise CannotHave("the LFS server's answer is not that of the batch API with basic transfers")
    found = {str(row.get("oid")): row for row in rows if isinstance(row, dict)}
    actions, refused = [], {}
    for pointer in pointers:
        action = _action(found.get(pointer.oid, {}))
        if isinstance(action, _Action):
            actions.append((pointer, action))
        else:
            refused[pointer] = action
    return actions, refused


def _action(row: Mapping[str, Any]) -> _Action | str:
    """Return what to do for one object of a batch answer, or why it cannot be had."""
    if not row:
        return "the LFS server says nothing about it"
    if error := row.get("error"):
        said = error.get("message") if isinstance(error, dict) else ""
        code = error.get("code") if isinstance(error, dict) else ""
        return f"the LFS server does not have it ({code} {str(said)[:200]!r})"
    action = (row.get("actions") or {}).get("download") if isinstance(row.get("actions"), dict) else None
    headers = (action.get("header") or {}) if isinstance(action, dict) else None
    if not isinstance(action, dict) or not is_http(str(action.get("href", ""))) or not isinstance(headers, dict):
        return "the LFS server does not say where it is"
    if not all(_HEADER.fullmatch(f"{name}: {value}") for name, value in headers.items()):
        return "the LFS server requires header fields that no request can have"
    return _Action(href=str(action["href"]), headers={str(name): str(value) for name, value in headers.items()})
