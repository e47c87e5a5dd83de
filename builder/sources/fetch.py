"""One fetch: a repository's commit, its submodules and its LFS files."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import LambdasmithError, RefNotFound, UnsafeSource
from builder.network.access import GitCredentials, Network, credentials_for
from builder.network.patience import Passing, patiently
from builder.paths import shown
from builder.sources import lfs
from builder.sources.checkout import (
    Checkout,
    Listed,
    ReadObject,
    tree_at,
    verified,
    write_tree,
)
from builder.sources.gitlib.files import parse_config
from builder.sources.gitlib.wire import BrokenOff, CommitRefused, Remote, Without, connected, open_objects
from builder.sources.kept import Held, Kept
from builder.sources.objects import Damaged, Objects
from builder.sources.partly import LFS_CONFIG, MAX_CONFIG_BYTES, Choose, Files, choose_paths, with_paths
from builder.sources.snapshot import Resolved, Snapshot
from builder.sources.submodules import MAX_NESTING, MAX_SUBMODULES, Submodule, refused_host, submodules_of

log = logging.getLogger(__name__)

# How many commits of history are asked for, one after another, if a server hands out tips only; None is all of it.
# Ten times more each time: the commit is usually near the tip, and a wrong guess costs at most a tenth of the next.
_DEPTHS = (10, 100, 1000, None)
# Ids of more files are not sent: all of the commit is then fetched again.
_MOST_BROUGHT = 10_000


@dataclass(kw_only=True)
class Fetch:
    """A fetch: what it may ask, where it may write, and how much space is left.

    Args:
        hosts: where submodules may be.
        cache: where packs are kept for the next fetch.
        scratch: an existing directory on the disk that files are written to.
        room_bytes: what packs and files may still take; None without a limit.
        submodules_fetched: the number so far.
        choose: says which files of a large repository are needed; None for all.
        is_large: tells whether the repository is known to be large: then only those files are fetched, if the server
            can leave others out. That takes one more request, which a small one is not worth.
    """

    credentials: Sequence[GitCredentials]
    network: Network
    hosts: Collection[str]
    cache: Path | None
    scratch: Path
    room_bytes: int | None
    submodules_fetched: int = 0
    choose: Choose | None = None
    is_large: Callable[[], bool] = lambda: False

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
        """Fetch one repository into the empty directory `into`, then its submodules and LFS files.

        It starts over after trouble of the server's that may pass, and without the kept packs if these cannot be
        put together with the new one.

        Args:
            above: the submodules around it, outermost first.
            needed: whether the build cannot do without it.
        """
        kept = None
        if self.cache is not None:
            kept = Kept(self.cache, resolved.url, credentials_for(resolved.url, self.credentials))
        room, reuse = self.room_bytes, kept

        def attempt() -> tuple[Snapshot, dict[str, str]]:
            nonlocal reuse
            try:
                # What is chosen are files of the project, never of a submodule.
                choose = None if above else self.choose
                return self._commit(resolved, into, path, known, reuse, kept, choose)
            except Passing:
                # A damaged kept pack may be the cause, so the next attempt borrows nothing; room is given back.
                self.room_bytes, reuse = room, None
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
        reuse: Kept | None,
        keep_in: Kept | None,
        choose: Choose | None,
    ) -> tuple[Snapshot, dict[str, str]]:
        """Fetch the commit's files, without those of its submodules, which are returned as {path: commit}."""
        with self._objects(reuse, partly=choose is not None) as (objects, held):
            partly = choose is not None and (held.partly if held else self.is_large())
            with connected(resolved.url, self.credentials, self.network) as remote:
                have = held.commit if held else None
                without: Without | None = "files" if partly else None
                self._take(transfer(remote, objects, resolved, have, self.room_bytes, without=without))
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
            # Before any file is written: a push elsewhere in the repository then costs one small fetch.
            if tree in known or (subtree and subtree in known):
                return replace(snapshot, unpacked=False), {}
            done = write_tree(
                tree,
                objects.read,
                into,
                mtime=commit_time,
                max_bytes=self.room_bytes,
                choose=lambda listed: self._needed(self._files(listed, objects, resolved), snapshot, choose),
            )
            self._take(done.size_bytes)
            log.info("fetched %s at %s: %d files, %d bytes", resolved.url, commit, done.files, done.size_bytes)
            filled = self._with_lfs(snapshot, done, reuse)
            # Only what was fetched and verified as a whole is kept: a broken pack would break every later build.
            if keep_in:
                lacks = partly and self._files(done.listed, objects, resolved).are_missing()
                keep_in.keep(Held(commit=commit, partly=lacks), objects.directory, filled.files)
        return _written(snapshot, done, filled), done.submodules

    def _needed(self, files: Files, snapshot: Snapshot, choose: Choose | None) -> Collection[str] | None:
        """Return the paths to write, None for all, once their content is there."""
        chosen = choose_paths(files, snapshot, choose)
        files.complete(chosen)
        return chosen

    def _files(self, listed: Listed, objects: Objects, resolved: Resolved) -> Files:
        def bring(ids: Sequence[str]) -> None:
            with connected(resolved.url, self.credentials, self.network) as remote:
                try:
                    if len(ids) <= _MOST_BROUGHT:
                        self._take(remote.receive_files(objects, ids, max_bytes=self.room_bytes).size_bytes)
                        return
                except CommitRefused:
                    log.info("%s hands out whole commits only", resolved.url)
                objects.clear()
                self._take(transfer(remote, objects, resolved, None, self.room_bytes))

        return Files(objects=objects, listed=listed, bring=bring)

    @contextlib.contextmanager
    def _objects(self, reuse: Kept | None, *, partly: bool) -> Iterator[tuple[Objects, Held | None]]:
        """Link and open the kept packs, if any, as objects; yield these and the commit that they hold."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            held = reuse.link_packs(Path(folder), partly=partly) if reuse else None
            try:
                with contextlib.closing(open_objects(Path(folder))) as objects:
                    yield objects, held
            except Damaged as error:
                raise BrokenOff(f"what was fetched is damaged: {error}", hint="try again") from error
            except UnsafeSource as error:
                if held is None:
                    raise
                # The kept packs may lack the object or have it wrong: BrokenOff tries again without them.
                raise BrokenOff(error.message, hint=error.hint) from error

    def _take(self, size_bytes: int) -> None:
        if self.room_bytes is not None:
            self.room_bytes = max(0, self.room_bytes - size_bytes)

    def _with_lfs(self, snapshot: Snapshot, done: Checkout, reuse: Kept | None) -> lfs.Filled:
        if not done.lfs_pointers:
            return lfs.Filled()
        try:
            settings = parse_config(_small_file(snapshot.root / LFS_CONFIG)).get(("lfs",), {})
        # Damaged settings count as none: git-lfs's default server is asked then.
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
                link=reuse.link_lfs if reuse else lambda oid, target: False,
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
            # Before it is fetched: a repository that contains itself would otherwise be fetched until the time is over.
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


def transfer(
    remote: Remote,
    objects: Objects,
    resolved: Resolved,
    have: str | None,
    max_bytes: int | None,
    *,
    without: Without | None = None,
) -> int:
    """Receive the pack with the commit into `objects`, whose other content may go; return the pack's bytes.

    Raises:
        RefNotFound: the server does not have the commit, or does not hand it out.
    """
    named = [resolved.ref] if resolved.ref.startswith("refs/") else ["HEAD"]
    try:
        received = remote.receive(
            objects, resolved.commit, prefixes=named, have=have, max_bytes=max_bytes, without=without
        )
        return received.size_bytes
    except CommitRefused as refused:
        if refused.definitive:
            raise _not_there(resolved) from None
    # The server hands out tips only: fetch the branch, or all of them, with more and more history and look there.
    prefixes = named if resolved.ref.startswith("refs/") else ["refs/heads/", "refs/tags/"]
    for depth in _DEPTHS:
        log.info("%s serves tips only: fetching %s commits of history", resolved.url, depth or "all")
        # The shorter history goes first: it would be in the longer one again, and both have to fit on the disk.
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
    """Return the commit of `resolved`, following annotated tags.

    A tag may tag a tag; eight levels are more than anyone has, and end a chain that was made to be endless.
    """
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
    """Return tree id and committer's time. Only the first line names the tree, as in git itself."""
    first = re.match(rb"tree ([0-9a-f]{40})\n", raw)
    committer = re.search(rb"^committer .*> (-?\d{1,19}) [-+]\d+$", raw.split(b"\n\n", 1)[0], re.MULTILINE)
    if not first or not committer:
        raise UnsafeSource("the commit's record is damaged", hint="run git fsck on the server")
    return first[1].decode("ascii"), max(0, min(int(committer[1]), 2**33))


def _written(snapshot: Snapshot, done: Checkout, filled: lfs.Filled) -> Snapshot:
    """Return the snapshot with what was written of it."""
    return replace(
        with_paths(snapshot, done.listed),
        files=done.files,
        whole=done.whole,
        lfs_pointers=tuple(filled.left),
        lfs_reasons=filled.left,
        warnings=tuple(f"{name} is a Git LFS file without its content: {why}" for name, why in filled.left.items()),
    )


def _small_file(path: Path) -> bytes:
    """Read one of git's own files in a tree; b"" if it is a link (which git ignores as well) or huge."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
        return b""
    return path.read_bytes()


def _meets(one: str, other: str) -> bool:
    """Tell whether one of two posix paths contains the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/") or not other


def _check_bounds(chain: tuple[Submodule, ...], count: int) -> None:
    """Refuse submodules that are deeper, or more, than anyone means to have.

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
    """Name the submodule in errors of the block; the innermost one only."""
    try:
        yield
    except LambdasmithError as error:
        if names and not error.message.startswith("submodule "):
            error.message = f"submodule {shown('/'.join(names))}: {error.message}"
            error.args = (error.message,)
        raise


def _joined(snapshot: Snapshot, inner: Snapshot, path: str) -> Snapshot:
    """Return the snapshot with that of its submodule at `path` added."""
    return replace(
        snapshot,
        files=snapshot.files + inner.files,
        submodules=(*snapshot.submodules, *(f"{path}/{name}" for name in inner.submodules)),
        lfs_pointers=tuple(sorted((*snapshot.lfs_pointers, *(f"{path}/{name}" for name in inner.lfs_pointers)))),
        lfs_reasons={**snapshot.lfs_reasons, **{f"{path}/{name}": why for name, why in inner.lfs_reasons.items()}},
        warnings=(*snapshot.warnings, *(f"{path}: {warning}" for warning in inner.warnings)),
    )
