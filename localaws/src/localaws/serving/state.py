"""The account across restarts: moto's backends, pickled service by service into the state directory.

Each service is a file of its own, written beside and renamed, so that an interruption leaves the older state and a
service that cannot be pickled costs only itself. Large contents (S3 objects) are files named by their hash. Pickles
run code when loaded: a state directory is only ever as trustworthy as whoever can write to it.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import marshal
import os
import pickle
import shutil
import threading
import time
import types
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localaws import whole
from localaws.serving.gate import TOKEN_FILE

log = logging.getLogger(__name__)

FORMAT = "2"  # of the files; others are left alone and not read
ACCOUNT, BLOBS = "account", "blobs"  # directories
_BLOB_BYTES = 64 * 1024
_INTERVAL_S = 1.0
_LOCKS: dict[type, Callable[[], Any]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.Condition: threading.Condition,
    threading.Event: threading.Event,
}
# Rebuilt at every start, or of no use after it.
_NOT_KEPT = frozenset({"moto_api", "instance_metadata"})


def load(directory: Path) -> None:
    """Put what a state directory keeps into moto's backends. Has to happen before the first request."""
    from moto.backends import get_backend

    for file in sorted((directory / ACCOUNT).glob(f"*.{FORMAT}.pickle")):
        service = file.name.split(".")[0]
        try:
            kept = _Unpickler(io.BytesIO(file.read_bytes()), directory / BLOBS).load()
            backends: Any = get_backend(service)  # type: ignore[call-overload]
            for (account, region), backend in kept.items():
                backends[account][region] = backend
        except Exception as error:
            log.warning("the state of %s could not be read and is left out: %s", service, error)


def copy_state(source: Path, target: Path) -> None:
    """Fill `target` with a copy of a state directory.

    Nothing in it names the port that it was served at. Files are hard links where they can be: a server replaces files
    and never writes into one. (A function could, into its own code, with no sandbox around it.)

    Raises:
        FileNotFoundError: there is no account in `source`.
    """

    def link(original: str, copy: str) -> None:
        try:
            os.link(original, copy, follow_symlinks=False)
        except OSError:  # another file system
            shutil.copy2(original, copy, follow_symlinks=False)

    if not (source / ACCOUNT).is_dir():
        raise FileNotFoundError(f"{source} is no state directory")
    ignored = shutil.ignore_patterns(TOKEN_FILE, whole.LEFTOVERS)
    shutil.copytree(source, target, symlinks=True, ignore=ignored, copy_function=link, dirs_exist_ok=True)


class State:
    """Writes the account into a state directory, after changes and at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._blobs = directory / ACCOUNT, directory / BLOBS
        for path in (self._directory, self._blobs):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)  # secrets of the account are in there
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._written: dict[str, str] = {}
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._loop, name="state", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def changed(self) -> None:
        """Note that a request may have changed something."""
        self._changed.set()

    def close(self) -> None:
        """Write a last time."""
        self._ended.set()
        self._changed.set()
        self._thread.join()
        self.save()

    def _loop(self) -> None:
        pause = _INTERVAL_S
        while not self._ended.is_set():
            self._changed.wait()
            self._changed.clear()
            if self._ended.wait(pause):
                return
            begin = time.monotonic()
            self.save()
            pause = max(_INTERVAL_S, 10 * (time.monotonic() - begin))  # at most a tenth of the time goes into this

    def save(self) -> None:
        """Write every service whose content changed."""
        from moto.core.base_backend import BackendDict

        for backends in list(BackendDict._instances):  # type: ignore[misc]
            service = backends.service_name
            if service in _NOT_KEPT:
                continue
            kept = {(account, region): backend for account, region, backend in list(backends.iter_backends())}
            try:
                self._write(service, self._pickled(kept))
            except Exception as error:
                if service not in self._warned:
                    self._warned.add(service)
                    log.warning("the state of %s cannot be kept: %s", service, error)

    def _pickled(self, kept: object) -> bytes:
        for attempt in range(5):
            buffer = io.BytesIO()
            try:
                _Pickler(buffer, self._blobs).dump(kept)
            except RuntimeError as error:  # a dictionary changed size: a request is at work in it
                if attempt == 4:
                    raise
                log.debug("again: %s", error)
                time.sleep(0.05)
            else:
                return buffer.getvalue()
        raise AssertionError

    def _write(self, service: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        if self._written.get(service) == digest:
            return
        target = self._directory / f"{service}.{FORMAT}.pickle"
        whole.write(target, content)
        self._written[service] = digest


class _Pickler(pickle.Pickler):
    """Keeps locks as fresh locks, lambdas as code, and large bytes as files."""

    def __init__(self, stream: io.BytesIO, blobs: Path) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._blobs = blobs

    def persistent_id(self, value: object) -> str | None:
        if type(value) is not bytes or len(value) < _BLOB_BYTES:
            return None
        name = hashlib.sha256(value).hexdigest()
        target = self._blobs / name
        if not target.exists():
            whole.write(target, value)
        return name

    def reducer_override(self, value: Any) -> Any:
        if type(value) in _LOCKS:
            return _LOCKS[type(value)], ()
        if isinstance(value, defaultdict) and type(value) is not defaultdict:  # its constructor may take anything
            return _unconstructed, (type(value),), value.__dict__, None, iter(list(value.items()))
        if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
            cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
            return _function, (value.__module__, marshal.dumps(value.__code__), value.__defaults__, cells)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, blobs: Path) -> None:
        super().__init__(stream)
        self._blobs = blobs

    def persistent_load(self, name: str) -> bytes:
        return (self._blobs / name).read_bytes()


def _unconstructed(kind: type[defaultdict[Any, Any]]) -> Any:
    return defaultdict.__new__(kind)


def _function(module: str, code: bytes, defaults: tuple[Any, ...] | None, cells: tuple[Any, ...]) -> Any:
    """A lambda or local function again; moto has some in `defaultdict(lambda: …)`."""
    scope = vars(importlib.import_module(module))
    closure = tuple(types.CellType(content) for content in cells)
    # Written by ourselves, into a directory that only the account's owner can write to.
    content: types.CodeType = marshal.loads(code)  # noqa: S302
    return types.FunctionType(content, scope, argdefs=defaults, closure=closure or None)
