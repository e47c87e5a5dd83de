"""The git protocol over HTTP, and the packs that it brings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

from builder.amounts import megabytes
from builder.errors import LambdasmithError, OutOfSpace, SourceError, SourceUnreachable
from builder.network import wire
from builder.network.access import GitCredentials, Greeting, Network
from builder.network.patience import Passing, patiently
from builder.sources.answers import Asked, check_answer, unreachable
from builder.sources.objects import Damaged, Objects
from builder.sources.refs import Listing

if TYPE_CHECKING:
    from builder.network.pool import Beginning, GuardedPool

Answer = TypeVar("Answer")
Without = Literal["files", "trees"]
# https://git-scm.com/docs/git-rev-list#Documentation/git-rev-list.txt---filterfilter-spec
_FILTERS: Mapping[Without, bytes] = {"files": b"blob:none", "trees": b"tree:0"}


class BrokenOff(Passing):
    """The server began to answer and did not finish, or what it sent is damaged."""


class CommitRefused(Exception):
    """The server does not hand out the object by its id. `definitive`: it would if there were such an object."""

    def __init__(self, *, definitive: bool) -> None:
        super().__init__()
        self.definitive = definitive


@dataclass(frozen=True, kw_only=True)
class Received:
    """A pack that has arrived. `complete`: it has all of the history."""

    size_bytes: int
    complete: bool


class _Arriving:
    """A pack on its way to a file. Counted as it arrives: the server does not announce the size of a pack."""

    def __init__(self, file: IO[bytes], max_bytes: int | None) -> None:
        self.size_bytes = 0
        self._file, self._max_bytes = file, max_bytes

    def write(self, data: bytes) -> int:
        self.size_bytes += len(data)
        if self._max_bytes is not None and self.size_bytes > self._max_bytes:
            raise OutOfSpace(
                f"the repository's commit is larger than the {megabytes(self._max_bytes, ',.1f')} there are",
                hint="take large files out of the repository, or give the builder a larger ephemeral_storage",
            )
        return self._file.write(data)


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
        without: Without | None = None,
    ) -> Received:
        """Add `commit`, or all refs with `prefixes` if it is None, to `objects`.

        Args:
            depth: how many commits of history; None for all.
            have: a commit, without its history, that `objects` already has: the server doesn't send what the two share.
            without: what the server leaves out if it can: the content of files, or all but the commits.

        Raises:
            CommitRefused: the server does not hand it out.
            OutOfSpace: it is more than `max_bytes`.
        """
        wanted = [commit] if commit else None
        return self._receive(
            objects, wanted, prefixes=prefixes, depth=depth, have=have, max_bytes=max_bytes, without=without
        )

    def receive_files(self, objects: Objects, ids: Sequence[str], *, max_bytes: int | None = None) -> Received:
        """Add the content of files to `objects`, by their ids.

        Raises:
            CommitRefused: the server hands out whole commits only.
            OutOfSpace: it is more than `max_bytes`.
        """
        return self._receive(objects, ids, prefixes=["HEAD"], depth=None, have=None, max_bytes=max_bytes, without=None)

    def _receive(
        self,
        objects: Objects,
        wanted: Sequence[str] | None,
        *,
        prefixes: Sequence[str],
        depth: int | None,
        have: str | None,
        max_bytes: int | None,
        without: Without | None,
    ) -> Received:
        from dulwich.errors import GitProtocolError

        def wants(refs: Mapping[bytes, bytes], depth: int | None = None) -> Sequence[bytes]:
            return sorted(set(refs.values())) if wanted is None else [each.encode() for each in wanted]

        with objects.incoming() as file:
            pack = _Arriving(file, max_bytes)
            try:
                result = self._client.fetch_pack(
                    "",
                    wants,
                    _holding(have),
                    pack.write,
                    depth=depth,
                    # After a greeting the server hands out a commit by its id without a list of refs first.
                    ref_prefix=[] if wanted and self._client.greeting else [each.encode() for each in prefixes],
                    filter_spec=_FILTERS[without] if without else None,
                )
            except GitProtocolError as error:
                if any(words in (self._begun.refusal() or str(error)) for words in _REFUSALS):
                    raise CommitRefused(definitive=self._is_git_itself()) from None
                raise
            if result.object_format not in (None, "sha1"):
                raise SourceError(f"the repository uses {result.object_format} object ids; only sha1 is read here")
        return Received(size_bytes=pack.size_bytes, complete=not result.new_shallow)

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


def _holding(commit: str | None) -> Any:
    """Return the objects that the server is told are here already: a commit without its history, or none."""
    from dulwich.object_store import ObjectStoreGraphWalker

    known = {commit.encode()} if commit else set()
    # Dulwich has types of its own for bytes.
    return ObjectStoreGraphWalker(known, lambda sha: [], shallow=set(known))  # type: ignore[arg-type]


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
