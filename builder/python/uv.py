"""uv as our resolver: its command line, settings and results."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from builder.errors import CommandFailed, ResolutionFailed
from builder.python import gateway, refusals
from builder.python.inputs import Inputs, LockFile
from builder.python.pylock import Commits, Document, Locked, Place, parsed
from builder.python.requirements import Requirement, normalised_name, parse_line
from builder.python.resolver import Resolver, default_index, indexes, is_own, uv_binary
from builder.runtimes import Target
from builder.system import process

if TYPE_CHECKING:
    from builder.python.gateway import Gateway

# Cache lifetime of the public index's responses, by its own headers. Mirrors and proxies often drop those headers, and
# uv then requests every page and every wheel's metadata again.
_KEPT_LONGER = 'cache-control = { api = "max-age=600", files = "max-age=365000000, immutable" }'
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
# Each round allows one more distribution to be built from source; a project that needs more has another problem.
_MAX_FROM_SOURCE = 20
_OF_OTHERS = re.compile(
    r"Failed to (?:download and build|fetch|build|resolve)[^`]*"
    r"`(?P<requirement>(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])? @ git\+[^`]+)`"
)


def exported(lock: LockFile, by: Resolver) -> Document:
    """Convert a uv.lock by uv's own export, which resolves nothing; the project itself is left out."""
    output = by.scratch / "pylock.toml"
    command = [uv_binary(by.environment.get("PATH", "")), "export", "--quiet", "--frozen", "--format", "pylock.toml"]
    command += ["--output-file", str(output), "--no-header", "--no-config", "--no-emit-project", "--no-default-groups"]
    command += ["--python", sys.executable]
    command += [part for extra in lock.extras for part in ("--extra", extra)]
    command += ["--only-group", lock.group] if lock.group else []
    try:
        process.run(
            command,
            cwd=(by.root / lock.path).parent,
            environment=by.environment,
            timeout_s=by.timeout_s,
            what=f"reading {lock.path}",
            trusted=True,  # a frozen export builds nothing
        )
    except CommandFailed as error:
        raise ResolutionFailed(
            f"{lock.path} cannot be read", hint="run `uv lock` and commit the result", log_tail=error.log_tail
        ) from error
    return parsed(output.read_text(), lock.path)


@dataclass(frozen=True, kw_only=True)
class _Commit:
    """Git dependency that was fetched."""

    url: str
    commit: str
    ref: str
    subdirectory: str


@dataclass
class Compilation:
    """One run of `uv pip compile`, repeated if something must be built from source."""

    inputs: Inputs
    target: Target
    by: Resolver
    commits: dict[str, _Commit] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    from_source: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)

    def document(self) -> Document:
        """Return the lock that uv writes, with git dependencies in their own form.

        By default only wheels are used, so that no foreign code runs. A distribution without one is built: uv then asks
        its build backend for metadata, in a child without credentials.
        """
        with gateway.opened(self.by.indexes, self.by.scratch) as indexes:
            return self._document(indexes)

    def _document(self, indexes: Gateway) -> Document:
        requirements = [self._line(requirement) for requirement in self.inputs.requirements]
        (self.by.scratch / "requirements.in").write_text("\n".join([*requirements, ""]))
        constraints = [_by_name(requirement) for requirement in self.inputs.constraints]
        (self.by.scratch / "constraints.in").write_text("\n".join([*constraints, ""]))
        refresh, may_be_old = self.by.refresh, not self.by.refresh and self._has_answers()
        while len(self.from_source) + len(self.others) < _MAX_FROM_SOURCE:
            try:
                return self._run(indexes, refresh=refresh)
            except CommandFailed as error:
                error.log_tail = tuple(map(indexes.real, error.log_tail))
                # First: after a refused login uv reports a missing distribution, which would mislead.
                refusals.of_login(indexes, self.inputs)
                # Each round fetches another dependency, so this ends; the limit of the loop holds for it as well.
                if self._fetch_other(error):
                    continue

                # The wanted version may be younger than the cached response: try once more without the cache.
                # Only once: a second failure is not the cache's, and every attempt costs a whole resolution.
                refresh, may_be_old = may_be_old and not refusals.is_of_the_network(error), False
                if refresh:
                    continue
                name = self._may_be_built(error)
                if name is None:
                    raise refusals.Failure(error, self.inputs, self.target, self.by).explained() from error
                self.from_source.append(name)
        names = ", ".join([*self.from_source, *self.others])
        raise ResolutionFailed(f"more than {_MAX_FROM_SOURCE} requirements have no wheels: {names}")

    def _run(self, indexes: Gateway, *, refresh: bool) -> Document:
        scratch, options = self.by.scratch, self.inputs.options
        output = scratch / "pylock.toml"
        major, minor = self.target.runtime.python or (3, 13)
        command = [uv_binary(self.by.environment.get("PATH", "")), "pip", "compile", "requirements.in", "--quiet"]
        (scratch / "others.in").write_text("\n".join([*self.others.values(), ""]))
        command += [
            "--constraints",
            "constraints.in",
            "--override",
            "others.in",
            "--format",
            "pylock.toml",
            "--output-file",
            str(output),
        ]
        command += ["--python-version", f"{major}.{minor}", "--python-platform", _uv_platform(self.target)]
        command += ["--no-header", "--no-annotate", "--python", sys.executable]
        # Created with its mode before anything is in it: the URLs of indexes may contain logins.
        (scratch / "uv.toml").touch(mode=0o600)
        (scratch / "uv.toml").write_text(self._settings(indexes))
        command += ["--config-file", "uv.toml"]
        # Only if needed: it requests every page and every wheel's metadata again.
        command += ["--refresh"] if refresh else []
        if ":all:" not in options.no_binary:
            command += ["--only-binary", ":all:"]
        for name in (*options.no_binary, *self.from_source):
            command += ["--no-binary", name]
        command += ["--prerelease", "allow"] if options.prereleases else []
        command += ["--no-index"] if options.no_index else []
        command += ["--no-deps"] if self.inputs.exact else []
        environment = indexes.environment(self.by.environment)
        process.run(
            command,
            cwd=scratch,
            # A variable would override the file, and uv's children would inherit it.
            environment={
                **{name: value for name, value in environment.items() if name not in _INDEX_VARIABLES},
                **self.versions,
            },
            timeout_s=self.by.timeout_s - (time.monotonic() - self.started),
            what="resolving dependencies",
            trusted=self._builds_nothing,
        )
        document = parsed(indexes.real(output.read_text()))
        for package in document.get("packages", []):
            self._name_commit(package)
            self._name_original(package)
            _name_paths(package)
        return document

    @property
    def _builds_nothing(self) -> bool:
        """Whether uv only reads metadata of wheels: for a directory or an sdist it runs the build backend."""
        from_index = all(requirement.kind == "index" for requirement in self.inputs.requirements)
        return from_index and not (self.from_source or self.others or self.inputs.options.no_binary)

    def _settings(self, at: Gateway) -> str:
        """Return the indexes as uv's settings file: every user of the machine can read a command line.

        They are in our order: uv itself would put --index-url after --extra-index-url.
        """
        *before, last = [at.address(url) for url in indexes(self.inputs, self.by)] or [""]
        tables = [[f"url = {json.dumps(url)}"] for url in before]
        if last:
            more = [_KEPT_LONGER] if self.asks_public_index() else []
            tables.append([f"url = {json.dumps(last)}", "default = true", *more])
        places = [
            at.address(place) if "://" in place else str((self.by.root / place).resolve())
            for place in self.inputs.options.find_links
        ]
        links = [f"find-links = {json.dumps(places)}"] if places else []
        return "\n".join([*links, *(line for table in tables for line in ("[[index]]", *table)), ""])

    def _has_answers(self) -> bool:
        """Return whether uv may have cached responses of an earlier resolution."""
        return any(Path(self.by.environment["UV_CACHE_DIR"]).glob("simple-*"))

    def asks_public_index(self) -> bool:
        """Return whether the public index is the default, because no other is named."""
        named = (self.inputs.options.index_url, *map(self.by.environment.get, _INDEX_VARIABLES))
        return not any(named) and bool(default_index(self.by))

    def _name_commit(self, package: Locked) -> None:
        """Put the repository in the place of the directory into which its commit was fetched."""
        directory = package.get("directory", {})
        place = str((self.by.scratch / str(directory.get("path", ""))).resolve()) if directory else ""
        if place not in self.commits:
            return
        commit = self.commits[place]
        vcs: Commits = {"type": "git", "url": commit.url, "requested-revision": commit.ref, "commit-id": commit.commit}
        if commit.subdirectory:
            vcs["subdirectory"] = commit.subdirectory
        del package["directory"]
        package["vcs"] = vcs

    def _line(self, requirement: Requirement) -> str:
        """Return a requirement as a line for uv."""
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        if requirement.kind == "index":
            return _by_name(requirement)
        if requirement.kind == "url":
            below = f"#subdirectory={requirement.subdirectory}" if requirement.subdirectory else ""
            name = f"{requirement.name}{requirement.extras} @ " if requirement.name else ""
            return f"{name}{requirement.place}{below}{marker}"
        if requirement.kind == "git":
            place = self._fetched(requirement)
        else:
            place = (self.by.root / requirement.place / requirement.subdirectory).resolve()
            place = place if place.is_file() else self._copied(place)
        if place.is_file():
            return (
                f"{requirement.name}{requirement.extras} @ {place.as_uri()}{marker}"
                if requirement.name
                else (f"{place.as_uri()}{marker}")
            )
        # As editable, uv reads a directory's metadata although all other builds are switched off.
        return f"-e {place.as_uri()}{requirement.extras}{marker}"

    @property
    def _repository(self) -> Path:
        return (self.by.repository or self.by.root).resolve()

    def _copied(self, place: Path) -> Path:
        """Return a directory within a copy of the repository: a build backend may write beside it."""
        copy = self.by.scratch / "repository"
        if not copy.exists():
            shutil.copytree(self._repository, copy, symlinks=True)
        return copy / place.relative_to(self._repository)

    def _name_original(self, package: Locked) -> None:
        """Put the project's own directory in the place of its copy."""
        directory = package.get("directory", {})
        place, copy = (self.by.scratch / str(directory.get("path", ""))).resolve(), self.by.scratch / "repository"
        if directory and place.is_relative_to(copy):
            directory["path"] = str(self._repository / place.relative_to(copy))

    def _fetched(self, requirement: Requirement) -> Path:
        """Return the directory of a git dependency, at its commit."""
        from builder.sources import git

        credentials = self.by.credentials()
        network = self.by.network
        resolved = git.resolve(requirement.place, requirement.ref or None, credentials=credentials, network=network)
        into = self.by.scratch / f"git-{len(self.commits)}"
        git.fetch(resolved, into, credentials=credentials, network=network)
        place = (into / requirement.subdirectory).resolve()
        if not any((place / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise ResolutionFailed(
                f"{requirement.origin}: {requirement.place} at {resolved.commit[:12]} has neither pyproject.toml nor "
                f"setup.py in {requirement.subdirectory or 'its root'}",
                hint="add #subdirectory=DIR",
            )
        self.versions |= version_without_history(requirement.name, requirement.ref, resolved.commit)
        self.commits[str(place)] = _Commit(
            url=requirement.place,
            commit=resolved.commit,
            ref=requirement.ref or resolved.ref,
            subdirectory=requirement.subdirectory,
        )
        return place

    def _fetch_other(self, error: CommandFailed) -> bool:
        """Fetch a dependency's own git dependency at which uv stopped, as uv would need git.

        Return whether it did.
        """
        match = _OF_OTHERS.search(" ".join(error.log_tail))
        if match is None or normalised_name(match["name"]) in self.others:
            return False
        parent = ", ".join(self.inputs.names)
        requirement = parse_line(match["requirement"], f"{parent}: a dependency of what it names")
        if not isinstance(requirement, Requirement) or requirement.kind != "git":
            return False
        self.others[requirement.name] = self._line(requirement)
        return True

    def _may_be_built(self, error: CommandFailed) -> str | None:
        """Return the distribution without wheels at which uv stopped, if it is worth trying to build it."""
        name = refusals.without_wheels(error)
        if name is None:
            return None
        only_binary = self.inputs.options.only_binary
        if name in self.from_source or ":all:" in only_binary or name in only_binary:
            return None
        if self._is_better_not(name):
            return None
        return name

    def _is_better_not(self, name: str) -> bool:
        """Return whether a project has no source, or surely must be compiled and either cannot be here, or need not be.

        It surely must if it publishes compiled wheels for others; it need not if another version has a wheel that fits.
        --no-binary overrides this.
        """
        from builder.python.offered import look_up

        offer = look_up(name, indexes(self.inputs, self.by), self.by.indexes)
        if offer is None:
            return False
        if not offer.sdists:
            return True
        names = (filename for version in offer.versions[:1] for filename in offer.wheels.get(version, ()))
        compiled = any(not filename.endswith("-any.whl") for filename in names)
        return compiled and (not is_own(self.target) or bool(offer.fitting(self.target)))


def _name_paths(package: Locked) -> None:
    """Name files of the project, for which uv gives a URL where they come from --find-links, by their paths."""
    places: list[Place] = [package.get("sdist", {}), *package.get("wheels", [])]
    for file in places:
        url = urlsplit(str(file.get("url", "")))
        if url.scheme == "file":
            del file["url"]
            file["path"] = unquote(url.path)


def version_without_history(name: str, ref: str, commit: str) -> dict[str, str]:
    """Return variables with the version for projects that read it from git's history, which one commit does not have.

    The version is the tag's if `ref` looks like one, else 0 with the commit.
    """
    if not name:
        return {}
    tag = re.fullmatch(r"(?:refs/tags/)?v?(\d+(?:\.\d+)+(?:(?:a|b|rc|\.post)\d+)?)", ref)
    variable = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{re.sub(r'[-_.]+', '_', name).upper()}"
    return {variable: tag[1] if tag else f"0+g{commit[:12]}"}


def _by_name(requirement: Requirement) -> str:
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{requirement.extras}{requirement.specifier}{marker}"


def _uv_platform(target: Target) -> str:
    # uv does not know 2_26 or 2_27, so wheels for Amazon Linux 2 must be requested as 2_17.
    glibc = "2_34" if target.runtime.glibc >= (2, 34) else "2_17"
    return f"{target.machine}-manylinux_{glibc}"
