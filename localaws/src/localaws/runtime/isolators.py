"""Ways to run a guest: bubblewrap, or plain children where the system refuses that."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from localaws.runtime.guest import supervise
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.launch import launch
from localaws.runtime.nodes import Node
from localaws.runtime.rootfs import Bind, Roots
from localaws.runtime.sandbox import Guest, Isolator, Layout, Sandbox

__all__ = ["Bwrap", "Plain", "probe"]

log = logging.getLogger(__name__)

_GUEST = Path(__file__).parent / "guest"
_UID, _GID = 993, 990
# Passed to the runtime alone, not through the sandbox's own two processes: a function's children can read their
# environments.
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


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
        # Credentials come later, on a descriptor: see `_CREDENTIALS`.
        for name, value in env.items():
            if name not in _CREDENTIALS:
                arguments += ["--setenv", name, value]
        # Arguments go through a descriptor: every user of the machine can read argv.
        return launch(
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
            return launch(
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
