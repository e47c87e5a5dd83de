"""Runs npm: `npm ci` in a directory of its own, with the caches, settings and registry that a build may use.

Options: https://docs.npmjs.com/cli/v11/using-npm/config
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from builder.errors import CommandFailed
from builder.npm import refusals, registry
from builder.npm.lockfile import SETTINGS, Lock
from builder.npm.registry import Registries
from builder.runtimes import Architecture
from builder.system import process
from builder.workshop.kind import Work

# Node.js' names of the two architectures.
CPUS: Mapping[Architecture, str] = {"x86_64": "x64", "arm64": "arm64"}
# Locked packages don't change: no need to ask the registry again about those in the cache.
_QUIET = (
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--no-progress",
    "--loglevel=http",
    "--logs-max=0",
    "--prefer-offline",
    # npm's own patience, 70 seconds, is more than a builder may have.
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-factor=3",
)
# npm's account of a lock has some hundred lines; install scripts may print without end.
_LINES = 2_000
_FETCHED = re.compile(r"npm http (?:fetch|cache) (?:\S+ \d+ )?(?P<url>\S+)")
# Settings of a project's .npmrc that change what is installed and nothing else. No logins, and nothing that names a
# program.
_TAKEN = re.compile(
    r"\s*(?:(?:@[\w.-]+:)?registry\s*=\s*\"?https?://[^@$\s\"]+\"?|(?:legacy|strict)-peer-deps\s*=\s*\w+"
    r"|install-links\s*=\s*\w+|replace-registry-host\s*=\s*[\w.-]+)\s*"
)
# Share of the builder's memory for V8's heap: the rest is for npm's buffers, and for us.
_HEAP = 0.7


def settings(text: str) -> str:
    """Return the part of a project's .npmrc that a build uses."""
    return "".join(f"{line}\n" for line in text.splitlines() if _TAKEN.fullmatch(line))


def registries(work: Work, npmrc: str) -> Registries:
    """Return the sources of packages: the project's .npmrc, else the builder's, else its machine's, else npm's."""
    workshop = work.workshop
    configured = workshop.npm_registry or workshop.environment.get("npm_config_registry", "")
    return Registries.parse(configured).with_npmrc(npmrc)


@dataclass(frozen=True, kw_only=True)
class Npm:
    """npm for one build. `scratch` is an existing directory for its home; `cache` where it keeps its downloads.

    `label`: the component, for messages.
    """

    work: Work
    label: str
    scratch: Path
    cache: Path

    @property
    def node(self) -> Path:
        """Path of Node.js."""
        return self.work.workshop.toolbox.get("node").bins[0] / "node"

    def library(self) -> Path:
        """Return npm's own directory."""
        return self.node.parents[1] / "lib/node_modules/npm"

    def environment(self) -> dict[str, str]:
        """Return the environment of Node.js, and of packages' scripts if they may run."""
        workshop = self.work.workshop
        path = os.pathsep.join(filter(None, [str(self.node.parent), workshop.environment.get("PATH", "")]))
        heap = "" if workshop.memory_mb is None else f"--max-old-space-size={int(workshop.memory_mb * _HEAP)}"
        options = " ".join(filter(None, (workshop.environment.get("NODE_OPTIONS"), heap)))
        return {
            **workshop.environment,
            **({"NODE_OPTIONS": options} if options else {}),
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "PATH": path,
            "npm_config_cache": str(self.cache),
            # Neither the user's settings nor the machine's.
            "npm_config_userconfig": str(self.scratch / "user.npmrc"),
            "npm_config_globalconfig": str(self.scratch / "machine.npmrc"),
            "SOURCE_DATE_EPOCH": str(self.work.commit_time),
            "NO_COLOR": "1",
        }

    def run(
        self, program: Sequence[str], cwd: Path, what: str, *, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """Run Node.js with arguments, or another program; return the lines that it prints, the last of very many.

        Raises:
            CommandFailed, OutOfTime, OutOfMemory, OutOfSpace: `log_tail` has its output, without progress.
        """
        lines: deque[str] = deque(maxlen=_LINES)

        def listen(line: str) -> None:
            if fetched := _FETCHED.match(line):
                self.work.listen(f"fetching {unquote(fetched['url']).rpartition('/')[2]}")
            else:
                lines.append(line)

        try:
            # Node.js reserves far more than it uses, so its heap is limited instead of its memory.
            process.run(
                program,
                cwd=cwd,
                environment=environment or self.environment(),
                timeout_s=self.work.workshop.deadline.check(what),
                what=what,
                listen=listen,
            )
        except CommandFailed as error:
            error.log_tail = tuple(lines)
            raise
        return list(lines)

    def ci(self, folder: Path, lock: Lock, *, options: Sequence[str], scripts: bool) -> None:
        """Run `npm ci` in `folder`, a copy of the lock's directory.

        Raises:
            ResolutionFailed, AuthenticationFailed, SourceUnreachable, CommandFailed: with npm's words.
        """
        # Scripts of dependencies are foreign code, so they run only if the build file asks for it.
        how = ["--no-ignore-scripts", "--foreground-scripts"] if scripts else ["--ignore-scripts", "--no-bin-links"]
        self.work.workshop.progress.say("installing packages with npm")
        settings_file, locked = folder / SETTINGS, folder / lock.file.name
        has_settings = settings_file.is_file()
        npmrc = settings_file.read_text(errors="replace") if has_settings else ""
        with registry.opened(registries(self.work, npmrc), self.work.workshop.indexes) as gateway:
            locked.write_text(gateway.lock(locked.read_text()))
            # Made private before it is written: it may name a registry's address on loopback, with the random word.
            settings_file.touch(mode=0o600)
            settings_file.write_text(gateway.npmrc(npmrc))
            command = [str(self.node), str(self.library() / "bin/npm-cli.js"), "ci", *how, *options, *_QUIET]
            try:
                self.run(
                    command,
                    folder,
                    f"{self.label}: npm ci",
                    environment=gateway.environment(self.environment()),
                )
            except CommandFailed as error:
                if gateway.refusals:
                    raise gateway.refusals[0] from error
                error.log_tail = tuple(map(gateway.real, error.log_tail))
                raise refusals.explained(error, self.label, lock) from error
            finally:
                # Put back even after a failure: the gateway's addresses lead nowhere from now on.
                settings_file.write_text(npmrc)
                if not has_settings:
                    settings_file.unlink()
