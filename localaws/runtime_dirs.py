"""What AWS lays into a runtime by itself: `/var/runtime`, and the emulator's binary. Installed at first use."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from localaws.images import RuntimeUnavailable
from localaws.interpreters import Interpreter
from localaws.trees import atomic_directory

__all__ = ["RuntimeDirs"]

_HERE = Path(__file__).parent
_RUNTIME_LOCK = _HERE / "runtime.lock"
_RIE_LOCK = _HERE / "rie.lock"
_TIMEOUT_S = 300
_ERROR_LINES = 12


class RuntimeDirs:
    """Directories below a cache, each made once from a hash-locked file. Thread-safe."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    def runtime(self, interpreter: Interpreter) -> Path:
        """`/var/runtime` for this interpreter: AWS's runtime client and an SDK as old as the real runtime's."""
        key = _key(_RUNTIME_LOCK, interpreter.full_version)
        target = self._cache / "runtime" / f"python{interpreter.version}-{key}"
        with self._locks[target]:
            if not target.is_dir():
                with atomic_directory(target) as work:
                    _install(_RUNTIME_LOCK, interpreter.executable, work)
        return target

    def emulator(self) -> Path:
        """The Runtime Interface Emulator's binary for this machine."""
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
        if machine is None or sys.platform != "linux":
            raise RuntimeUnavailable(f"the emulator exists for Linux on x86_64 and arm64, not {platform.machine()}")
        target = self._cache / "rie" / _key(_RIE_LOCK, machine)
        with self._locks[target]:
            if not target.is_dir():
                with atomic_directory(target) as work:
                    _install(_RIE_LOCK, Path(sys.executable), work / "whole")
                    found = work / "whole" / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{machine}"
                    shutil.move(found, work / "aws-lambda-rie")
                    (work / "aws-lambda-rie").chmod(0o755)
                    shutil.rmtree(work / "whole")
        return target / "aws-lambda-rie"


def _key(lock: Path, *more: str) -> str:
    return hashlib.sha256("\n".join((lock.read_text(), *more)).encode()).hexdigest()[:16]


def _install(lock: Path, python: Path, target: Path) -> None:
    """Install `lock` for `python` into `target`. Raises RuntimeUnavailable with the installer's last lines."""
    common = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(target)]
    command: Sequence[str]
    if uv := shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv"):
        command = [uv, "pip", "install", *common, "--python", str(python), "--compile-bytecode", "-r", str(lock)]
    else:
        command = [str(python), "-m", "pip", "install", *common, "-r", str(lock)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailable(f"could not install {lock.name}: {error}") from error
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_ERROR_LINES:])
        raise RuntimeUnavailable(f"could not install {lock.name} for {python}:\n{tail}")
