"""The splice alone, from known parts, against copying the same bytes and against the tools that start from wheels."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.artifacts import SETS, Bench, metered
from benchmarks.peers import TOOLS, install
from builder.archives.splice import Part, splice
from builder.archives.zips import ZipSummary

SETS_SPLICED = ("web", "crypto", "data")
# More than Lambda accepts, to measure the memory.
LARGE = "data and crypto"
_ROOT = Path(__file__).resolve().parent.parent
_OURS, *_AGAINST = [tool for tool in TOOLS if tool.name in ("lambdasmith", "uv + zip", "sam build + zip")]
# Runs of tasks below a second; the tools take longer, and vary less.
_RUNS = 9
_CODE = (
    "import sys; from pathlib import Path; from builder.archives.splice import Part, splice; "
    "splice(open(sys.argv[1], 'wb'), [Part(path=Path(path), label=path) for path in sys.argv[2:]])"
)
_CHUNK = 1 << 20


@dataclass(kw_only=True)
class Spliced:
    """Medians in seconds, sizes in bytes; `peers` by tool, from wheels in its cache to the zip.

    `memory_mb` is that of a process that does nothing but splice, in 10^6 bytes.
    """

    zip: int
    unzipped: int
    files: int
    splice_s: float
    copy_s: float
    hashed_copy_s: float
    memory_mb: float
    peers: dict[str, float] = field(default_factory=dict)


def measure(work: Path, sets: Sequence[str], runs: int, keep: Callable[[str, Spliced], None]) -> None:
    """Measure the sets, then data and crypto in one; `keep(name, Spliced)` is called after each."""
    peers = install(work / "peers")
    parts: dict[str, list[Path]] = {}
    for name in sets:
        print(f"  splice: {name}", file=sys.stderr, flush=True)
        ours, *others = [
            Bench(
                tool=tool, chosen=SETS[name], work=work / f"splice-{name}-{number}", state=work / "state", peers=peers
            )
            for number, tool in enumerate((_OURS, *_AGAINST))
        ]
        ours.forget()
        ours.build(ours.chosen.requirements)
        parts[name] = _moved(work / "state/ours/cache/parts", work / f"parts-{name}")
        spliced = splice_and_copy(parts[name], work)
        for bench in others:
            bench.build(bench.chosen.requirements)
            times = []
            for _ in range(runs):
                bench.forget()
                times.append(bench.build(bench.chosen.requirements).seconds)
            spliced.peers[bench.tool.name] = statistics.median(times)
        keep(name, spliced)
    if {"data", "crypto"} <= set(parts):
        keep(LARGE, splice_and_copy(parts["data"] + parts["crypto"], work))


def _moved(folder: Path, to: Path) -> list[Path]:
    shutil.rmtree(to, ignore_errors=True)
    folder.rename(to)
    return sorted(to.glob("*.zip"))


def splice_and_copy(paths: Sequence[Path], work: Path) -> Spliced:
    """Splice those parts, and copy the result."""
    out, copy = work / "spliced.zip", work / "copied.zip"
    parts = [Part(path=path, label=path.name) for path in paths]

    def spliced() -> ZipSummary:
        with out.open("wb") as file:
            return splice(file, parts)

    def hashed_copy() -> None:
        digest = hashlib.sha256()
        with out.open("rb") as source, copy.open("wb") as target:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)

    summary = spliced()
    command = [sys.executable, "-S", "-c", _CODE, str(copy), *map(str, paths)]
    memory_mb = metered([command], work, {"PYTHONPATH": str(_ROOT)}, work).memory_mb
    result = Spliced(
        zip=summary.size,
        unzipped=summary.unzipped,
        files=summary.files,
        splice_s=_median(spliced, out),
        copy_s=_median(lambda: shutil.copyfile(out, copy), copy),
        hashed_copy_s=_median(hashed_copy, copy),
        memory_mb=memory_mb,
    )
    out.unlink()
    copy.unlink()
    return result


def _median(work: Callable[[], object], made: Path) -> float:
    """Return the median seconds of `work` without its output file."""
    times = []
    for _ in range(_RUNS):
        made.unlink(missing_ok=True)
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
