"""The parts of dulwich that are used, in our own types: the git protocol, packs, and the files that git itself keeps.

The only importer of dulwich, and only inside the functions that need it: `ping` works without.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.amounts import megabytes
from builder.errors import (
    LambdasmithError,
    OutOfSpace,
    SourceError,
    SourceUnreachable,
)
from builder.network import wire
from builder.network.access import GitCredentials, Greeting, Network
from builder.network.patience import Passing, patiently
from builder.sources.answers import Asked, check_answer, unreachable
from builder.sources.objects import Damaged, Objects
from builder.sources.refs import Listing

if TYPE_CHECKING:
    from dulwich.repo import Repo

    from builder.network.pool import Beginning, GuardedPool

Answer = TypeVar("Answer")

_KIND_BITS, _GITLINK = 0o170000, 0o160000


class BrokenOff(Passing):
    """The server began to answer and did not finish, or what it sent is damaged."""


class CommitRefused(Exception):
    """The server does not hand out the object by its id. `definitive`: it would if there were such an object."""

    def __init__(self, *, definitive: bool) -> None:
        super().__init__()
        self.definitive = definitive


# --- the wire -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Received:
    """A pack that has arrived. `complete`: it has all of the history."""

    size_bytes: int
    complete: bool


class Remote:
    """One repository on a server, for as long as `connected` lasts."""

    def __init__(self, client: Any, begun: Beginning) -> None:
        self._client = client
        self._begun = begun

    def list(self, prefixes: Sequence[str]) -> Listing:
        """Return the refs whose full names begin with one of `prefixes` (servers of the old protocol send all)."""
        # Protocol 2 filters on the server: listing all refs of a large repository takes megabytes.
        result = self._client.get_refs("", ref_prefix=[prefix.encode() for prefix in prefixes])
        names = {bytes(name).decode("utf-8", "replace"): sha for name, sha in result.refs.items()}
        commits = {
            name: bytes(names.get(f"{name}^{{}}") or sha).decode("ascii")
            for name, sha in names.items()
            if sha and not name.endswith("^{}")
        }
        head = next(
            (bytes(to).decode("utf-8", "replace") for name, to in result.symrefs.items() if name == b"HEAD"), None
        )
        if head and "HEAD" in commits:
            commits.setdefault(head, commits["HEAD"])
        return Listing(commits=commits, head=head)

    def receive(
        self,
        objects: Objects,
        commit: str | None,
        *,
        prefixes: Sequence[str],
        # A build needs one commit, and history is most of a repository.
        depth: int | None = 1,
        have: str | None = None,
        max_bytes: int | None = None,
        commits_only: bool = False,
    ) -> Received:
        """Add `commit`, or all refs with `prefixes` if it is None, to `objects`.

        Args:
            depth: how many commits of history; None for all.
            have: a commit, without its history, that `objects` already has: the server doesn't send what the two share.
            commits_only: without their files, if the server can leave these out.

        Raises:
            CommitRefused: the server does not hand it out.
            OutOfSpace: it is more than `max_bytes`.
        """
        from dulwich.errors import GitProtocolError
        from dulwich.object_store import ObjectStoreGraphWalker

        received = 0
        known = {have.encode()} if have else set()

        def wants(refs: Mapping[bytes, bytes], depth: int | None = None) -> Sequence[bytes]:
            return [commit.encode()] if commit else sorted(set(refs.values()))

        with objects.incoming() as file:

            def take(data: bytes) -> int:
                nonlocal received
                received += len(data)
                # Counted as it arrives: the server does not announce the size of a pack.
                if max_bytes is not None and received > max_bytes:
                    raise OutOfSpace(
                        f"the repository's commit is larger than the {megabytes(max_bytes, ',.1f')} there are",
                        hint="take large files out of the repository, or give the builder a larger ephemeral_storage",
                    )
                return file.write(data)

            try:
                result = self._client.fetch_pack(
                    "",
                    wants,
                    # Dulwich has types of its own for bytes.
                    ObjectStoreGraphWalker(known, lambda sha: [], shallow=set(known)),  # type: ignore[arg-type]
                    take,
                    depth=depth,
                    # After a greeting the server hands out a commit by its id without a list of refs first.
                    ref_prefix=[] if commit and self._client.greeting else [each.encode() for each in prefixes],
                    filter_spec=b"tree:0" if commits_only else None,
                )
            except GitProtocolError as error:
                if any(words in (self._begun.refusal() or str(error)) for words in _REFUSALS):
                    raise CommitRefused(definitive=self._is_git_itself()) from None
                raise
            if result.object_format not in (None, "sha1"):
                raise SourceError(f"the repository uses {result.object_format} object ids; only sha1 is read here")
        return Received(size_bytes=received, complete=not result.new_shallow)

    def _is_git_itself(self) -> bool:
        """Tell whether the server hands out all that it has: git does in protocol 2, however it is configured."""
        return self._client.protocol_version == 2 and self._begun.agent.startswith("git/")


def _client(url: str, pool: GuardedPool, network: Network) -> Any:
    """Return a client that greets a server once in the lifetime of `network`."""
    from dulwich.client import Urllib3HttpGitClient

    place = (url, pool.login(url))

    class Client(Urllib3HttpGitClient):
        @property
        def greeting(self) -> Greeting | None:
            return network.greetings.get(place)

        # Dulwich asks for greeting and refs before each of its commands; keeping the greeting saves that request.
        def _discover_references(  # type: ignore[no-untyped-def]
            self, service, base_url, protocol_version=None, ref_prefix=None
        ):
            known = self.greeting
            if known is not None and ref_prefix == []:
                self.protocol_version = known.protocol
                return {}, known.capabilities, known.url, {}, {}
            found = super()._discover_references(service, base_url, protocol_version, ref_prefix)
            network.greetings[place] = Greeting(
                capabilities=set(found[1]), url=found[2], protocol=self.protocol_version
            )
            return found

    return Client(url, quiet=True, pool_manager=pool)


_REFUSALS = ("not our ref", "unadvertised", "not valid", "no such ref")


def ask(
    url: str, credentials: Sequence[GitCredentials], network: Network, question: Callable[[Remote], Answer]
) -> Answer:
    """Return the answer to `question` from the repository at `url`, asking again after trouble that may pass.

    Raises:
        RepositoryNotFound, AuthenticationFailed, SourceUnreachable, UnsafeSource, OutOfTime
    """

    def attempt() -> Answer:
        with connected(url, credentials, network) as remote:
            return question(remote)

    return patiently(attempt, network)


@contextlib.contextmanager
def connected(url: str, credentials: Sequence[GitCredentials], network: Network) -> Iterator[Remote]:
    """Connect to the repository at `url`; any failure inside the block leaves as one of our errors.

    Raises:
        RepositoryNotFound, AuthenticationFailed, SourceUnreachable, UnsafeSource, OutOfTime
    """
    from dulwich.errors import GitProtocolError
    from urllib3.exceptions import HTTPError

    from builder.network.pool import Beginning, guarded_pool

    begun = Beginning()
    answered, failed = False, True

    def check(address: str, status: int, headers: Mapping[str, str]) -> None:
        nonlocal answered
        asked = Asked(url=url, answered=address, login=pool.login(address), known=credentials)
        check_answer(asked, status, headers)
        answered = status == 200
        begun.watch(pool.responses[-1], pool)

    pool = guarded_pool(url, check, network, hosts=network.hosts(url, credentials), credentials=credentials)
    try:
        yield Remote(_client(url, pool, network), begun)
        failed = False
    except (LambdasmithError, CommitRefused):
        raise
    except (GitProtocolError, HTTPError, ConnectionError, TimeoutError) as error:
        # Our own deadline closes the connection, which looks like a broken one here: ask the clock first.
        if network.is_over:
            raise pool.out_of_time() from None
        # `from None`: the cause may quote what was sent, a token included.
        if refusal := begun.refusal():
            raise SourceUnreachable(f"{url}: the server refuses: {refusal}", hint="try again") from None
        failure = unreachable(url, error)
        if answered and wire.trouble(error).kind in ("cut", "other"):
            raise BrokenOff(failure.message, hint=failure.hint) from None
        raise failure from None
    except Damaged as error:
        raise BrokenOff(f"{url}: what the server sent is damaged: {error}", hint="try again") from error
    except (ValueError, AssertionError, KeyError, IndexError) as error:
        # dulwich's parsers raise these on an answer that is not the git protocol, or is cut off.
        raise BrokenOff(f"{url}: the server's answer is not the git protocol ({error})", hint="try again") from error
    finally:
        pool.close()
        if failed:
            # The greeting may be the reason (a proxy's page, a server since replaced): the next try asks for it again.
            network.greetings.pop((url, pool.login(url)), None)


def open_objects(directory: Path) -> Objects:
    """Open the packs in an existing directory."""
    from dulwich.errors import ApplyDeltaError
    from dulwich.pack import apply_delta

    def applied(base: bytes, delta: bytes) -> bytes:
        try:
            return b"".join(apply_delta(base, delta))
        except (ApplyDeltaError, AssertionError, IndexError) as error:
            raise ValueError(f"a difference cannot be applied: {error}") from error

    return Objects(directory, applied)


# --- git's own files ------------------------------------------------------------------------------------------------


def parse_config(text: bytes) -> dict[tuple[str, ...], dict[str, str]]:
    """Parse a file in the format of git's configuration: {(section, subsection): {key: value}}, the last of a key.

    Files that it includes are not read.

    Raises:
        ValueError: it is not in that format.
    """
    from dulwich.config import ConfigFile

    parsed = ConfigFile.from_file(BytesIO(text), expand_includes=False)
    return {
        tuple(part.decode("utf-8") for part in section): {
            key.decode("utf-8").lower(): value.decode("utf-8") for key, value in parsed.items(section)
        }
        for section in parsed.sections()
    }


class Attributes:
    """Attributes from the .gitattributes of a tree; `read` returns the one of a directory (posix), b"" for none."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._rules: dict[str, list[Any]] = {}

    def of(self, path: str) -> dict[str, str | bool]:
        """Return the attributes of the file at `path`: set, unset (False), or a value."""
        from dulwich.attrs import match_path

        directories = path.split("/")[:-1]
        rules = [rule for depth in range(len(directories) + 1) for rule in self._of("/".join(directories[:depth]))]
        found = match_path(rules, path.encode()) if rules else {}
        return {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            if isinstance(value, bytes)
            else bool(value)
            for name, value in found.items()
        }

    def _of(self, directory: str) -> list[Any]:
        from dulwich.attrs import compile_gitattributes_patterns, parse_git_attributes

        if directory not in self._rules:
            lines = parse_git_attributes(BytesIO(self._read(directory)))
            # `binary` is git's name for several attributes, one of which counts here.
            entries = [(name, {**said, b"text": False} if said.get(b"binary") else said) for name, said in lines]
            self._rules[directory] = compile_gitattributes_patterns(entries, directory, directory.encode())
        return self._rules[directory]


@dataclass(frozen=True, kw_only=True)
class WorkTree:
    """A directory of a checked-out repository: its commit, and the files that git has or would add there.

    Paths are relative to the directory; ignored files and submodules are not among them. `tracked` are the files that
    git has, `others` those that it would add. `commit` is empty before the first one.
    """

    commit: str
    commit_time: int
    tracked: frozenset[str]
    others: frozenset[str]


def read_work_tree(directory: Path) -> WorkTree | None:
    """Read what git knows of the existing `directory`; None if no repository contains it, or one that ignores it.

    Raises:
        SourceError: the repository around it cannot be read.
    """
    place = directory.resolve()
    # Looked for without dulwich, whose import takes longer than this for a project without git.
    if not any((folder / ".git").exists() for folder in (place, *place.parents)):
        return None
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        with contextlib.closing(Repo.discover(place)) as repo:
            return _work_tree(repo, place)
    except NotGitRepository:
        return None
    except _damaged_repository() as error:
        raise SourceError(
            f"{directory}: the git repository around it cannot be read: {str(error) or 'a file of it is damaged'}",
            hint="`git status` and `git fsck` say what is wrong with it",
        ) from error


def _work_tree(repo: Repo, place: Path) -> WorkTree | None:
    from dulwich.index import ConflictedIndexEntry
    from dulwich.porcelain import get_untracked_paths

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
    # An ignored directory (a build output, a copy in /tmp below another repository) is no part of that repository.
    if not tracked and below.parts and _is_ignored(repo, below):
        return None
    others = get_untracked_paths(place, base, index, exclude_ignored=True, repo=repo)
    known = frozenset(path.as_posix() for path in tracked)
    commit, commit_time = _head(repo)
    return WorkTree(commit=commit, commit_time=commit_time, tracked=known, others=frozenset(others) - known)


def _damaged_repository() -> tuple[type[Exception], ...]:
    """List what dulwich raises for files that git never writes, or that a newer git than dulwich knows has written."""
    from dulwich import errors, index, refs, repo

    return (
        *(errors.ChecksumMismatch, errors.FileFormatException, errors.RefFormatError, errors.WrongObjectException),
        *(errors.ObjectMissing, index.UnsupportedIndexFormat, index.InvalidPathError, refs.SymrefLoop),
        *(repo.UnsupportedVersion, repo.UnsupportedExtension, repo.InvalidWorktreeConfiguration),
        StopIteration,  # of a ref that ends after `ref: `
        *(OSError, ValueError, LookupError, AssertionError, OverflowError, struct.error, zlib.error),
    )


def _is_ignored(repo: Repo, path: Path) -> bool:
    from dulwich.ignore import IgnoreFilterManager

    return bool(IgnoreFilterManager.from_repo(repo, config=repo.get_config_stack()).is_ignored(f"{path.as_posix()}/"))


def _head(repo: Repo) -> tuple[str, int]:
    _check_head(Path(repo.controldir()) / "HEAD")
    try:
        commit = repo[repo.head()]
    except KeyError:  # nothing is committed yet
        return "", 0
    return commit.id.decode(), int(getattr(commit, "commit_time", 0))


def _check_head(path: Path) -> None:
    """Return if HEAD names a branch or a commit; dulwich reads anything else as a repository without commits.

    Raises:
        ValueError: it is damaged.
    """
    from dulwich.refs import Ref, check_ref_format

    content = path.read_bytes().rstrip()
    if re.fullmatch(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?", content):
        return
    name = content.removeprefix(b"ref:").strip()
    if name == content or not name.startswith(b"refs/") or b"//" in name or not check_ref_format(Ref(name)):
        shown = content[:60].decode("utf-8", "replace")
        raise ValueError(f"HEAD says {shown!r}, which is neither a branch nor a commit")


def ignored_by(patterns: Path, paths: Iterable[str]) -> frozenset[str]:
    """Return those of `paths` that the existing file `patterns`, in gitignore's syntax, ignores.

    Paths are relative to the file's directory. As in git, everything in an ignored directory is ignored, and a pattern
    that cannot be understood ignores nothing.
    """
    from dulwich.ignore import IgnoreFilter

    rules = IgnoreFilter.from_path(patterns)
    return frozenset(path for path in paths if rules.is_ignored(path))
