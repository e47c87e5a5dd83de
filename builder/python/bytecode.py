"""Bytecode that is valid on Lambda: unchecked-hash `.pyc` files, the same bytes wherever and whenever they are made.

Dates in a zip are fixed, so bytecode that is checked by date is always stale there; /opt and /var/task are read-only,
so Python cannot replace it and compiles on every cold start. PEP 552's unchecked-hash form is valid without reading the
source.

Compiling happens in child processes, several at once: Lambda has no /dev/shm, which pools of `multiprocessing` need;
and a child starts in a known state. Only the standard library is used here: the builder makes its own first layer with
it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from builder.archives.zips import Entry, write_zip
from builder.python import marshalling
from builder.python.interpreters import Interpreter
from builder.system import process

# Directory where layers are unpacked: the start of the file names in tracebacks.
_MOUNT = "/opt/"
_UNCHECKED_HASH = 0b01
# Bytes of source per child: about 0.2 s of compiling, against 0.05 s to start one.
_BATCH = 2 << 20
# A child takes seconds; this ends one that hangs, before the whole invocation has run out of time.
_TIMEOUT_S = 600


def cached_name(name: str, cache_tag: str) -> str:
    """Return the path at which the Python of that tag looks for the bytecode of the source at `name`."""
    folder, _, base = name.rpartition("/")
    return f"{folder}/__pycache__/{base.removesuffix('.py')}.{cache_tag}.pyc".lstrip("/")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files of a wheel to compile: path in the wheel → place in the layer. Their bytecode goes to the zip `out`."""

    wheel: str
    places: dict[str, str]
    out: str


class Compiler:
    """Pool of children that compile while their parent works on. Use as a context manager.

    Args:
        interpreter: the children's. scratch: an existing directory for files between the processes.
        workers: how many children at once; the number of processors if not given.
    """

    def __init__(self, interpreter: Interpreter, scratch: Path, workers: int | None = None) -> None:
        self.interpreter = interpreter
        self._scratch = scratch
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._waiting: list[Sources] = []
        self._size = self._count = 0
        self._children: list[Future[None]] = []

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # After an error nothing waits for the rest: queued children are not started any more.
        self._pool.shutdown(cancel_futures=True)

    def submit(self, wheel: Path, places: dict[str, str], sizes: dict[str, int]) -> list[Path]:
        """Queue the files of `places`; return the zips that will have the bytecode once `finish` has returned.

        Args:
            places: path in the wheel → place in the layer.
            sizes: bytes of each path.
        """
        outs = []
        batch: dict[str, str] = {}
        for path, place in sorted(places.items()):
            batch[path] = place
            self._size += sizes[path]
            # By size, not by wheel: one large wheel would otherwise keep one processor busy while the others are idle.
            if self._size >= _BATCH:
                outs.append(self._append(wheel, batch))
                self._start()
                batch = {}
        if batch:
            outs.append(self._append(wheel, batch))
        return outs

    def finish(self) -> None:
        """Wait until everything is compiled.

        Raises:
            CommandFailed, OutOfTime, OutOfSpace: a child failed.
        """
        self._start()
        for child in self._children:
            child.result()
        self._children.clear()

    def _append(self, wheel: Path, places: dict[str, str]) -> Path:
        self._count += 1
        out = self._scratch / f"bytecode-{self._count}.zip"
        self._waiting.append(Sources(wheel=str(wheel.resolve()), places=places, out=str(out)))
        return out

    def _start(self) -> None:
        if self._waiting:
            job = self._scratch / f"bytecode-{self._count}.json"
            # A file instead of arguments: a command line is limited to 128 kB per argument.
            job.write_text(json.dumps([asdict(sources) for sources in self._waiting]))
            self._children.append(self._pool.submit(_run_child, self.interpreter, job))
        self._waiting, self._size = [], 0


def _run_child(interpreter: Interpreter, job: Path) -> None:
    # Without site-packages and with a fixed hash seed, so that every child starts in the same state. The library path
    # is for Lambda's python, which loads its libpython from there.
    process.run(
        [interpreter.executable, "-S", "-W", "ignore", "-m", __name__, str(job)],
        cwd=Path(__file__).resolve().parents[2],
        environment={
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(Path(interpreter.prefix) / "lib"),
        },
        timeout_s=_TIMEOUT_S,
        what="compiling to bytecode",
        trusted=True,  # the code is compiled, not run
    )


def main(job: Path) -> None:
    """Compile the files that the file `job` lists, in this process."""
    # Strings of one character are shared by the whole process; whether one is interned would show in the output.
    for code in range(256):
        sys.intern(chr(code))
    for row in json.loads(job.read_text()):
        sources = Sources(**row)
        with Path(sources.out).open("wb") as out:
            write_zip(out, _entries(sources))


def _entries(sources: Sources) -> Iterable[Entry]:
    with zipfile.ZipFile(sources.wheel) as archive:
        for path, place in sources.places.items():
            bytecode = compiled(archive.read(path), place)
            if bytecode is not None:
                yield Entry(name=cached_name(place, str(sys.implementation.cache_tag)), source=bytecode)


def compiled(source: bytes, place: str) -> bytes | None:
    """Return the content of the `.pyc` for a source file; None if it does not compile, such as a template.

    Args:
        place: its path in the layer.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, _MOUNT + place, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, SystemError):
        return None  # Python reports it on import, as it would without bytecode
    flags = _UNCHECKED_HASH.to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshalling.dumps(code)


def is_bytecode(name: str) -> bool:
    """Return whether a file of an artifact is bytecode, which can be left out without harm."""
    return name.endswith(".pyc") and "/__pycache__/" in name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
