"""The only way to run a child: allow-listed environment, time limit, its last lines kept, its whole group ended."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.errors import CommandFailed, OutOfMemory, OutOfSpace, OutOfTime

log = logging.getLogger(__name__)

_TAIL_LINES = 40
# What a child may inherit: how to reach the network through this machine's proxy and trust store. No credentials, no
# PYTHONPATH (with Lambda's own, pip believes that the runtime's packages are installed and leaves them out).
_INHERITED = (
    "PATH",
    "LANG",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "npm_config_registry",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_NO_SPACE = re.compile(r"No space left on device|os error 28|ENOSPC")
_NO_MEMORY = re.compile(
    r"cannot allocate memory|out of memory|heap limit|virtual memory exhausted|^MemoryError|signal: killed",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A child that ended well. `tail` is the last lines of what it printed, both streams in the order of writing."""

    tail: tuple[str, ...]


def base_environment(inherited: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """The allow-listed part of `inherited`, with HOME and TMPDIR below `home`, which must exist."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    # Where rustup's programs look for the compiler; otherwise they would look below the HOME that they are given here.
    toolchains = Path(inherited.get("RUSTUP_HOME") or Path(inherited.get("HOME", "/nonexistent")) / ".rustup")
    if toolchains.is_dir():
        environment["RUSTUP_HOME"] = str(toolchains)
    # Unbuffered, so that Python's last words come after its last output and not before.
    return environment | {"HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    what: str,
    memory_mb: int | None = None,
    listen: Callable[[str], None] | None = None,
) -> Completed:
    """Run `argv` to its end and return its last lines.

    Args:
        environment: all of it; nothing is inherited.
        timeout_s: seconds until the child and everything it started is killed.
        what: what the command is for, as the message names it, for example `preinstall of layer punkt`.
        memory_mb: of data that it and each of its children may have, so that one that wants too much fails by itself
            instead of taking the whole builder with it; None for no limit.
        listen: told of each line that it prints, at once.

    Raises:
        CommandFailed: it ended with an error; `log_tail` has its last lines.
        OutOfTime: it took too long.
        OutOfSpace, OutOfMemory: it failed for want of disk space, or memory.
    """
    child = _started(argv, cwd, environment, what, memory_mb)
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    reader = threading.Thread(target=_drain, args=(child.stdout, tail, listen), daemon=True)
    reader.start()
    # Popen's own way to wait no longer than some time sleeps up to 0.05 s past the child's end.
    expired = threading.Event()
    timer = threading.Timer(max(timeout_s, 0.1), _expire, args=(child, expired))
    timer.daemon = True
    timer.start()
    try:
        code = child.wait()
    finally:
        timer.cancel()
        _end_group(child)
        reader.join(timeout=2)
        if child.stdout is not None:
            child.stdout.close()
    if code and expired.is_set():
        raise OutOfTime(
            f"{what}: stopped after {timeout_s:.0f} s, before Lambda's time limit",
            hint="raise the builder's timeout (at most 900 s), or its memory, which also gives it more processor",
            log_tail=tuple(tail),
        )
    if code:
        _fail(what, argv[0], code, tuple(tail))
    return Completed(tail=tuple(tail))


def _started(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], what: str, memory_mb: int | None
) -> subprocess.Popen[str]:
    log.debug("running %s", argv[0], extra={"fields": {"argv": list(argv), "cwd": str(cwd)}})
    try:
        child = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that the whole group can be ended
        )
    except OSError as error:
        raise CommandFailed(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
    if memory_mb is not None:
        limit = memory_mb << 20
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            resource.prlimit(child.pid, resource.RLIMIT_DATA, (limit, limit))
    return child


def _drain(stream: IO[str], tail: collections.deque[str], listen: Callable[[str], None] | None) -> None:
    for line in stream:
        tail.append(line.rstrip("\n"))
        if listen is not None and line.strip():
            listen(line.rstrip("\n"))


def _expire(child: subprocess.Popen[str], expired: threading.Event) -> None:
    expired.set()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _end_group(child: subprocess.Popen[str]) -> None:
    """Kill what the child left behind; a background process would live on in a warm environment."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    child.wait()


def _fail(what: str, program: str, code: int, tail: tuple[str, ...]) -> None:
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    if any(_NO_SPACE.search(line) for line in tail):
        raise OutOfSpace(
            f"{what}: /tmp is full", hint="raise ephemeral_storage in the builder's configuration", log_tail=tail
        )
    if any(_NO_MEMORY.search(line) for line in tail):
        raise OutOfMemory(
            f"{what}: not enough memory", hint="raise memory in the builder's configuration", log_tail=tail
        )
    raise CommandFailed(f"{what}: {Path(program).name} {ended}", log_tail=tail)
