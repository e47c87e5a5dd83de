"""One fetch: a repository's commit, and all that it consists of."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import LambdasmithError, RefNotFound, UnsafeSource
from builder.network.access import GitCredentials, Network, credentials_for
from builder.network.patience import Passing, patiently
from builder.paths import shown
from builder.sources import lfs
from builder.sources.checkout import Checkout, ReadObject, tree_at, verified, write_tree
from builder.sources.gitlib import BrokenOff, CommitRefused, Remote, connected, open_objects, parse_config
from builder.sources.kept import Kept
from builder.sources.objects import Damaged, Objects
from builder.sources.snapshot import Resolved, Snapshot
from builder.sources.submodules import MAX_NESTING, MAX_SUBMODULES, Submodule, refused_host, submodules_of

log = logging.getLogger(__name__)

# How much history is asked for, one after the other, of a server that gives away tips only; None is all of it.
_DEPTHS = (10, 100, 1000, None)
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(kw_only=True)
class Errand:
    """What it may ask, where it may put things, and what is left of the space.

    Args:
        hosts: that submodules may be on.
        cache: where packs are kept for the next fetch.
        scratch: an existing directory on the disk that files are written to.
        room_bytes: what packs and files may still take; None without a limit.
        submodules_fetched: so far.
    """

    credentials: Sequence[GitCredentials]
    network: Network
    hosts: Collection[str]
    cache: Path | None
    scratch: Path
    room_bytes: int | None
    submodules_fetched: int = 0

    def fetch(
        self,
        resolved: Resolved,
        into: Path,
        *,
        path: str = "",
        known: Collection[str] = (),
        above: tuple[Submodule, ...] = (),
        needed: bool = True,
    ) -> Snapshot:
        """Fetch one repository into the empty directory `into`, then what it consists of.

        Where the server has trouble that may pass it is tried again from the start, and so is what cannot be put
        together from what was kept.

        Args:
            above: the submodules that it is in, outermost first.
            needed: whether the build cannot do without it.
        """
        kept = None
        if self.cache is not None:
            kept = Kept(self.cache, resolved.url, credentials_for(resolved.url, self.credentials))
        room, lender = self.room_bytes, kept

        def attempt() -> tuple[Snapshot, dict[str, str]]:
            nonlocal lender
            try:
                return self._commit(resolved, into, path, known, lender, kept)
            except Passing:
                # It may be the fault of what was kept.
                self.room_bytes, lender = room, None
                shutil.rmtree(into)
                into.mkdir()
                raise

        snapshot, submodules = patiently(attempt, self.network)
        return self._with_submodules(snapshot, submodules, path, above, needed) if submodules else snapshot

    def _commit(
        self,
        resolved: Resolved,
        into: Path,
        path: str,
        known: Collection[str],
        lender: Kept | None,
        keeper: Kept | None,
    ) -> tuple[Snapshot, dict[str, str]]:
        """The commit's files, without those of its submodules, which are returned as {path: commit}."""
        with self._objects(lender) as (objects, have):
            with connected(resolved.url, self.credentials, self.network) as remote:
                self._take(transfer(remote, objects, resolved, have, self.room_bytes))
                commit = peeled(objects.read, resolved)
            tree, commit_time = read_commit(verified(objects.read, commit, "commit"))
            subtree = tree_at(tree, path, objects.read)
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
                return replace(snapshot, unpacked=False), {}
            done = write_tree(tree, objects.read, into, mtime=commit_time, max_bytes=self.room_bytes)
            self._take(done.size_bytes)
            log.info("fetched %s at %s: %d files, %d bytes", resolved.url, commit, done.files, done.size_bytes)
            filled = self._with_lfs(snapshot, done, lender)
            if keeper:
                keeper.keep(commit, objects.directory, filled.files)
        warnings = tuple(f"{name} is a Git LFS file without its content: {why}" for name, why in filled.left.items())
        snapshot = replace(
            snapshot, files=done.files, lfs_pointers=tuple(filled.left), lfs_reasons=filled.left, warnings=warnings
        )
        return snapshot, done.submodules

    @contextlib.contextmanager
    def _objects(self, lender: Kept | None) -> Iterator[tuple[Objects, str | None]]:
        """Objects on loan, if there are any, and the commit that they are all of."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            have = lender.lend(Path(folder)) if lender else None
            try:
                with contextlib.closing(open_objects(Path(folder))) as objects:
                    yield objects, have
            except Damaged as error:
                raise BrokenOff(f"what was fetched is damaged: {error}", hint="try again") from error
            except UnsafeSource as error:
                if have is None:
                    raise
                # An object that is missing or wrong may be the fault of what was kept.
                raise BrokenOff(error.message, hint=error.hint) from error

    def _take(self, size_bytes: int) -> None:
        if self.room_bytes is not None:
            self.room_bytes = max(0, self.room_bytes - size_bytes)

    def _with_lfs(self, snapshot: Snapshot, done: Checkout, lender: Kept | None) -> lfs.Filled:
        if not done.lfs_pointers:
            return lfs.Filled()
        try:
            settings = parse_config(_small_file(snapshot.root / ".lfsconfig")).get(("lfs",), {})
        except ValueError:
            settings = {}
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            filled = lfs.fill(
                snapshot.root,
                done.lfs_pointers,
                url=self.network.present_url(snapshot.url),
                ref=snapshot.ref,
                lfs_url=settings.get("url", ""),
                credentials=self.credentials,
                network=self.network,
                scratch=Path(folder),
                max_bytes=self.room_bytes,
                lend=lender.lend_lfs if lender else lambda oid, target: False,
            )
        self._take(filled.size_bytes)
        return filled

    def _with_submodules(
        self, snapshot: Snapshot, links: dict[str, str], path: str, above: tuple[Submodule, ...], needed: bool
    ) -> Snapshot:
        names = tuple(each.path for each in above)
        with _named(names):
            gitmodules = _small_file(snapshot.root / ".gitmodules")
            wanted, left = submodules_of(links, gitmodules, parent=snapshot.url)
        for submodule in wanted:
            here = needed and _meets(submodule.path, path)
            if refusal := refused_host(submodule, self.hosts, names):
                if here:
                    raise refusal
                left[submodule.path] = refusal.message
                continue
            self.submodules_fetched += 1
            _check_bounds((*above, submodule), self.submodules_fetched)
            with _named((*names, submodule.path)):
                inner = self.fetch(
                    Resolved(url=submodule.url, ref=submodule.commit, commit=submodule.commit),
                    snapshot.root / submodule.path,
                    above=(*above, submodule),
                    needed=here,
                )
            snapshot = _joined(snapshot, inner, submodule.path)
        return replace(
            snapshot,
            submodules=tuple(sorted((*snapshot.submodules, *left))),
            warnings=(*snapshot.warnings, *(f"submodule {name} is left empty: {why}" for name, why in left.items())),
        )


def transfer(remote: Remote, objects: Objects, resolved: Resolved, have: str | None, max_bytes: int | None) -> int:
    """Bytes of the pack with the commit, now in `objects`; what else was there may be gone.

    Raises:
        RefNotFound: the server has no such commit, or does not give it away.
    """
    named = [resolved.ref] if resolved.ref.startswith("refs/") else ["HEAD"]
    try:
        return remote.receive(objects, resolved.commit, prefixes=named, have=have, max_bytes=max_bytes).size_bytes
    except CommitRefused as refused:
        if refused.definitive:
            raise _not_there(resolved) from None
    # The server gives away tips only: take the branch, or all of them, with more and more history and look there.
    prefixes = named if resolved.ref.startswith("refs/") else ["refs/heads/", "refs/tags/"]
    for depth in _DEPTHS:
        log.info("%s serves tips only: fetching %s commits of history", resolved.url, depth or "all")
        objects.clear()
        received = remote.receive(objects, None, prefixes=prefixes, depth=depth, max_bytes=max_bytes)
        if resolved.commit in objects:
            return received.size_bytes
        if received.complete:
            break
    raise _not_there(resolved)


def _not_there(resolved: Resolved) -> RefNotFound:
    return RefNotFound(
        f"commit {resolved.commit} is not in {resolved.url}",
        hint="push the commit, or name a branch or a tag (a server may keep commits that are on no branch to itself)",
    )


def peeled(read: ReadObject, resolved: Resolved) -> str:
    """The commit that `resolved.commit` is, or, where it is the id of an annotated tag, the one that is tagged."""
    object_id = resolved.commit
    for _ in range(8):
        try:
            kind = read(object_id).kind
        except KeyError:
            break
        if kind == "commit":
            return object_id
        if kind != "tag":
            raise RefNotFound(f"{resolved.commit} in {resolved.url} is a {kind}, not a commit")
        object_id = verified(read, object_id, "tag").split(b"\n", 1)[0].removeprefix(b"object ").decode("ascii")
    raise _not_there(resolved)


def read_commit(raw: bytes) -> tuple[str, int]:
    """Tree id and committer's time. The tree is the first line's and no other's, as for git itself."""
    first = re.match(rb"tree ([0-9a-f]{40})\n", raw)
    committer = re.search(rb"^committer .*> (-?\d{1,19}) [-+]\d+$", raw.split(b"\n\n", 1)[0], re.MULTILINE)
    if not first or not committer:
        raise UnsafeSource("the commit's record is damaged", hint="run git fsck on the server")
    return first[1].decode("ascii"), max(0, min(int(committer[1]), 2**33))


def _small_file(path: Path) -> bytes:
    """The content of one of git's own files in a tree; nothing where it is a link, as git itself does, or huge."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
        return b""
    return path.read_bytes()


def _meets(one: str, other: str) -> bool:
    """Whether one of two posix paths is in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/") or not other


def _check_bounds(chain: tuple[Submodule, ...], count: int) -> None:
    """Refuse what goes deeper, or on for longer, than anybody means to.

    Raises:
        UnsafeSource
    """
    if len(chain) > MAX_NESTING:
        urls = [submodule.url for submodule in chain]
        again = f"; {urls[-1]} contains itself" if urls[-1] in urls[:-1] else ""
        path = shown("/".join(submodule.path for submodule in chain))
        raise UnsafeSource(f"submodule {path}: more than {MAX_NESTING} submodules inside of each other{again}")
    if count > MAX_SUBMODULES:
        raise UnsafeSource(f"the repository has more than {MAX_SUBMODULES} submodules")


@contextlib.contextmanager
def _named(names: tuple[str, ...]) -> Iterator[None]:
    """Errors in the block say in which submodule they arose, the innermost only."""
    try:
        yield
    except LambdasmithError as error:
        if names and not error.message.startswith("submodule "):
            error.message = f"submodule {shown('/'.join(names))}: {error.message}"
            error.args = (error.message,)
        raise


def _joined(snapshot: Snapshot, inner: Snapshot, path: str) -> Snapshot:
    """The snapshot with that of its submodule at `path`."""
    return replace(
        snapshot,
        files=snapshot.files + inner.files,
        submodules=(*snapshot.submodules, *(f"{path}/{name}" for name in inner.submodules)),
        lfs_pointers=tuple(sorted((*snapshot.lfs_pointers, *(f"{path}/{name}" for name in inner.lfs_pointers)))),
        lfs_reasons={**snapshot.lfs_reasons, **{f"{path}/{name}": why for name, why in inner.lfs_reasons.items()}},
        warnings=(*snapshot.warnings, *(f"{path}: {warning}" for warning in inner.warnings)),
    )
