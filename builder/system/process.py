"""The only way to run a child: allow-listed environment, time limit, last lines kept, all its processes ended."""

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

# About a screen: more would push a message out of Lambda's last 4 KB of log.
_TAIL_LINES = 40
# Exit status of an environment that gives up.
_ENDED = 70
# Of each line that a child prints. Far more than is shown, because secrets are masked first and the text is cut
# afterwards: the other way round, half a secret could be left that is not recognized.
_MAX_LINE = 16_000
# The size of a pipe: what the child has written arrives in one read.
_READ_BYTES = 64 << 10
# Variables that a child may inherit: how to reach the network through this machine's proxy; `authorities` adds the
# trusted certificates. No credentials, no PYTHONPATH (with Lambda's own, pip believes that the runtime's packages are
# installed and leaves them out).
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


# Children that run now. The lock is held while one is started: before it is in the set it would count as a stray.
_TURN = threading.Lock()
_RUNNING: set[int] = set()
# Set by `adopt`: every process below this one is a child of `run`, or was left behind by one.
_ALL_MINE = threading.Event()
# Limits of this process before it started a child.
_OWN_LIMITS: list[Limits] = []
# Set when code may have run here that the builder does not vouch for. Set from the beginning, because a process before
# this one may have been killed by its own children.
_FOREIGN_RAN = threading.Event()
_FOREIGN_RAN.set()
_WATCHERS: list[Callable[[], None]] = []


def adopt() -> None:
    """Take charge of every process below this one: only for a process that starts all children with `run`.

    From here on nothing that a child starts lives longer than the child.

    Raises:
        OSError: the kernel refuses.
    """
    descendants.adopt()
    # Before the first child, which could already have changed them.
    _OWN_LIMITS.append(Limits.present())
    _ALL_MINE.set()


def end_strays() -> int:
    """End everything below this process except running children of `run`; return how many processes that were.

    Raises:
        descendants.StillRunningError: some cannot be ended.
    """
    if not _ALL_MINE.is_set():
        return 0
    with _TURN:
        return descendants.end(_RUNNING)


def _restore_limits() -> None:
    """Undo what a child has done to this process's limits; if that fails, end the environment.

    At once, and not when the next invocation begins, which belongs to someone else.
    """
    if _OWN_LIMITS and not _OWN_LIMITS[0].restore():
        log.error("code that ran here has lowered the builder's own limits: this environment is given up")
        give_up()


def give_up() -> NoReturn:
    """End this process, and with it the environment: Lambda replaces it with a new one."""
    logging.shutdown()
    # Not sys.exit, which runs handlers and waits for threads: what could not be ended would run meanwhile.
    os._exit(_ENDED)


def foreign_code_ran() -> bool:
    """Tell whether code that the builder does not vouch for has run here since `forget_foreign_code`."""
    return _FOREIGN_RAN.is_set()


def note_foreign_code() -> None:
    """Note that foreign code has made something here that the builder cannot vouch for."""
    _FOREIGN_RAN.set()


def forget_foreign_code() -> None:
    """Note that nothing is left that foreign code could have written."""
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
    """A child that succeeded. `tail` has the last lines of its output, both streams in the order of writing."""

    tail: tuple[str, ...]


def base_environment(inherited: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """Return the allow-listed part of `inherited`, with HOME and TMPDIR at `home`, which must exist."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    # Where rustup's programs find the compiler; otherwise they would look below the HOME that they get here.
    toolchains = Path(inherited.get("RUSTUP_HOME") or Path(inherited.get("HOME", "/nonexistent")) / ".rustup")
    if toolchains.is_dir():
        environment["RUSTUP_HOME"] = str(toolchains)
    # Unbuffered, so that Python's last output precedes its traceback.
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
        environment: all variables; nothing is inherited.
        timeout_s: seconds until the child and everything it started is killed.
        what: the command's purpose for messages, for example `preinstall of layer punkt`.
        memory_mb: data that it and each of its children may have, so that one that wants too much fails by itself
            instead of taking the whole builder with it; None for no limit.
        listen: called with each line of output at once.
        trusted: it runs only the code of the builder and of its tools.

    Raises:
        CommandFailed: it ended with an error; `log_tail` has its last lines.
        OutOfTime: it took too long.
        OutOfSpace, OutOfMemory: it failed for want of disk space or memory.
    """
    if not trusted:
        # Before the child starts: once it runs it can change what a watcher would look at.
        for watcher in _WATCHERS:
            watcher()
        note_foreign_code()
    child = _Child(_started(argv, cwd, environment, what, memory_mb), timeout_s, listen)
    try:
        code = child.wait()
    finally:
        child.end(trusted=trusted)
    tail = tuple(child.tail)
    if code and child.expired.is_set():
        raise OutOfTime(
            f"{what}: stopped after {seconds(timeout_s)}, before Lambda's time limit",
            hint="raise the builder's timeout (at most 900 s), or its memory, which also gives it more processor time",
            log_tail=tail,
        )
    if code:
        _fail(what, argv[0], code, tail)
    return Completed(tail=tail)


class _Child:
    """A running child: a thread that keeps the last lines of its output in `tail`, and a timer that kills it."""

    def __init__(self, process: subprocess.Popen[str], timeout_s: float, listen: Callable[[str], None] | None) -> None:
        self._process = process
        self.tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._reader = threading.Thread(target=_drain, args=(process.stdout, self.tail, listen), daemon=True)
        self._reader.start()
        self.expired = threading.Event()
        # Not Popen.wait(timeout), which polls and returns up to 0.05 s after the child's end.
        self._timer = threading.Timer(max(timeout_s, 0.1), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def wait(self) -> int:
        return self._process.wait()

    def end(self, *, trusted: bool) -> None:
        """End what is left of the child, and everything that it started."""
        self._timer.cancel()
        # The order matters: kill the group first, so that nothing in it forks; then forget the child, so that its
        # descendants count as strays; then end those. Limits come last, when no one is left to change them again.
        self._end_group()
        with _TURN:
            _RUNNING.discard(self._process.pid)
        end_strays()
        if not trusted:
            _restore_limits()
        # Bounded: a process that got away may still hold the pipe open.
        self._reader.join(timeout=2)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _expire(self) -> None:
        # Set before the kill: `run` must see why the child ended when its wait returns.
        self.expired.set()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _end_group(self) -> None:
        """Kill what is left of the child's group; unless `adopt` was called, no other descendants are known."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        # The child itself may have been killed just now.
        self._process.wait()


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
                # A command that asks a question gets an end of file instead of waiting for the time limit.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # One pipe for both, which keeps the order in which the lines were written.
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a group of its own, which can be killed as a whole
            )
            _RUNNING.add(child.pid)
    except OSError as error:
        raise CommandFailed(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
    if memory_mb is not None:
        limit = memory_mb << 20
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            # After the start, since preexec_fn is not safe with threads; a child allocates nothing to speak of before
            # that.
            resource.prlimit(child.pid, resource.RLIMIT_DATA, (limit, limit))
    return child


def _drain(stream: IO[str], tail: collections.deque[str], listen: Callable[[str], None] | None) -> None:
    """Keep the last lines of a child; never more of a line in memory than is kept of it."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    line, length = "", 0
    # By pieces, because a line may have gigabytes.
    while data := _read(stream):
        *ended, rest = decoder.decode(data).split("\n")
        # A line is handed on when it ends, so that a listener never sees half of one.
        for text in ended:
            _keep(line + text[: _MAX_LINE - len(line)], length + len(text), tail, listen)
            line, length = "", 0
        line, length = line + rest[: _MAX_LINE - len(line)], length + len(rest)
    if length:
        _keep(line, length, tail, listen)


def _read(stream: IO[str]) -> bytes:
    try:
        return os.read(stream.fileno(), _READ_BYTES)
    except (OSError, ValueError):  # closed by `run`: a process that the child left behind holds the other end
        return b""


def _keep(line: str, length: int, tail: collections.deque[str], listen: Callable[[str], None] | None) -> None:
    if length > len(line):
        line += f" … ({length - len(line):,} characters more)"
    tail.append(line)
    if listen is not None and line.strip():
        listen(line)


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
