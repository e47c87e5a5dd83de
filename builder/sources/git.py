"""One commit of a git repository as a directory. The only importer of dulwich, and that only where it is needed.

`resolve` turns what a user calls it (branch, tag, commit, nothing) into a commit; `fetch` gets that commit alone.
Neither needs a git binary, a HOME, or a configuration file, and neither leaves credentials anywhere: they travel in one
header, to the origin they belong to.

Why not `dulwich.porcelain.clone`: it fetches every branch and tag, reads git's configuration, and checks out with git's
own looser rules. What is written to disk is `builder.sources.checkout`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from builder.errors import (
    InvalidEvent,
    LambdasmithError,
    OutOfSpace,
    RefNotFound,
    SourceError,
    SourceUnreachable,
    UnsafeSource,
)
from builder.sources.answers import Access, check_answer, origin, unreachable
from builder.sources.checkout import Checkout, tree_at, verified, write_tree
from builder.sources.refs import Listing, commit_by_name, commit_by_prefix, default_branch, full_names, no_such_ref
from builder.sources.urls import is_loopback, url_problem

if TYPE_CHECKING:
    from dulwich.client import Urllib3HttpGitClient
    from dulwich.object_store import DiskObjectStore
    from dulwich.repo import Repo

log = logging.getLogger(__name__)

_SHA = re.compile(r"[0-9a-f]{40}")
_KIND_BITS, _GITLINK = 0o170000, 0o160000
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}


@dataclass(frozen=True, kw_only=True)
class GitCredentials:
    """User and token of a forge. `base` is a URL there: they go to no other origin (None: to whoever is asked)."""

    username: str
    token: str = field(repr=False)
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A commit and the name it was found by: `ref` is a full ref name, or the commit id again."""

    url: str
    ref: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One commit's files below `root`.

    `tree` is the id of the whole tree, `subtree` that of the directory that was asked for ("" if there is none).
    `commit_time` is the committer's, in seconds since the epoch. `submodules` are empty directories below `root`,
    `lfs_pointers` files whose content is elsewhere; both are posix paths relative to `root`. Without `unpacked` no
    file was written, because the tree is one that the caller knows.
    """

    root: Path
    url: str
    ref: str
    commit: str
    tree: str
    subtree: str
    commit_time: int
    files: int = 0
    submodules: tuple[str, ...] = ()
    lfs_pointers: tuple[str, ...] = ()
    unpacked: bool = True


def repository_url(repo: str | None, repo_name: str | None, *, base: str, username: str | None) -> str:
    """The URL to fetch, from one of `repo` (URL, or `owner/name`) and `repo_name` (a name below `base`).

    `base` is a URL such as `https://github.com/me`; "" means GitHub. Where it names a forge alone, without an owner,
    `username` is the owner.

        repository_url("https://host/a/b", None, …)                               https://host/a/b
        repository_url("a/b", None, base="https://github.com/me", …)              https://github.com/a/b
        repository_url(None, "b", base="https://github.com", username="me")       https://github.com/me/b

    Raises:
        InvalidEvent: neither is given, or the result is no URL that may be fetched.
    """
    base = (base or "https://github.com").rstrip("/")
    if repo and ("://" in repo or ":" in repo):
        url = repo.rstrip("/")
    elif repo:
        parts = urlsplit(base)
        url = f"{parts.scheme}://{parts.netloc}/{repo.strip('/')}"
    elif repo_name:
        parts = urlsplit(base)
        if not parts.path and not is_loopback(parts.hostname or ""):
            if not username:
                raise InvalidEvent(
                    f"repo_name: {repo_name!r} has no owner: neither git_base nor git_username is configured",
                    hint="send repo (owner/name or a URL), or set git_username in config.ini and run setup.py update",
                )
            base = f"{base}/{username}"
        url = f"{base}/{repo_name}"
    else:
        raise InvalidEvent("repo: missing; give repo (a URL, or owner/name) or repo_name")
    if problem := url_problem(url):
        raise InvalidEvent(f"{'repo' if repo else 'repo_name'}: {problem}")
    return url


def resolve(url: str, ref: str | None, *, credentials: GitCredentials | None) -> Resolved:
    """The commit that `ref` means at `url` now; None means the default branch, whatever it is called.

    A full commit id is taken as it is, without asking the server: `fetch` finds out whether it exists. A short one is
    found among the tips of branches and tags. A name that is both a branch and a tag is refused unless they agree.

    Raises:
        RepositoryNotFound, AuthenticationFailed, RefNotFound, SourceUnreachable, InvalidEvent
    """
    _check_url(url)
    if ref and _SHA.fullmatch(ref.lower()):
        return Resolved(url=url, ref=ref.lower(), commit=ref.lower())
    with _connected(url, credentials) as client:
        if ref is None:
            name, commit = default_branch(url, _list(client, ["HEAD", "refs/heads/"]))
            return Resolved(url=url, ref=name, commit=commit)
        names = full_names(ref)
        # The server filters by prefix: asking for the names alone spares the whole list of a large repository.
        found = commit_by_name(ref, names, _list(client, names).commits)
        if found is None:
            everything = _list(client, ["HEAD", "refs/heads/", "refs/tags/"])
            found = commit_by_prefix(ref, everything.commits)
            if found is None:
                raise no_such_ref(url, ref, everything)
    return Resolved(url=url, ref=found[0], commit=found[1])


def fetch(
    resolved: Resolved,
    into: Path,
    *,
    credentials: GitCredentials | None,
    max_bytes: int | None = None,
    path: str = "",
    known: Collection[str] = (),
) -> Snapshot:
    """Write the files of `resolved` into `into`, which must not exist or be empty, and say what they are.

    Only that commit is transferred. The pack lies beside `into` until the files are written; pack and files together
    take at most `max_bytes`. After an error `into` is as it was.

    Args:
        path: a directory of the repository whose tree id is wanted besides that of the whole.
        known: tree ids; where the whole or `path` has one of them, no file is written.

    Raises:
        RefNotFound: the server has no such commit, or does not give it away.
        UnsafeSource: the tree contains something that must not be unpacked.
        OutOfSpace: more than `max_bytes`, or the disk is full.
        RepositoryNotFound, AuthenticationFailed, SourceUnreachable, InvalidEvent
    """
    _check_url(resolved.url)
    existed = into.is_dir()
    if existed and any(into.iterdir()):
        raise FileExistsError(errno.EEXIST, "not empty", str(into))
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=into.parent) as scratch:
            return _fetch(resolved, into, Path(scratch), credentials, max_bytes, path, known)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if existed:
            into.mkdir()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(resolved.url) from error
        raise


def _fetch(
    resolved: Resolved,
    into: Path,
    scratch: Path,
    credentials: GitCredentials | None,
    max_bytes: int | None,
    path: str,
    known: Collection[str],
) -> Snapshot:
    from dulwich.object_store import DiskObjectStore

    store = DiskObjectStore.init(scratch / "objects")
    with contextlib.closing(store):
        with _connected(resolved.url, credentials) as client:
            pack_bytes = _transfer(client, store, resolved, max_bytes)

        def read(object_id: str) -> tuple[str, bytes]:
            kind, content = store.get_raw(object_id.encode())  # type: ignore[arg-type]  # a NewType of bytes
            return _KINDS.get(kind, str(kind)), content

        commit = _peeled(read, resolved)
        tree, commit_time = _read_commit(verified(read, commit, "commit"))
        subtree = tree_at(tree, path, read)
        snapshot = Snapshot(
            root=into,
            url=resolved.url,
            ref=resolved.ref,
            commit=commit,
            tree=tree,
            subtree=subtree,
            commit_time=commit_time,
        )
        if tree in known or (subtree and subtree in known):
            return replace(snapshot, unpacked=False)
        room = None if max_bytes is None else max(0, max_bytes - pack_bytes)
        done = write_tree(tree, read, into, mtime=commit_time, max_bytes=room)
    _report(resolved, done)
    return replace(snapshot, files=done.files, submodules=done.submodules, lfs_pointers=done.lfs_pointers)


def _report(resolved: Resolved, done: Checkout) -> None:
    log.info("fetched %s at %s: %d files, %d bytes", resolved.url, resolved.commit, done.files, done.size_bytes)
    for path in done.submodules:
        log.warning("%s is a submodule: submodules are not fetched, the directory is empty", path)
    for path in done.lfs_pointers:
        log.warning("%s is a Git LFS pointer: its content is not fetched", path)


# --- the wire -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(url: str, credentials: GitCredentials | None) -> Iterator[Urllib3HttpGitClient]:
    """A client for `url`; whatever goes wrong with it inside the block leaves as one of our errors."""
    from dulwich.client import Urllib3HttpGitClient
    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, GitProtocolError, ObjectFormatException
    from urllib3.exceptions import HTTPError

    from builder.sources.pool import guarded_pool

    theirs = credentials if credentials and _belongs(credentials, url) else None
    access: Access = "sent" if theirs else "withheld" if credentials else "none"

    def check(answered: str, status: int, content_type: str) -> None:
        check_answer(url, answered, status, content_type, access)

    pool = guarded_pool(url, check)
    client = Urllib3HttpGitClient(
        url,
        thin_packs=False,  # there is nothing here to be thin against, and a thin pack is written twice
        quiet=True,
        username=theirs.username if theirs else None,
        password=theirs.token if theirs else None,
        pool_manager=pool,
    )
    try:
        yield client
    except LambdasmithError:
        raise
    except (GitProtocolError, HTTPError, ConnectionError, TimeoutError) as error:
        text = pool.refusal() or str(error)
        # Without its cause, which may quote what was sent.
        raise unreachable(url, text.replace(theirs.token, "***") if theirs else text) from None
    except (ChecksumMismatch, ApplyDeltaError, ObjectFormatException, zlib.error) as error:
        raise SourceUnreachable(
            f"{url}: what the server sent is damaged ({type(error).__name__})", hint="try again"
        ) from error
    except (ValueError, AssertionError, KeyError, IndexError) as error:
        # dulwich's parsers raise these on an answer that is not the git protocol.
        raise SourceUnreachable(f"{url}: the server's answer is not the git protocol ({error!r})") from error
    finally:
        pool.close()


def _list(client: Urllib3HttpGitClient, prefixes: Sequence[str]) -> Listing:
    result = client.get_refs("", ref_prefix=[prefix.encode() for prefix in prefixes])
    names = {bytes(name).decode("utf-8", "replace"): sha for name, sha in result.refs.items()}
    commits = {
        name: bytes(names.get(f"{name}^{{}}") or sha).decode("ascii")
        for name, sha in names.items()
        if sha and not name.endswith("^{}")
    }
    head = next((bytes(to).decode("utf-8", "replace") for name, to in result.symrefs.items() if name == b"HEAD"), None)
    return Listing(commits=commits, head=head)


def _transfer(client: Urllib3HttpGitClient, store: DiskObjectStore, resolved: Resolved, max_bytes: int | None) -> int:
    """Bytes of the pack with the commit, now in `store`."""
    from dulwich.errors import GitProtocolError

    from builder.sources.pool import GuardedPool

    wanted = resolved.commit.encode()
    named = [resolved.ref.encode()] if resolved.ref.startswith("refs/") else [b"HEAD"]
    try:
        return _receive(client, store, lambda refs: [wanted], prefixes=named, depth=1, max_bytes=max_bytes)
    except GitProtocolError as error:
        refusal = client.pool_manager.refusal() if isinstance(client.pool_manager, GuardedPool) else ""
        if not _refused(refusal or str(error)):
            raise
    if client.protocol_version != 2:
        # Older servers give away tips only: take the branch with its history (or all of them) and look there.
        log.info("%s gives away tips only: fetching with history", resolved.url)
        prefixes = named if resolved.ref.startswith("refs/") else [b"refs/heads/", b"refs/tags/"]
        size = _receive(
            client, store, lambda refs: sorted(set(refs.values())), prefixes=prefixes, depth=None, max_bytes=max_bytes
        )
        if store.contains_packed(wanted):  # type: ignore[arg-type]  # a NewType of bytes
            return size
    raise RefNotFound(
        f"commit {resolved.commit} is not in {resolved.url}",
        hint="push the commit, or name a branch or a tag (a server may keep commits that are on no branch to itself)",
    )


def _receive(
    client: Urllib3HttpGitClient,
    store: DiskObjectStore,
    wants: Callable[[Mapping[bytes, bytes]], list[bytes]],
    *,
    prefixes: Sequence[bytes],
    depth: int | None,
    max_bytes: int | None,
) -> int:
    """Fetch a pack into `store`. Returns its size."""
    from dulwich.object_store import ObjectStoreGraphWalker

    file, commit, abort = store.add_pack()
    received = 0

    def take(data: bytes) -> int:
        nonlocal received
        received += len(data)
        if max_bytes is not None and received > max_bytes:
            raise OutOfSpace(
                f"the repository's commit is larger than the {max_bytes / 1e6:,.1f} MB there are",
                hint="take large files out of the repository, or give the builder a larger ephemeral_storage",
            )
        return file.write(data)

    def determine_wants(refs: Mapping[bytes, bytes], depth: int | None = None) -> list[bytes]:
        return wants(refs)

    try:
        result = client.fetch_pack(
            "",
            determine_wants,  # type: ignore[arg-type]  # NewTypes of bytes
            ObjectStoreGraphWalker([], lambda sha: []),
            take,
            depth=depth,
            ref_prefix=prefixes,
        )
    except BaseException:
        abort()
        raise
    if result.object_format not in (None, "sha1"):
        abort()
        raise SourceError(f"the repository uses {result.object_format} object ids; only sha1 is read here")
    commit()
    return received


# --- objects --------------------------------------------------------------------------------------------------------


def _peeled(read: Callable[[str], tuple[str, bytes]], resolved: Resolved) -> str:
    """The commit that `resolved.commit` is, or, where it is the id of an annotated tag, the one that is tagged."""
    object_id = resolved.commit
    for _ in range(8):
        try:
            kind, _content = read(object_id)
        except KeyError:
            break
        if kind == "commit":
            return object_id
        if kind != "tag":
            raise RefNotFound(f"{resolved.commit} in {resolved.url} is a {kind}, not a commit")
        object_id = verified(read, object_id, "tag").split(b"\n", 1)[0].removeprefix(b"object ").decode("ascii")
    raise RefNotFound(f"commit {resolved.commit} is not in {resolved.url}", hint="push it, or name a branch or a tag")


def _read_commit(raw: bytes) -> tuple[str, int]:
    """Tree id and committer's time. The tree is the first line's and no other's, as for git itself."""
    first = re.match(rb"tree ([0-9a-f]{40})\n", raw)
    committer = re.search(rb"^committer .*> (-?\d{1,19}) [-+]\d+$", raw.split(b"\n\n", 1)[0], re.MULTILINE)
    if not first or not committer:
        raise UnsafeSource("the commit's record is damaged", hint="run git fsck on the server")
    return first[1].decode("ascii"), max(0, min(int(committer[1]), 2**33))


# --- errors ---------------------------------------------------------------------------------------------------------


def _check_url(url: str) -> None:
    if problem := url_problem(url):
        raise InvalidEvent(f"repo: {problem}")


def _belongs(credentials: GitCredentials, url: str) -> bool:
    return credentials.base is None or origin(credentials.base) == origin(url)


def _refused(message: str) -> bool:
    return any(words in message for words in ("not our ref", "unadvertised", "not valid", "no such ref"))


def _disk_full(url: str) -> OutOfSpace:
    return OutOfSpace(
        f"{url}: the disk is full before all of the repository is there",
        hint="give the builder a larger ephemeral_storage",
    )


@dataclass(frozen=True, kw_only=True)
class WorkTree:
    """A directory of a checked-out repository: its commit, and the files that git has or would take there.

    `paths` are relative to the directory, sorted; ignored files and submodules are not among them. `commit` is empty
    before the first one.
    """

    commit: str
    commit_time: int
    paths: tuple[str, ...]


def read_work_tree(directory: Path) -> WorkTree | None:
    """What git knows of the existing `directory`; None if it is in no repository, or ignored by the one around it.

    Raises:
        SourceError: the repository around it cannot be read.
    """
    place = directory.resolve()
    if not any((folder / ".git").exists() for folder in (place, *place.parents)):
        return None
    from dulwich.errors import NotGitRepository
    from dulwich.index import ConflictedIndexEntry
    from dulwich.porcelain import get_untracked_paths
    from dulwich.repo import Repo

    try:
        repo = Repo.discover(place)
    except NotGitRepository:
        return None
    with contextlib.closing(repo):
        try:
            base = Path(repo.path).resolve()
            if repo.bare or not place.is_relative_to(base):
                return None
            index = repo.open_index()
            below = place.relative_to(base)
            tracked = [
                Path(os.fsdecode(path)).relative_to(below)
                for path, entry in index.items()
                if Path(os.fsdecode(path)).is_relative_to(below)
                and (isinstance(entry, ConflictedIndexEntry) or _KIND_BITS & entry.mode != _GITLINK)
            ]
            if not tracked and below.parts and _is_ignored(repo, below):
                return None
            others = get_untracked_paths(place, base, index, exclude_ignored=True, repo=repo)
            # Python leaves its caches wherever it runs; nobody means to build from them.
            wanted = {path for path in others if "__pycache__" not in path.split("/")}
            paths = {path.as_posix() for path in tracked} | wanted
            commit, commit_time = _head(repo)
        except (OSError, ValueError, KeyError) as error:
            raise SourceError(f"{directory}: the git repository around it cannot be read: {error}") from error
    return WorkTree(commit=commit, commit_time=commit_time, paths=tuple(sorted(paths)))


def _is_ignored(repo: Repo, path: Path) -> bool:
    from dulwich.ignore import IgnoreFilterManager

    return bool(IgnoreFilterManager.from_repo(repo, config=repo.get_config_stack()).is_ignored(f"{path.as_posix()}/"))


def _head(repo: Repo) -> tuple[str, int]:
    try:
        commit = repo[repo.head()]
    except KeyError:  # nothing is committed yet
        return "", 0
    return commit.id.decode(), int(getattr(commit, "commit_time", 0))


def ignored_by(patterns: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those of `paths` that the existing file `patterns`, in gitignore's syntax, ignores; relative to its directory.

    As in git, what lies in an ignored directory is ignored, and a pattern that cannot be understood ignores nothing.
    """
    from dulwich.ignore import IgnoreFilter

    rules = IgnoreFilter.from_path(patterns)
    return frozenset(path for path in paths if rules.is_ignored(path))
