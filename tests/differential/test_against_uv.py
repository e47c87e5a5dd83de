"""Popular distributions, unpacked by uv and by us: the same files with the same bytes, and everything still imports."""

from __future__ import annotations

import filecmp
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.archives.splice import Part, splice
from builder.archives.zips import unpack
from builder.errors import SourceUnreachable
from builder.python.bytecode import is_bytecode
from builder.python.interpreters import compiling_for
from builder.python.parts import read_report, store_parts
from builder.python.prune import PruneOptions, merged, prune
from builder.python.pylock import select
from builder.python.wheelfile import WheelFile
from builder.python.wheels import download
from builder.replies.deploys import PrunedRow
from builder.runtimes import RUNTIMES, Target, architecture_of

pytestmark = pytest.mark.slow

PINS = Path(__file__).with_name("distributions.txt")
# One cache for uv's and for our downloads, kept between runs.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lambdasmith-tests"
# What uv writes itself, and what is made for one machine.
GENERATED = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json", "uv_build.json"}
IMPORT = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = [sys.argv[1]]
result = {}
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
        result[name] = ""
    except BaseException as error:
        result[name] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(result))
"""


def python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def uv(*arguments: str, cwd: Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not here; install uv")
    environment = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv"), "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "copy"}
    done = subprocess.run([found, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode and any(word in done.stderr for word in ("Failed to fetch", "client error (Connect)")):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Trees:
    """The same wheels in two directories, and what was left out of ours: path → rule."""

    theirs: Path
    ours: Path
    removed: Mapping[str, str]
    report: Sequence[PrunedRow]


@pytest.fixture(scope="module")
def trees() -> Iterator[Trees]:
    if f"python{python()}" not in RUNTIMES:
        pytest.skip(f"no Lambda runtime for Python {python()}")
    target = Target(runtime=RUNTIMES[f"python{python()}"], architecture=architecture_of(platform.machine()))
    (CACHE / "wheels").mkdir(parents=True, exist_ok=True)
    # Not pytest's own directory, which keeps what failed: this is a gigabyte.
    with tempfile.TemporaryDirectory(prefix="against-uv-") as folder:
        root = Path(folder)
        glibc = "2_34" if target.runtime.glibc >= (2, 34) else "2_17"
        command = (
            f"pip compile --quiet --no-deps --format pylock.toml --output-file pylock.toml --python-version {python()}"
        )
        command += f" --only-binary :all: --python-platform {target.machine}-manylinux_{glibc}"
        uv(*command.split(), "--python", sys.executable, str(PINS), cwd=root)
        try:
            files = download(select((root / "pylock.toml").read_text(), target).wheels, CACHE / "wheels")
        except SourceUnreachable as error:
            pytest.skip(f"the package index cannot be reached: {error.message}")
        wheels = sorted(files.values(), key=lambda path: path.name)
        uv("pip", "install", "--quiet", "--target", str(root / "theirs"), "--no-deps", "--no-index",
           "--python", sys.executable, *map(str, wheels), cwd=root)  # fmt: skip
        jobs = [(wheel, root / f"{wheel.stem}.part") for wheel in wheels]
        store_parts(jobs, PruneOptions(), bytecode=compiling_for(sys.version_info[:2]))
        with (root / "ours.zip").open("wb") as out:
            splice(out, [Part(path=part, label=wheel.name) for wheel, part in jobs])
        with zipfile.ZipFile(root / "ours.zip") as archive:
            assert archive.testzip() is None
        (root / "ours").mkdir()
        unpack(root / "ours.zip", root / "ours")
        report = merged(row for _, part in jobs for row in read_report(part).pruned)
        yield Trees(theirs=root / "theirs", ours=root / "ours", removed=removed_from(wheels), report=report)


def removed_from(wheels: Sequence[Path]) -> dict[str, str]:
    removed: dict[str, str] = {}
    for path in wheels:
        with WheelFile(path) as wheel:
            for name, rule in prune(wheel.infos, PruneOptions(), wheel.read).items():
                head, _, rest = name.partition("/")
                if head.endswith(".data"):
                    rest = rest.partition("/")[2]
                    name = rest if "/headers/" not in name else f"include/{path.name.split('-')[0]}/{rest}"
                removed[name] = rule
    return removed


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_there_are_at_least_forty() -> None:
    assert sum("==" in line for line in PINS.read_text().splitlines()) >= 40


def test_files_are_the_same_but_for_what_the_report_lists(trees: Trees) -> None:
    theirs = {name for name in files_of(trees.theirs) if not name.startswith("bin/") and name != ".lock"}
    ours = {name.removeprefix("python/") for name in files_of(trees.ours) if name.startswith("python/")}
    # Wheels' own bytecode, stale on Lambda, is reported as pruned even where ours has the same name.
    theirs, ours = ({name for name in names if not is_bytecode(f"/{name}")} for names in (theirs, ours))
    assert ours - theirs == set()
    missing = {name for name in theirs - ours if name.rpartition("/")[2] not in GENERATED}
    assert {name for name in missing if name not in trees.removed} == set()
    here = trees.ours / "python"
    different = [name for name in ours if not filecmp.cmp(trees.theirs / name, here / name, shallow=False)]
    assert different == []
    reported = {row["rule"]: row["files"] for row in trees.report if row["rule"] != "console-scripts"}
    assert sum(reported.values()) >= len(missing) > 1000
    assert {"tests", "build-inputs", "type-stubs", "installer-records"} <= reported.keys()


def test_scripts_that_wheels_ship_are_the_same_but_for_the_shebang(trees: Trees) -> None:
    shipped = sorted((trees.ours / "bin").glob("*"))
    assert shipped
    for script in shipped:
        assert os.access(script, os.X_OK)
        ours, theirs = script.read_bytes(), (trees.theirs / "bin" / script.name).read_bytes()
        assert ours == theirs or ours.partition(b"\n")[2] == theirs.partition(b"\n")[2]


def test_executable_bits_are_the_same(trees: Trees) -> None:
    """uv takes them from the archive, as we do."""
    for name in files_of(trees.ours / "python"):
        theirs = trees.theirs / name
        if theirs.exists():
            assert os.access(theirs, os.X_OK) == os.access(trees.ours / "python" / name, os.X_OK), name


def test_every_module_that_imports_there_imports_here(trees: Trees) -> None:
    names = sorted(modules(trees.theirs))
    theirs, ours = (imported(root, names) for root in (trees.theirs, trees.ours / "python"))
    assert sum(not error for error in theirs.values()) >= 60
    broken = {name: ours[name] for name, error in theirs.items() if not error and ours[name]}
    assert broken == {}


def modules(root: Path) -> Iterator[str]:
    """Top-level modules, and one level below for namespace packages."""
    for path in root.iterdir():
        if path.suffix == ".py" or (path.suffix == ".so" and path.is_file()):
            yield path.name.partition(".")[0]
        elif (path / "__init__.py").exists():
            yield path.name
        elif path.is_dir() and path.name.isidentifier() and path.name not in ("bin", "share", "include"):
            yield from (f"{path.name}.{sub.parent.name}" for sub in path.glob("*/__init__.py"))


def imported(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Name → why it does not import, empty where it does. Two children at a time, each for some of the names."""
    # Bytecode is written, for the next child: theirs has none, and most modules import the same few.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(root)}

    def run(part: Sequence[str]) -> dict[str, str]:
        command = [sys.executable, "-I", "-S", "-c", IMPORT, str(root), *part]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode and len(part) > 1:  # a module ended the child: ask for each alone
            return {name: error for single in part for name, error in run([single]).items()}
        if done.returncode:
            return {part[0]: f"ended with {done.returncode}: {done.stderr[-200:]}"}
        return dict(json.loads(done.stdout.splitlines()[-1]))

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(run, [names[start : start + 12] for start in range(0, len(names), 12)]))
    return {name: error for part in parts for name, error in part.items()}
