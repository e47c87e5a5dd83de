"""One commit from a git server: ours and C git's, seconds, bytes on the wire and memory; cold, and after a change.

    python -m benchmarks.git [--runs N]

Both talk to the same `git http-backend` on loopback, through a proxy that counts, and write the files. Ours is a
process of its own, start of Python included, that may address no more memory than is told.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from localaws.testing import git_server

ROOT = Path(__file__).resolve().parent.parent
METER = Path(__file__).with_name("meter.py")
LIMIT_MB = 512
_OURS = """
import resource, sys
from pathlib import Path
from builder.sources.git import fetch, resolve
url, into, cache, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (int(limit) << 20,) * 2)
fetch(resolve(url, "main"), Path(into), cache=Path(cache) if cache else None)
"""
# One directory of a repository that is known to be large, or may be.
_NEEDED = """
import sys
from pathlib import Path
from builder.sources.git import fetch, resolve
url, into, large = sys.argv[1:]
needed = {"src/p1"}
fetch(resolve(url, "main"), Path(into), choose=lambda *_: needed, is_large=lambda: large == "large")
"""
_GIT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Medians; `memory_mb` is 10^6 bytes of the largest process, `wire_bytes` what the server sent."""

    name: str
    seconds: float
    wire_bytes: int
    memory_mb: float


class _Repository:
    """Work tree whose pushes are served."""

    def __init__(self, place: Path, fill: Callable[[Path], None]) -> None:
        self.bare, self.tree = place / "served" / "project.git", place / "tree"
        self.tree.mkdir(parents=True)
        _git(place, "init", "-q", "--bare", "-b", "main", str(self.bare))
        _git(self.tree, "init", "-q", "-b", "main")
        fill(self.tree)
        self.push()
        _git(self.bare, "gc", "-q")

    def push(self) -> None:
        _git(self.tree, "add", "-A")
        _git(self.tree, "commit", "-q", "-m", "change")
        _git(self.tree, "push", "-q", str(self.bare), "HEAD")

    def change(self, number: int) -> None:
        path = self.tree / "src" / "p1" / "m1.py"
        path.write_text(f"{path.read_text()}# {number}\n")
        self.push()


def _git(cwd: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=cwd, env=_GIT, check=True, capture_output=True)


def _sources(tree: Path) -> None:
    """Write 4,000 modules of up to 400 lines, as in a large monorepo."""
    noise = random.Random(1)
    for package in range(200):
        (tree / "src" / f"p{package}").mkdir(parents=True)
        for module in range(20):
            lines = (
                f"def f{line}(x):\n    return x * {noise.randrange(10**6)}\n" for line in range(noise.randrange(400))
            )
            (tree / "src" / f"p{package}" / f"m{module}.py").write_text("".join(lines))


def _many(tree: Path) -> None:
    """Write 300 directories of 166 small modules each."""
    noise = random.Random(3)
    for package in range(300):
        (tree / "src" / f"p{package}").mkdir(parents=True)
        for module in range(166):
            lines = (f"v{line} = {noise.random()}\n" for line in range(20))
            (tree / "src" / f"p{package}" / f"m{module}.py").write_text("".join(lines))


def _data(tree: Path) -> None:
    """Write 250 MB that cannot be compressed: one file of 150 MB and twenty of 5 MB, with some sources."""
    (tree / "src" / "p1").mkdir(parents=True)
    (tree / "src" / "p1" / "m1.py").write_text("x = 1\n" * 100)
    noise = random.Random(2)
    for number in range(20):
        (tree / f"data{number}.bin").write_bytes(noise.randbytes(5_000_000))
    with (tree / "large.bin").open("wb") as file:
        for _ in range(150):
            file.write(noise.randbytes(1_000_000))


class _Counter(ThreadingHTTPServer):
    """Proxy that passes everything to `behind` and counts the bytes that come back."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        self.behind, self.sent = urlsplit(behind), 0
        super().__init__(("127.0.0.1", 0), _Passing)


class _Passing(BaseHTTPRequestHandler):
    server: _Counter

    def do_GET(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.behind.hostname or "", self.server.behind.port)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body=body or None, headers=headers)
        response = connection.getresponse()
        self.send_response(response.status)
        self.send_header("Content-Type", response.getheader("Content-Type", ""))
        self.end_headers()
        while block := response.read(1 << 18):
            self.server.sent += len(block)
            self.wfile.write(block)
        connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(root: Path) -> Iterator[tuple[str, _Counter]]:
    with git_server(root) as behind:
        counter = _Counter(behind.url)
        thread = threading.Thread(target=counter.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{counter.server_port}/project.git", counter
        finally:
            counter.shutdown()
            thread.join()
            counter.server_close()


def _metered(commands: list[list[str]], scratch: Path) -> tuple[float, float]:
    """Run the commands in turn; return seconds and 10^6 bytes of memory."""
    report = scratch / "report.json"
    environment = {**_GIT, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-S", str(METER), str(report), json.dumps(commands)], check=True, env=environment)
    taken = json.loads(report.read_text())
    if taken["failed"]:
        raise RuntimeError(f"failed: {taken['failed']}")
    return taken["seconds"], taken["memory_mb"]


def measure(name: str, fill: Callable[[Path], None], runs: int) -> list[Row]:
    """Measure ours and git on one repository, each cold, and again after a change of one line."""
    with tempfile.TemporaryDirectory(prefix="lambdasmith-git-") as folder:
        place = Path(folder)
        repository = _Repository(place, fill)
        with _served(place / "served") as (url, counter):
            taken: dict[str, list[tuple[float, float, int]]] = {}

            def run(what: str, *commands: list[str]) -> None:
                counter.sent = 0
                seconds, memory = _metered(list(commands), place)
                taken.setdefault(what, []).append((seconds, memory, counter.sent))

            def ours(cache: Path | str) -> list[str]:
                shutil.rmtree(place / "into", ignore_errors=True)
                return [sys.executable, "-c", _OURS, url, str(place / "into"), str(cache), str(LIMIT_MB)]

            clone = place / "clone"
            theirs = [["git", "-C", str(clone), *words] for words in ([*_FETCH, url, "main"], _CHECKOUT)]
            cache = place / "cache"
            for number in range(runs):
                for each in (clone, cache):
                    shutil.rmtree(each, ignore_errors=True)
                    each.mkdir()
                _git(clone, "init", "-q")
                run("git fetch --depth 1, checkout", *theirs)
                run("ours", ours(""))
                _metered([ours(cache)], place)
                repository.change(number)
                run("git, one line changed", *theirs)
                run("ours, one line changed", ours(cache))
    return _medians(name, taken)


def _medians(name: str, taken: dict[str, list[tuple[float, float, int]]]) -> list[Row]:
    return [
        Row(
            name=f"{name}: {what}",
            seconds=statistics.median(seconds for seconds, _, _ in rows),
            wire_bytes=int(statistics.median(sent for _, _, sent in rows)),
            memory_mb=max(memory for _, memory, _ in rows),
        )
        for what, rows in taken.items()
    ]


def measure_needed(runs: int) -> list[Row]:
    """Measure a new environment that needs one directory of 300 in a repository of 50,000 files."""
    with tempfile.TemporaryDirectory(prefix="lambdasmith-git-") as folder:
        place = Path(folder)
        _Repository(place, _many)
        clone, into = place / "clone", place / "into"
        with _served(place / "served") as (url, counter):
            ours = {large: [[sys.executable, "-c", _NEEDED, url, str(into), large]] for large in ("large", "unknown")}
            git = ["git", "-C", str(clone)]
            sparse = [
                ["git", "clone", "-q", "--depth", "1", "--filter=blob:none", "--sparse", url, str(clone)],
                [*git, "sparse-checkout", "set", "src/p1"],
            ]
            commands = {
                "git clone --filter=blob:none --sparse": sparse,
                "ours, not yet known to be large": ours["unknown"],
                "ours, known to be large": ours["large"],
            }
            taken: dict[str, list[tuple[float, float, int]]] = {}
            for _ in range(runs):
                for what, lines in commands.items():
                    for each in (clone, into):
                        shutil.rmtree(each, ignore_errors=True)
                    counter.sent = 0
                    seconds, memory = _metered(lines, place)
                    taken.setdefault(what, []).append((seconds, memory, counter.sent))
    return _medians("one directory of 300 needed, 50,000 files", taken)


_FETCH = ["fetch", "-q", "--depth", "1"]
_CHECKOUT = ["checkout", "-q", "-f", "FETCH_HEAD"]


def main() -> int:
    """Print a table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.git", description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    print(f"| | s | MB on the wire | MB of memory (ours may address {LIMIT_MB}) |\n|---|---|---|---|")
    for name, fill in (("4,000 modules", _sources), ("250 MB of data", _data)):
        _print(measure(name, fill, runs))
    _print(measure_needed(runs))
    return 0


def _print(rows: list[Row]) -> None:
    for row in rows:
        print(f"| {row.name} | {row.seconds:.2f} | {row.wire_bytes / 1e6:.3f} | {row.memory_mb:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
