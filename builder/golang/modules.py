"""Serves Go modules from git repositories: finds a module's repository, a version's commit, and its files.

It does without a git binary what `go` does with one: https://go.dev/ref/mod#vcs. Every error names the module.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from builder.errors import (
    AuthenticationFailed,
    LambdasmithError,
    OutOfSpace,
    OutOfTime,
    PathNotFound,
    RefNotFound,
    RepositoryNotFound,
    SourceUnreachable,
    UnsafeSource,
)
from builder.golang import zips
from builder.golang.paths import (
    Candidate,
    Home,
    Version,
    candidates,
    homes,
    major_of,
    newest,
    pseudo_version,
    split_major,
)
from builder.golang.versions import Info, Module, canonical, stamp
from builder.network.access import GitCredentials, Network, credentials_for
from builder.sources.commits import Commits
from builder.sources.gitlib.wire import BrokenOff
from builder.sources.kept import names
from builder.sources.objects import Damaged
from builder.store import whole
from builder.workspace.directory import Workspace, full_disk

NOT_THERE = (RepositoryNotFound, RefNotFound, PathNotFound)
"""Errors that mean that there is no such module, or version. Others mean that it is not known."""
# A forge's answers for a group, or a page for people: redirects to a login page are among them.
_ANOTHER_PLACE = (RepositoryNotFound, UnsafeSource, BrokenOff)
_SHOWN = 8

Discover = Callable[[str], Candidate | None]
"""Asks a module path's own host for its repository."""


class GoModules:
    """Modules that can be read with the builder's credentials, or without any. Close it. Threads may share it.

    Args:
        credentials: called once, for the first module.
        repository: the URL of the project, "" if it has none.
        workspace: its cache keeps zips, each for one repository, one login and one commit.

    Set `discover` to find the repository of a path that does not name it.
    """

    def __init__(
        self,
        credentials: Callable[[], Sequence[GitCredentials]],
        network: Network,
        repository: str,
        workspace: Workspace,
        scratch: Path,
    ) -> None:
        self._ask_for_credentials = credentials
        self._network, self._project, self._workspace = network, repository, workspace
        self.discover: Discover = lambda path: None
        self._scratch = scratch
        self._lock = threading.RLock()
        self._repositories: dict[str, Commits] = {}
        self._absent: dict[str, LambdasmithError] = {}

    def close(self) -> None:
        for repository in self._repositories.values():
            repository.close()

    @property
    def credentials(self) -> Sequence[GitCredentials]:
        """Credentials of git servers, read at the first use."""
        with self._lock:
            return self._credentials

    @cached_property
    def _credentials(self) -> Sequence[GitCredentials]:
        return self._ask_for_credentials()

    @property
    def homes(self) -> tuple[Home, ...]:
        """Places of private modules, the longest prefix first."""
        return homes(self.credentials, self._project)

    def home(self, path: str) -> Home | None:
        """Return the place of the module `path`, if it is a private one."""
        return next((home for home in self.homes if home.covers(path)), None)

    # --- what a proxy is asked --------------------------------------------------------------------------------------

    def versions(self, path: str) -> list[str]:
        """Return the versions of a module that have tags, oldest first."""
        with _named(path):
            module = self._module(path)
            found = sorted(module.versions(), key=lambda version: version.order)
            return [version.text for version in (*found, *self._incompatible(module, found))]

    def info(self, path: str, query: str) -> Info:
        """Return the version that `query` means: a version, or the name or id of a commit."""
        with _named(path, query):
            version = Version.parse(query)
            module = self._module(path)
            if version is None:
                return self._of_commit(module, self._by_name(module, query))
            # A zip of this very commit: reading its comment is cheaper than fetching the commit again.
            if kept := self._kept(module, version):
                return Info(version=query, time=zips.read_zip(kept)[0])
            return Info(version=query, time=self._content(module, version).commit.time)

    def latest(self, path: str) -> Info:
        """Return the newest release, else the newest pre-release, else the default branch as it is."""
        with _named(path):
            module = self._module(path)
            best = newest(list(module.versions()))
            if best is None:
                return self._of_commit(module, module.repository.head())
            return Info(version=best.text, time=self._content(module, best).commit.time)

    def go_mod(self, path: str, version: str) -> bytes:
        """Return the module's go.mod; without one, a go.mod with only its path."""
        with _named(path, version):
            module, wanted = self._module(path), canonical(version)
            kept = self._kept(module, wanted)
            found = zips.read_zip(kept)[1] if kept else self._content(module, wanted).go_mod
            return found or f"module {path}\n".encode()

    def zip(self, path: str, version: str) -> Path:
        """Return the module's zip."""
        with _named(path, version):
            module, wanted = self._module(path), canonical(version)
            if kept := self._kept(module, wanted):
                return kept
            content = self._content(module, wanted)
            place = self._cache / f"{self._key(module, wanted)}-{content.commit.id}.zip"
            # The repository's packs may be cleared by another thread's fetch, so they are read under its lock.
            with module.repository.lock:
                with whole.file(place) as partial:
                    zips.write_zip(partial, path, version, content)
                self._workspace.seal(place)
            return place

    # --- where it is ------------------------------------------------------------------------------------------------

    def _module(self, path: str) -> Module:
        """Return the module, once its repository has answered.

        Raises:
            RepositoryNotFound: no repository has it; those that were tried are named.
        """
        home, tried = self.home(path), []
        _, major = split_major(path)
        for candidate in self._candidates(path, home):
            try:
                repository = self._repository(candidate.url)
            except _ANOTHER_PLACE as error:
                tried.append(error)
                continue
            return Module(
                path=path,
                repository=repository,
                root=candidate.root,
                directory=candidate.directory,
                major=major,
            )
        # A single answer says more than a summary: a refused login, for example.
        if len(tried) == 1:
            raise tried[0]
        raise RepositoryNotFound(
            f"it is in none of the repositories that it may be in: {'; '.join(error.message for error in tried)}"
            if tried
            else "nothing says which repository it is in: its host gives no go-import tag, and has no login here",
            hint="check the path; the operator says where modules are with modules = PREFIX in [git HOST] of "
            "config.ini: docs/secrets.md",
        )

    def _candidates(self, path: str, home: Home | None) -> Iterator[Candidate]:
        found = list(candidates(path, home, self.credentials))
        # An open repository has already proved right, so it is tried before others.
        found.sort(key=lambda candidate: candidate.url not in self._repositories)
        yield from found
        if not found or (home is not None and not home.inner):
            discovered = self.discover(path)
            if discovered:
                yield discovered

    def _repository(self, url: str) -> Commits:
        with self._lock:
            if url in self._absent:
                raise self._absent[url]
            if url not in self._repositories:
                # Without a limit of its own: a full disk is reported with the module's name.
                self._repositories[url] = Commits(url, self.credentials, self._network, self._scratch)
            repository = self._repositories[url]
        try:
            repository.listing()
        except (*_ANOTHER_PLACE, AuthenticationFailed) as error:
            # Remembered, since `go` asks for every prefix of a path: each would cost a request again.
            with self._lock:
                self._absent[url] = error
                self._repositories.pop(url, None)
            raise
        return repository

    # --- which commit it is -----------------------------------------------------------------------------------------

    def _commit(self, module: Module, version: Version) -> str:
        """Return the full id of a version's commit."""
        if version.commit:
            return module.repository.beginning(version.commit)
        tag = module.prefix + version.tag
        tags = module.repository.tags()
        if tag not in tags:
            others = sorted(module.versions(), key=lambda one: one.order)[-_SHOWN:]
            there = ", ".join(module.prefix + other.text for other in others)
            raise RefNotFound(
                f"{module.repository.url} has no tag {tag}",
                hint=f"the newest there are: {there}" if there else "push the tag: git push origin TAG",
            )
        return tags[tag]

    def _content(self, module: Module, version: Version) -> zips.Content:
        """Return the version's files.

        Raises:
            PathNotFound: the commit has no such module, or its go.mod has another major version.
            RefNotFound: the pseudo-version has another time than the commit.
        """
        if not version.fits(module.major):
            raise RefNotFound(f"a module whose path ends so cannot have version {version.text}")
        commit = module.repository.fetched(self._commit(module, version))
        # `go` trusts the time in a pseudo-version when it sorts versions, so a wrong one is refused as by `go` itself.
        if version.commit and version.time != stamp(commit.time):
            raise RefNotFound(
                f"commit {version.commit} is of {stamp(commit.time)}, not of {version.time}",
                hint="let go write the version: go get MODULE@COMMIT",
            )
        content = self._located(module, commit.id)
        if version.incompatible and content.go_mod:
            raise PathNotFound(f"{version.tag} has a go.mod, so it is not available as {version.text}")
        return content

    def _located(self, module: Module, commit_id: str) -> zips.Content:
        """Return the module's directory in a commit; for /v2 it is the one whose go.mod says so."""
        repository, commit = module.repository, module.repository.fetched(commit_id)
        places = [module.directory]
        if module.major and module.root != module.path:
            # A directory /v2 comes before a branch that has v2 at its top, as in `go`.
            places.insert(0, "/".join(filter(None, [module.directory, module.major[1:]])))
        for directory in places:
            path = f"{directory}/go.mod" if directory else "go.mod"
            go_mod = repository.read(commit, path, zips.MAX_FILE_BYTES)
            if go_mod is not None and major_of(go_mod) == module.major:
                return zips.Content(repository=repository, commit=commit, directory=directory, go_mod=go_mod)
            if go_mod is None and not directory and not module.major:
                return zips.Content(repository=repository, commit=commit, directory="", go_mod=b"")
        wanted = " or ".join(f"{place}/go.mod" if place else "go.mod" for place in places)
        raise PathNotFound(
            f"{repository.url} at {commit_id[:12]} has no {wanted} for it",
            hint=f"its first line has to be `module {module.path}`",
        )

    def _incompatible(self, module: Module, compatible: Sequence[Version]) -> list[Version]:
        """Return versions from 2 on of a repository that never had a go.mod."""
        repository, tags = module.repository, module.tags()

        def has_go_mod(version: Version) -> bool:
            return repository.read(repository.fetched(tags[version]), "go.mod", zips.MAX_FILE_BYTES) is not None

        if module.directory or module.major or (compatible and has_go_mod(compatible[-1])):
            return []
        others = sorted((version for version in tags if version.numbers[0] > 1), key=lambda version: version.order)
        found = [Version.parse(f"{version.text}+incompatible") for version in others if not has_go_mod(version)]
        return [version for version in found if version]

    # --- commits by other names -------------------------------------------------------------------------------------

    def _by_name(self, module: Module, query: str) -> str:
        commits = module.repository.listing().commits
        for name in (f"refs/tags/{module.prefix}{query}", f"refs/tags/{query}", f"refs/heads/{query}"):
            if name in commits:
                return commits[name]
        if query == "HEAD":
            return module.repository.head()
        if re.fullmatch("[0-9a-f]{7,40}", query):
            return module.repository.beginning(query)
        raise RefNotFound(f"{module.repository.url} has no branch, tag or commit {query}")

    def _of_commit(self, module: Module, commit_id: str) -> Info:
        """Return the version of a commit: its tag, or a pseudo-version after the newest tag before it."""
        commit = self._located(module, commit_id).commit
        versions = module.versions()
        own = newest([version for version, tagged in versions.items() if tagged == commit_id])
        if own:
            return Info(version=own.text, time=commit.time)
        before = module.repository.ancestors(commit_id) if versions else frozenset()
        base = max(
            (one for one, tagged in versions.items() if tagged in before), key=lambda one: one.order, default=None
        )
        return Info(version=pseudo_version(base, module.major, stamp(commit.time), commit_id), time=commit.time)

    # --- what was made before ---------------------------------------------------------------------------------------

    @property
    def _cache(self) -> Path:
        return self._workspace.cached("modules")

    def _key(self, module: Module, version: Version) -> str:
        url = module.repository.url
        of_module = hashlib.sha256(f"{module.path}@{version.text}".encode()).hexdigest()[:24]
        return "-".join([*names(url, credentials_for(url, self.credentials)), of_module])

    def _kept(self, module: Module, version: Version) -> Path | None:
        """Return a zip that was made from the commit that the version means now."""
        commit = version.commit or module.repository.tags().get(module.prefix + version.tag, "none")
        # The commit is part of the name, so a tag that was moved does not get the old zip.
        for path in self._cache.glob(f"{self._key(module, version)}-{commit}*.zip"):
            with module.repository.lock:
                if self._workspace.intact(path):
                    self._workspace.used(path)
                    return path
        return None


@contextlib.contextmanager
def _named(path: str, version: str = "") -> Iterator[None]:
    """Name the module in errors of the block; as new exceptions, because one may be raised many times."""
    what = f"module {path}@{version}" if version else f"module {path}"
    try:
        with full_disk():
            yield
    except (OutOfSpace, OutOfTime):
        raise
    except LambdasmithError as error:
        raise type(error)(f"{what}: {error.message}", hint=error.hint) from error
    except Damaged as error:
        raise SourceUnreachable(f"{what}: what the git server sent is damaged: {error}", hint="try again") from error
