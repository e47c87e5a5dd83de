"""npm itself: `npm ci` in a directory of its own, with the caches, settings and registry that a build may use.

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

# What Node.js calls the two architectures.
CPUS: Mapping[Architecture, str] = {"x86_64": "x64", "arm64": "arm64"}
# What is locked does not change: there is no need to ask the registry again about packages that the cache knows.
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
# What npm says of a lock has some hundred lines; install scripts may print for as long as they like.
_LINES = 2_000
_FETCHED = re.compile(r"npm http (?:fetch|cache) (?:\S+ \d+ )?(?P<url>\S+)")
# Settings of a project's .npmrc that change what is installed and nothing else. Logins are not among them, nor is
# anything that names a program.
_TAKEN = re.compile(
    r"\s*(?:(?:@[\w.-]+:)?registry\s*=\s*\"?https?://[^@$\s\"]+\"?|(?:legacy|strict)-peer-deps\s*=\s*\w+"
    r"|install-links\s*=\s*\w+|replace-registry-host\s*=\s*[\w.-]+)\s*"
)
# Of the builder's memory, what V8's heap may take: the rest is npm's buffers, and ours.
_HEAP = 0.7


def settings(text: str) -> str:
    """What a build takes of a project's .npmrc."""
    return "".join(f"{line}\n" for line in text.splitlines() if _TAKEN.fullmatch(line))


def registries(work: Work, npmrc: str) -> Registries:
    """Where packages come from: what the project's .npmrc says, else the builder, else its machine, else npm."""
    shop = work.shop
    configured = shop.npm_registry or shop.environment.get("npm_config_registry", "")
    return Registries.parse(configured).with_npmrc(npmrc)


@dataclass(frozen=True, kw_only=True)
class Npm:
    """npm for one build. `scratch` is an existing directory for its home; `cache` where it keeps what it fetched.

    `label`: whose packages they are, for messages.
    """

    work: Work
    label: str
    scratch: Path
    cache: Path

    @property
    def node(self) -> Path:
        """Node.js."""
        return self.work.shop.toolbox.get("node").bins[0] / "node"

    def library(self) -> Path:
        """npm's own directory."""
        return self.node.parents[1] / "lib/node_modules/npm"

    def environment(self) -> dict[str, str]:
        """What Node.js gets, and scripts of packages where they may run."""
        shop = self.work.shop
        path = os.pathsep.join(filter(None, [str(self.node.parent), shop.environment.get("PATH", "")]))
        heap = "" if shop.memory_mb is None else f"--max-old-space-size={int(shop.memory_mb * _HEAP)}"
        options = " ".join(filter(None, (shop.environment.get("NODE_OPTIONS"), heap)))
        return {
            **shop.environment,
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
        """Run Node.js with arguments, or another program; the lines that it prints, of very many the last.

        Raises:
            CommandFailed, OutOfTime, OutOfMemory, OutOfSpace: `log_tail` has all that it said, without progress.
        """
        lines: deque[str] = deque(maxlen=_LINES)

        def listen(line: str) -> None:
            if fetched := _FETCHED.match(line):
                self.work.listen(f"fetching {unquote(fetched['url']).rpartition('/')[2]}")
            else:
                lines.append(line)

        try:
            # Node.js reserves far more than it uses, so the limit of its memory is that of its heap.
            process.run(
                program,
                cwd=cwd,
                environment=environment or self.environment(),
                timeout_s=self.work.shop.deadline.check(what),
                what=what,
                listen=listen,
            )
        except CommandFailed as error:
            error.log_tail = tuple(lines)
            raise
        return list(lines)

    def ci(self, folder: Path, lock: Lock, *, options: Sequence[str], scripts: bool) -> None:
        """`npm ci` in `folder`, which has what the lock's directory has.

        Raises:
            ResolutionFailed, AuthenticationFailed, SourceUnreachable, CommandFailed: with npm's words.
        """
        how = ["--no-ignore-scripts", "--foreground-scripts"] if scripts else ["--ignore-scripts", "--no-bin-links"]
        self.work.shop.progress.say("installing packages with npm")
        settings_file, locked = folder / SETTINGS, folder / lock.file.name
        has_settings = settings_file.is_file()
        npmrc = settings_file.read_text(errors="replace") if has_settings else ""
        with registry.opened(registries(self.work, npmrc), self.work.shop.indexes) as gateway:
            locked.write_text(gateway.lock(locked.read_text()))
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
                settings_file.write_text(npmrc)
                if not has_settings:
                    settings_file.unlink()
