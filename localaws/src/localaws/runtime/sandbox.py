"""Sandboxes for runtimes: bubblewrap, or plain children where the system refuses that."""

from __future__ import annotations

import json
import logging
import os
import queue
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from localaws.runtime.guest import supervise
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.logstream import LogStream
from localaws.runtime.nodes import Node
from localaws.runtime.rootfs import Bind, Language, Roots

__all__ = ["Bwrap", "Guest", "Isolator", "Layout", "Plain", "Sandbox", "probe"]

log = logging.getLogger(__name__)

_GUEST = Path(__file__).parent / "guest"
# Killing takes milliseconds; the rest is for a loaded machine. After that the whole sandbox is closed.
_STOP_S = 5.0
_UID, _GID = 993, 990
# Passed to the runtime alone, not through the sandbox's own two processes: a function's children can read their
# environments.
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Contents of a sandbox."""

    system: Literal["al2", "al2023"]
    language: Language | None
    """Language of the runtime; None for a runtime that the function includes."""
    runtime: Path | None
    """Directory for `/var/runtime`."""
    code: Path
    opt: Path | None
    ephemeral_mb: int
    extra: tuple[Bind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths as the runtime sees them: Lambda's own, or the host's without a sandbox."""

    task: str
    opt: str
    runtime: str
    start: tuple[str, ...]
    """Start of the command of a managed runtime; () for a guest without a language."""
    library_path: str
    path: str
    tmp: str | None
    """Private folder in place of /tmp; None where /tmp itself is private."""
    extra: Mapping[str, str]
    """Path at which the runtime finds each bind target."""


class Isolator(Protocol):
    """Protocol of a way to run guests."""

    kind: Literal["bwrap", "plain"]

    def layout(self, guest: Guest) -> Layout:
        """Return the paths for a new sandbox. Each call belongs to one `open`."""

    def prepare(self, guest: Guest) -> None:
        """Prepare what every sandbox for such a guest needs."""

    def open(self, guest: Guest, layout: Layout, argv: Sequence[str], env: Mapping[str, str]) -> Sandbox:
        """Return a sandbox in which `argv` can be started, with no runtime started yet."""


class Sandbox:
    """Running supervisor that starts and stops one runtime at a time. It ends when closed or when this process ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: int,
        status: int,
        logs: LogStream,
        *,
        kill: bool,
        secrets: tuple[int, bytes],
    ) -> None:
        """`kill`: the supervisor may be killed, which ends all below it; otherwise it is asked to end its children.

        `secrets`: a descriptor, and the lines that each runtime reads from it at its start.
        """
        self.logs = logs
        self.on_exit: Callable[[int, int | None], None] = lambda number, code: None
        """Callback with the number of a start, and the runtime's exit code, or None if the supervisor has ended."""
        self._process = process
        self._control = control
        self._status = status
        self._kill = kill
        self._secrets = secrets
        self._number = 0
        self._stopped = threading.Event()
        self._dead = threading.Event()
        self._closing = threading.Lock()
        self._closed = False
        self._pump = threading.Thread(target=self._run, name="localaws-sandbox", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._dead.is_set()

    def start(self) -> int:
        """Start the runtime; the number tells its exit from that of an earlier one."""
        self._number += 1
        descriptor, lines = self._secrets
        self._send(lines, descriptor)
        self._send(f"start {self._number}\n".encode())
        return self._number

    def stop(self) -> None:
        """End every process of the runtime and wait for it; /tmp stays."""
        # Cleared before the request is sent: afterwards the clear could erase the answer.
        self._stopped.clear()
        self._send(b"stop\n")
        if self.alive and not self._stopped.wait(_STOP_S):
            self.close()

    def close(self) -> None:
        """End everything and wait for it. May be called again."""
        with self._closing:  # held to the end: a second caller waits until everything has ended
            if self._closed:
                return
            self._closed = True
            os.close(self._control)  # at the end of this pipe the plain supervisor cleans up
            os.close(self._secrets[0])
            if self._kill:
                self._process.kill()
            try:
                # Bounded: a process in uninterruptible sleep must not block the server's end.
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._pump.join(_STOP_S)
            self.logs.close()

    def _send(self, lines: bytes, descriptor: int | None = None) -> None:
        with self._closing, suppress(OSError):
            if not self._closed:  # a closed descriptor's number may belong to another file by now
                os.write(self._control if descriptor is None else descriptor, lines)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.logs.descriptor, selectors.EVENT_READ)
            selector.register(self._status, selectors.EVENT_READ)
            pending = b""
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fd == self._status:
                        data = os.read(self._status, 4096)
                        *lines, pending = (pending + data).split(b"\n")
                        for line in lines:
                            self._heard(line.decode())
                        ended = not data
                    else:
                        ended = not self.logs.pump()
                    if ended:
                        selector.unregister(key.fd)
                    if ended and key.fd == self._status:
                        self._end()
        os.close(self._status)

    def _heard(self, line: str) -> None:
        match line.split():
            case ["exit", number, code]:
                self.on_exit(int(number), int(code))
            case ["stopped"]:
                self._stopped.set()

    def _end(self) -> None:
        self._dead.set()
        self._stopped.set()
        self.on_exit(self._number, None)


class Bwrap:
    """Bubblewrap: Lambda's own paths on a read-only root, uid 993, a /tmp of the configured size."""

    kind: Literal["bwrap", "plain"] = "bwrap"

    def __init__(self, program: str, roots: Roots, *, sized_tmp: bool) -> None:
        self._program = program
        self._roots = roots
        self._sized_tmp = sized_tmp

    def prepare(self, guest: Guest) -> None:
        self._roots.get(guest.system, guest.language)

    def layout(self, guest: Guest) -> Layout:
        start: tuple[str, ...] = ()
        match guest.language:
            case Interpreter(version=version):
                start = (f"/var/lang/bin/python{version}", "/var/rapid/bootstrap.py")
            case Node():
                start = ("/var/lang/bin/node",)
        return Layout(
            task="/var/task",
            opt="/opt",
            runtime="/var/runtime",
            start=start,
            library_path=(
                "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
            ),
            path="/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            tmp=None,
            extra={bind.target: bind.target for bind in guest.extra},
        )

    def open(self, guest: Guest, layout: Layout, argv: Sequence[str], env: Mapping[str, str]) -> Sandbox:
        arguments = [*self._mounts(guest), "--chdir", layout.task, "--clearenv"]
        for name, value in env.items():
            if name not in _CREDENTIALS:
                arguments += ["--setenv", name, value]
        # Arguments go through a descriptor: every user of the machine can read argv.
        return _launch(
            lambda control, status, spec, secrets: [
                *(self._program, "--args", spec, "--", "/var/rapid/supervise.sh", control, status, secrets, *argv)
            ],
            "\0".join(arguments).encode(),
            kill=True,
            secrets="".join([*(f"{name}={env[name]}\n" for name in _CREDENTIALS if name in env), "\n"]),
        )

    def _mounts(self, guest: Guest) -> list[str]:
        root = self._roots.get(guest.system, guest.language)
        binds = [
            *root.binds,
            Bind(source=_GUEST, target="/var/rapid"),
            Bind(source=guest.code, target="/var/task"),
            *([Bind(source=guest.runtime, target="/var/runtime")] if guest.runtime else []),
            *([Bind(source=guest.opt, target="/opt")] if guest.opt else []),
            *guest.extra,
        ]
        hidden = [bind for bind in binds if bind.target.startswith("/tmp/")]  # noqa: S108 - by what is mounted there
        size = ["--size", str(guest.ephemeral_mb * 1024 * 1024)] if self._sized_tmp else []
        # Processes of the host cannot be seen or signalled, and no privilege can be gained. The network is the host's:
        # the function must reach the server, and everything that it could reach from Lambda.
        return [
            *("--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid", "--unshare-ipc"),
            *("--unshare-uts", "--unshare-cgroup-try", "--uid", str(_UID), "--gid", str(_GID), "--cap-drop", "ALL"),
            *("--ro-bind", str(root.path), "/"),
            *_words(bind for bind in binds if bind not in hidden),
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", *size, "--tmpfs", "/tmp"),  # noqa: S108
            *_words(hidden),
        ]

    def trial(self) -> str | None:
        """Return why a sandbox does not start here, None if one does."""
        guest = Guest(system="al2023", language=None, runtime=None, code=_GUEST, opt=None, ephemeral_mb=64, extra=())
        try:
            done = subprocess.run(
                [self._program, *self._mounts(guest), "--", "/usr/bin/true"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            return None
        return (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]


class Plain:
    """Plain children: the host's paths and user, a private folder for temporary files."""

    kind: Literal["bwrap", "plain"] = "plain"

    def __init__(self, cache: Path) -> None:
        self._empty = cache / "empty"
        self._temporary = cache / "tmp"
        for folder in (self._empty, self._temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in self._temporary.glob("function-*"):  # left by a server that was killed
            if not Path(f"/proc/{folder.name.split('-')[1]}").exists() and Path("/proc/self").exists():
                supervise.remove(str(folder))

    def prepare(self, guest: Guest) -> None:
        """Do nothing: the host's own files are used."""

    def layout(self, guest: Guest) -> Layout:
        opt, task, runtime = str(guest.opt or self._empty), str(guest.code), str(guest.runtime or self._empty)
        start: tuple[str, ...] = ()
        language_path, language_library = "", ""
        if guest.language:
            start = (str(guest.language.executable),)
            language_path = f"{guest.language.executable.parent}:"
        if isinstance(guest.language, Interpreter):
            # -S: packages of the host's interpreter are not in Lambda's. -B: environments share the code's directory.
            start = (*start, "-S", "-B", str(_GUEST / "bootstrap.py"))
            language_library = f"{guest.language.lib_dir}:"
        return Layout(
            task=task,
            opt=opt,
            runtime=runtime,
            start=start,
            library_path=f"{language_library}{runtime}:{runtime}/lib:{task}:{task}/lib:{opt}/lib",
            path=f"{language_path}/usr/local/bin:/usr/bin:/bin:{opt}/bin",
            tmp=tempfile.mkdtemp(prefix=f"function-{os.getpid()}-", dir=self._temporary),
            extra={bind.target: str(bind.source) for bind in guest.extra},
        )

    def open(self, guest: Guest, layout: Layout, argv: Sequence[str], env: Mapping[str, str]) -> Sandbox:
        what = {"argv": list(argv), "env": dict(env), "cwd": layout.task, "tmp": layout.tmp}
        supervisor = [sys.executable, "-I", "-S", str(_GUEST / "supervise.py")]
        try:
            return _launch(
                lambda control, status, spec, _: [*supervisor, control, status, spec],
                json.dumps(what).encode(),
                kill=False,
            )
        except BaseException:
            supervise.remove(str(layout.tmp))  # without a supervisor nothing else removes it
            raise


def probe(isolation: Literal["auto", "bwrap", "plain"], cache: Path, roots: Roots) -> tuple[Isolator, str | None]:
    """Return the isolator that works here, and the reason if "auto" fell back to plain children.

    Raises OSError when "bwrap" was asked for and does not work.
    """
    if isolation == "plain":
        return Plain(cache), None
    reason = "bubblewrap is not installed (package: bubblewrap)"
    if not sys.platform.startswith("linux"):
        reason = "bubblewrap needs Linux"
    elif program := shutil.which("bwrap"):
        for sized in (True, False):  # bubblewrap before 0.7, or installed setuid, refuses --size
            bwrap = Bwrap(program, roots, sized_tmp=sized)
            trouble = bwrap.trial()
            if trouble is None:
                if not sized:
                    log.warning("this bubblewrap cannot limit the size of /tmp")
                return bwrap, None
            reason = f"bubblewrap does not work here: {trouble.removeprefix('bwrap: ')}"
    if isolation == "bwrap":
        raise OSError(reason)
    return Plain(cache), reason


def _words(binds: Iterable[Bind]) -> list[str]:
    return [word for bind in binds for word in ("--ro-bind", str(bind.source), bind.target)]


def _launch(
    command: Callable[[str, str, str, str], list[str]], spec: bytes, *, kill: bool, secrets: str = ""
) -> Sandbox:
    """Start a supervisor. `command` makes its command line of descriptors for control, status, `spec` and `secrets`."""
    control_read, control_write = os.pipe()
    status_read, status_write = os.pipe()
    log_read, log_write = os.pipe()
    secrets_read, secrets_write = os.pipe()
    with tempfile.TemporaryFile() as stream:
        stream.write(spec)
        stream.seek(0)
        descriptors = (control_read, status_write, stream.fileno(), secrets_read)
        try:
            process = _SPAWNER.spawn(command(*map(str, descriptors)), pass_fds=descriptors, output=log_write)
        except BaseException:
            for descriptor in (control_write, status_read, log_read, secrets_write):
                os.close(descriptor)
            raise
        finally:
            # Our copies of the child's ends: while they are open, the end of the child would not end the pipes.
            for descriptor in (control_read, status_write, log_write, secrets_read):
                os.close(descriptor)
    secret = (secrets_write, secrets.encode())
    return Sandbox(process, control_write, status_read, LogStream(log_read), kill=kill, secrets=secret)


class _Spawner:
    """Thread that starts all children and never ends.

    bubblewrap's --die-with-parent is PR_SET_PDEATHSIG, which fires when the starting *thread* ends: a sandbox started
    by the thread of one request would die with that request.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], tuple[int, ...], int]]
        self._jobs = queue.SimpleQueue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def spawn(self, command: list[str], *, pass_fds: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, with an empty environment."""
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="localaws-spawner", daemon=True)
                self._thread.start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((future, command, pass_fds, output))
        return future.result()

    def _run(self) -> None:
        while True:
            future, command, pass_fds, output = self._jobs.get()
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=pass_fds,
                    env={},
                    start_new_session=True,
                )
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(process)


_SPAWNER = _Spawner()
