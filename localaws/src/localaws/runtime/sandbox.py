"""Places where a runtime runs: inside bubblewrap, or as plain children where that is refused."""

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
_STOP_S = 5.0
_UID, _GID = 993, 990
# Handed to the runtime alone, past the sandbox's own two processes: a function's children can read those.
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What is shown to a runtime."""

    system: Literal["al2", "al2023"]
    language: Language | None
    """None for a runtime that the function brings with it."""
    runtime: Path | None
    """`/var/runtime`."""
    code: Path
    opt: Path | None
    ephemeral_mb: int
    extra: tuple[Bind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things are as the runtime sees them: Lambda's own paths, or the host's without a sandbox."""

    task: str
    opt: str
    runtime: str
    start: tuple[str, ...]
    """What begins the command that starts a managed runtime; () for a guest without a language."""
    library_path: str
    path: str
    tmp: str | None
    """The private folder that stands for /tmp; None where /tmp is itself private."""
    extra: Mapping[str, str]
    """Bind target → path at which the runtime finds it."""


class Isolator(Protocol):
    """One way to run a guest."""

    kind: Literal["bwrap", "plain"]

    def layout(self, guest: Guest) -> Layout:
        """Paths for a new sandbox. Each call belongs to one `open`."""

    def prepare(self, guest: Guest) -> None:
        """Make what every sandbox for such a guest needs."""

    def open(self, guest: Guest, layout: Layout, argv: Sequence[str], env: Mapping[str, str]) -> Sandbox:
        """A sandbox in which `argv` can be started, with nothing started yet."""


class Sandbox:
    """A running supervisor that starts and stops one runtime at a time. Ends when closed or when this process does."""

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
        """`kill`: the supervisor may be killed, which ends all below it; otherwise it is asked to end them.

        `secrets`: a descriptor, and what each runtime that is started reads from it.
        """
        self.logs = logs
        self.on_exit: Callable[[int, int | None], None] = lambda number, code: None
        """Called with the number of a start, and the shell's exit code of the runtime or None if all is gone."""
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
        """End every process of the runtime and wait for it; what is in /tmp stays."""
        self._stopped.clear()
        self._send(b"stop\n")
        if self.alive and not self._stopped.wait(_STOP_S):
            self.close()

    def close(self) -> None:
        """End everything and wait for it. May be called again."""
        with self._closing:  # held to the end: whoever comes second waits for the first
            if self._closed:
                return
            self._closed = True
            os.close(self._control)  # the plain supervisor cleans up at this
            os.close(self._secrets[0])
            if self._kill:
                self._process.kill()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._pump.join(_STOP_S)
            self.logs.close()

    def _send(self, lines: bytes, descriptor: int | None = None) -> None:
        with self._closing, suppress(OSError):
            if not self._closed:  # else the number may be another file's by now
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
        # The arguments go over a descriptor: what is in argv, every user of the machine can read.
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
        # No process of the host can be seen or signalled, no privilege can be gained; the network is the host's, as
        # the function has to reach the server and whatever it could reach from Lambda.
        return [
            *("--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid", "--unshare-ipc"),
            *("--unshare-uts", "--unshare-cgroup-try", "--uid", str(_UID), "--gid", str(_GID), "--cap-drop", "ALL"),
            *("--ro-bind", str(root.path), "/"),
            *_words(bind for bind in binds if bind not in hidden),
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", *size, "--tmpfs", "/tmp"),  # noqa: S108
            *_words(hidden),
        ]

    def trial(self) -> str | None:
        """Why a sandbox does not start here, None if one does."""
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
        for folder in self._temporary.glob("function-*"):  # of a server that was killed
            if not Path(f"/proc/{folder.name.split('-')[1]}").exists() and Path("/proc/self").exists():
                supervise.remove(str(folder))

    def prepare(self, guest: Guest) -> None:
        """Nothing: the host's own files are used."""

    def layout(self, guest: Guest) -> Layout:
        opt, task, runtime = str(guest.opt or self._empty), str(guest.code), str(guest.runtime or self._empty)
        start: tuple[str, ...] = ()
        language_path, language_library = "", ""
        if guest.language:
            start = (str(guest.language.executable),)
            language_path = f"{guest.language.executable.parent}:"
        if isinstance(guest.language, Interpreter):
            # -S: what is installed into the host's interpreter is not in Lambda's. -B: the code is shared.
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
            supervise.remove(str(layout.tmp))  # nobody else will
            raise


def probe(isolation: Literal["auto", "bwrap", "plain"], cache: Path, roots: Roots) -> tuple[Isolator, str | None]:
    """The way to run guests here, and why it is a plain one although "auto" would have liked another.

    Raises OSError when "bwrap" was asked for and does not work.
    """
    if isolation == "plain":
        return Plain(cache), None
    reason = "bubblewrap is not installed (package: bubblewrap)"
    if not sys.platform.startswith("linux"):
        reason = "bubblewrap needs Linux"
    elif program := shutil.which("bwrap"):
        for sized in (True, False):  # before 0.7, or installed setuid, it refuses --size
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
    """Start a supervisor: `command` makes it of descriptors for control, status, reading `spec`, and for `secrets`."""
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
            for descriptor in (control_read, status_write, log_write, secrets_read):
                os.close(descriptor)
    secret = (secrets_write, secrets.encode())
    return Sandbox(process, control_write, status_read, LogStream(log_read), kill=kill, secrets=secret)


class _Spawner:
    """Starts all children from one thread that never ends.

    bubblewrap's --die-with-parent is PR_SET_PDEATHSIG, which fires when the starting *thread* ends: a sandbox started
    by the thread of one request would die with that request.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], tuple[int, ...], int]]
        self._jobs = queue.SimpleQueue()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def spawn(self, command: list[str], *, pass_fds: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
        """A child in a session of its own, with an empty environment."""
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
