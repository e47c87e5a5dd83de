"""The only way to run a child: allow-listed environment, time limit, its last lines kept, all that it started ended."""

from __future__ import annotations

import codecs
import collections
import contextlib
import io
import logging
import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from builder.amounts import seconds
from builder.errors import CommandFailed, OutOfMemory, OutOfSpace, OutOfTime
from builder.network import authorities
from builder.system import descendants
from builder.system.limits import Limits

log = logging.getLogger(__name__)

_TAIL_LINES = 40
# Exit status of an environment that is given up.
_ENDED = 70
# Of each line that a child prints. Far more than is shown: secrets are masked in what is kept, and only then is it cut.
_MAX_LINE = 16_000
_READ_BYTES = 64 << 10
# What a child may inherit: how to reach the network through this machine's proxy; `authorities` adds whose certificates
# it believes. No credentials, no PYTHONPATH (with Lambda's own, pip believes that the runtime's packages are installed
# and leaves them out).
_INHERITED = (
    "PATH",
    "LANG",
    "TZ",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "npm_config_registry",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
_NO_SPACE = re.compile(r"No space left on device|os error 28|ENOSPC")
_NO_MEMORY = re.compile(
    r"cannot allocate memory|out of memory|heap limit|virtual memory exhausted|bad_alloc|^MemoryError|signal: killed",
    re.IGNORECASE,
)


# Children that run now. Held while one is started, too: until it is among them it would be taken for a stray.
_TURN = threading.Lock()
_RUNNING: set[int] = set()
# Set by `adopt`: every process below this one is a child of `run`, or was left behind by one.
_ALL_MINE = threading.Event()
# This process's, as they were before it started a child.
_OWN_LIMITS: list[Limits] = []
# Set when code may have run here that the builder does not vouch for. It is at first: a process before this one may
# have been killed by what it had started.
_FOREIGN_RAN = threading.Event()
_FOREIGN_RAN.set()
_WATCHERS: list[Callable[[], None]] = []


def adopt() -> None:
    """Take charge of every process below this one: only for a process that starts children by `run` alone.

    From here on nothing that a child has started lives longer than the child.

    Raises:
        OSError: the kernel refuses.
    """
    descendants.adopt()
    _OWN_LIMITS.append(Limits.present())
    _ALL_MINE.set()


def end_strays() -> int:
    """End everything below this process that is no running child of `run`; return how many processes that were.

    Raises:
        descendants.StillRunningError: some cannot be ended.
    """
    if not _ALL_MINE.is_set():
        return 0
    with _TURN:
        return descendants.end(_RUNNING)


def _restore_limits() -> None:
    """Undo what a child has done to this process's limits; what cannot be undone ends the environment.

    At once, and not when the next invocation begins, which belongs to someone else.
    """
    if _OWN_LIMITS and not _OWN_LIMITS[0].restore():
        log.error("code that ran here has lowered the builder's own limits: this environment is given up")
        give_up()


def give_up() -> NoReturn:
    """End this process, and with it the environment: Lambda replaces it by a new one."""
    logging.shutdown()
    os._exit(_ENDED)


def foreign_code_ran() -> bool:
    """Whether code that the builder does not vouch for has run in this environment since `forget_foreign_code`."""
    return _FOREIGN_RAN.is_set()


def note_foreign_code() -> None:
    """Note that something was put here that foreign code has made, and the builder cannot vouch for."""
    _FOREIGN_RAN.set()


def forget_foreign_code() -> None:
    """Note that nothing is left of what foreign code could have written."""
    _FOREIGN_RAN.clear()


@contextlib.contextmanager
def before_foreign_code(watcher: Callable[[], None]) -> Iterator[None]:
    """Call `watcher` before each child in the block that runs foreign code."""
    _WATCHERS.append(watcher)
    try:
        yield
    finally:
        _WATCHERS.remove(watcher)


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
    environment |= authorities.for_child(inherited, home)
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
    trusted: bool = False,
) -> Completed:
    """Run `argv` to its end and return its last lines.

    Args:
        environment: all of it; nothing is inherited.
        timeout_s: seconds until the child and everything it started is killed.
        what: what the command is for, as the message names it, for example `preinstall of layer punkt`.
        memory_mb: of data that it and each of its children may have, so that one that wants too much fails by itself
            instead of taking the whole builder with it; None for no limit.
        listen: told of each line that it prints, at once.
        trusted: it runs no code but the builder's own and that of its tools.

    Raises:
        CommandFailed: it ended with an error; `log_tail` has its last lines.
        OutOfTime: it took too long.
        OutOfSpace, OutOfMemory: it failed for want of disk space, or memory.
    """
    if not trusted:
        for watcher in _WATCHERS:
            watcher()
        note_foreign_code()
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
        with _TURN:
            _RUNNING.discard(child.pid)
        end_strays()
        if not trusted:
            _restore_limits()
        reader.join(timeout=2)
        if child.stdout is not None:
            child.stdout.close()
    if code and expired.is_set():
        raise OutOfTime(
            f"{what}: stopped after {seconds(timeout_s)}, before Lambda's time limit",
            hint="raise the builder's timeout (at most 900 s), or its memory, which also gives it more processor time",
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
        with _TURN:
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
            _RUNNING.add(child.pid)
    except OSError as error:
        raise CommandFailed(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
    if memory_mb is not None:
        limit = memory_mb << 20
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            resource.prlimit(child.pid, resource.RLIMIT_DATA, (limit, limit))
    return child


def _drain(stream: IO[str], tail: collections.deque[str], listen: Callable[[str], None] | None) -> None:
    """Keep the last lines of a child, whatever it prints: never more of a line in memory than is kept of it."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    line, length = "", 0
    # Not by lines: one may have gigabytes.
    while data := _read(stream):
        *ended, rest = decoder.decode(data).split("\n")
        for text in ended:
            _keep(line + text[: _MAX_LINE - len(line)], length + len(text), tail, listen)
            line, length = "", 0
        line, length = line + rest[: _MAX_LINE - len(line)], length + len(rest)
    if length:
        _keep(line, length, tail, listen)


def _read(stream: IO[str]) -> bytes:
    try:
        return os.read(stream.fileno(), _READ_BYTES)
    except (OSError, ValueError):  # it was closed: something that the child left holds its other end
        return b""


def _keep(line: str, length: int, tail: collections.deque[str], listen: Callable[[str], None] | None) -> None:
    if length > len(line):
        line += f" … ({length - len(line):,} characters more)"
    tail.append(line)
    if listen is not None and line.strip():
        listen(line)


def _expire(child: subprocess.Popen[str], expired: threading.Event) -> None:
    expired.set()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _end_group(child: subprocess.Popen[str]) -> None:
    """Kill what is left of the child's group: where it did not adopt all of them, the builder knows no others."""
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
