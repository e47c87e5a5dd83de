"""Reads commits of one repository without checking them out: its tags, a commit's files, its ancestors.

The server is asked for its refs once, for each commit at most once, and for the history only if it is needed.
Submodules and LFS files are not followed: git itself would show a link and a pointer there.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from builder.amounts import megabytes
from builder.errors import InvalidEvent, RefNotFound, UnsafeSource
from builder.network.access import GitCredentials, Network
from builder.network.urls import url_problem
from builder.paths import MAX_ENTRIES
from builder.sources.checkout import FILES, TreeEntry, checked_object, tree_at, verified, walk
from builder.sources.fetch import peeled, read_commit, transfer
from builder.sources.gitlib.wire import Remote, ask, open_objects
from builder.sources.objects import Content, Objects
from builder.sources.refs import Listing, default_branch
from builder.sources.snapshot import Resolved

# Commits without files: a million of them fit.
_MAX_HISTORY_BYTES = 512 << 20
_PARENT = re.compile(rb"^parent ([0-9a-f]{40})$", re.MULTILINE)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit that has been fetched. `time` is the committer's, in seconds since the epoch."""

    id: str
    tree: str
    time: int


class Commits:
    """A repository. Threads may share it; hold `lock` around steps that belong together. Close it.

    Args:
        folder: an existing directory for packs, each kind in its own.
        max_bytes: for one fetch.

    Every method may raise RepositoryNotFound, AuthenticationFailed, SourceUnreachable; reading from a pack, Damaged.
    """

    def __init__(
        self,
        url: str,
        credentials: Sequence[GitCredentials],
        network: Network,
        folder: Path,
        max_bytes: int | None = None,
    ) -> None:
        if problem := url_problem(url):
            raise InvalidEvent(f"repository: {problem}")
        self.url = url
        # Reentrant, because callers hold it around several methods, which take it again.
        self.lock = threading.RLock()
        self._credentials, self._network, self._max_bytes = credentials, network, max_bytes
        self._folder = folder
        self._opened = contextlib.ExitStack()
        self._commits: dict[str, Commit] = {}

    def close(self) -> None:
        self._opened.close()

    def listing(self) -> Listing:
        """Return all branches and tags."""
        with self.lock:
            return self._listing

    @cached_property
    def _listing(self) -> Listing:
        return self._asked(lambda remote: remote.list(["HEAD", "refs/heads/", "refs/tags/"]))

    def tags(self) -> dict[str, str]:
        """Return the tags: name → commit."""
        commits = self.listing().commits
        return {name.removeprefix("refs/tags/"): sha for name, sha in commits.items() if name.startswith("refs/tags/")}

    def head(self) -> str:
        """Return the commit of the default branch."""
        return default_branch(self.url, self.listing())[1]

    def beginning(self, short: str) -> str:
        """Return the full id of the commit that `short` begins: a tip, or anywhere in the history.

        Raises:
            RefNotFound: no commit begins with it, or more than one.
        """
        tips = {commit for commit in self.listing().commits.values() if commit.startswith(short)}
        with self.lock:
            found = tips or set(self._history.beginning(short))
        if len(found) == 1:
            return found.pop()
        raise RefNotFound(
            f"{self.url} has {'several commits' if found else 'no commit'} {short} in its branches and tags",
            hint="push the commit to a branch, or tag it; a version that names another commit goes into go.mod by "
            "`go get MODULE@BRANCH`",
        )

    def ancestors(self, commit: str) -> frozenset[str]:
        """Return the commit and its ancestors, as far as branches and tags lead."""
        found, todo = set[str](), [commit]
        with self.lock:
            while todo:
                one = todo.pop()
                if one not in found and one in self._history:
                    found.add(one)
                    todo += [
                        sha.decode() for sha in _PARENT.findall(_head(verified(self._history.read, one, "commit")))
                    ]
        return frozenset(found)

    @cached_property
    def _history(self) -> Objects:
        objects = self._new_objects("history")
        prefixes = ["refs/heads/", "refs/tags/"]
        self._asked(
            lambda remote: remote.receive(
                objects, None, prefixes=prefixes, depth=None, max_bytes=_MAX_HISTORY_BYTES, without="trees"
            )
        )
        return objects

    def fetched(self, commit: str) -> Commit:
        """Return the commit, whose files can be read from now on."""
        with self.lock:
            if commit not in self._commits:
                self._fetch(commit)
            return self._commits[commit]

    def _fetch(self, commit: str) -> None:
        ref = next((name for name, sha in self.listing().commits.items() if sha == commit), commit)
        # Naming the commit that was fetched last makes the server send only what differs from it.
        resolved = Resolved(url=self.url, ref=ref, commit=commit)
        have = next(reversed(self._commits), None)
        self._asked(lambda remote: transfer(remote, self._objects, resolved, have, self._max_bytes))
        # `transfer` may have cleared the packs to make room for history: forget the commits that went with them.
        self._commits = {sha: known for sha, known in self._commits.items() if sha in self._objects}
        tree, time = read_commit(verified(self._objects.read, peeled(self._objects.read, resolved), "commit"))
        self._commits[commit] = Commit(id=commit, tree=tree, time=time)

    @cached_property
    def _objects(self) -> Objects:
        return self._new_objects("files")

    def files(self, commit: Commit, directory: str = "") -> Iterator[TreeEntry]:
        """Return the regular files below `directory` (posix), with paths relative to it. Hold `lock` meanwhile."""
        tree = tree_at(commit.tree, directory, self._objects.read)
        entries = walk(tree, self._objects.read, MAX_ENTRIES) if tree else ()
        return (entry for entry in entries if entry.mode in FILES)

    def content(self, entry: TreeEntry) -> Content:
        """Return a file's content, which raises UnsafeSource at its end if damaged. Hold `lock` meanwhile."""
        return checked_object(self._objects.read, entry.object_id, "blob", entry.path)

    def read(self, commit: Commit, path: str, max_bytes: int) -> bytes | None:
        """Read a regular file; None if there is none.

        Raises:
            UnsafeSource: it is larger.
        """
        directory, _, name = path.rpartition("/")
        with self.lock:
            entry = next((entry for entry in self._entries(commit, directory) if entry.path == name), None)
            if entry is None or entry.mode not in FILES:
                return None
            content = self.content(entry)
            if content.size > max_bytes:
                raise UnsafeSource(f"{path} in {self.url} is larger than {megabytes(max_bytes, '.0f')}")
            return b"".join(content.chunks)

    def _entries(self, commit: Commit, directory: str) -> Iterator[TreeEntry]:
        """Yield the entries directly in a directory."""
        tree = tree_at(commit.tree, directory, self._objects.read)
        found = walk(tree, self._objects.read, MAX_ENTRIES) if tree else iter(())
        # `walk` yields all entries of a directory before those below it, so the first deeper one is the end.
        return itertools.takewhile(lambda entry: "/" not in entry.path, found)

    def _new_objects(self, name: str) -> Objects:
        folder = tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder)
        return self._opened.enter_context(contextlib.closing(open_objects(Path(folder))))

    def _asked(self, question: Callable[[Remote], T]) -> T:
        return ask(self.url, self._credentials, self._network, question)


def _head(commit: bytes) -> bytes:
    return commit.split(b"\n\n", 1)[0]
