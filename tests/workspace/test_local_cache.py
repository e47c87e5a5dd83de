"""The cache of a workstation: shared by builds that run at once, damaged, bounded, looked at, cleared."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder.errors import InvalidConfiguration
from builder.flow import workstation
from builder.flow.workstation import Order
from builder.progress import Progress
from builder.system.removal import remove
from builder.workspace.local_cache import LIMIT_VARIABLE, in_use, usage
from tests.index import Index, serving
from tests.python.locking import source_files
from tests.store.test_damage import damaged
from tests.wheelhouse import make_sdist, make_wheel

ROOT = Path(__file__).resolve().parents[2]
BUILD = (
    # Of this very Python: another may not be here, which is a warning.
    f"function: {{runtimes: [python3.{sys.version_info.minor}], handler: app.handler, files: [app.py]}}\n"
    "layers:\n  dependencies: [requirements.txt]\n  words: {files: [words.txt]}\n"
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("index")
    for number in range(6):
        make_wheel(root, f"small{number}", files={f"small{number}.py": "x = 1\n" * 2000})
    make_sdist(root, "built_here", files=source_files("built_here"))
    with serving(root) as index:
        yield index


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    wanted = [f"small{number}==1.0" for number in range(6)]
    files = {
        "build.yaml": BUILD,
        "app.py": "def handler(event, context): ...\n",
        "words.txt": "hello\n",
        "requirements.txt": "\n".join([*wanted, "built-here==1.0"]),
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def environment(index: Index) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "UV_DEFAULT_INDEX": index.simple}


def command(*arguments: str | Path, index: Index, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builder", *map(str, arguments)],
        env={**environment(index), **more},
        capture_output=True,
        text=True,
        timeout=120,
    )


def zips(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.zip"))}


def built(project: Path, cache: Path, index: Index, **more: Any) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """The zips, and the reply."""
    out = project.parent / "out"
    order = Order(directory=project, out=out, cache=cache, **more)
    reply = workstation.build(order, Progress(), environment(index))
    return zips(out), reply


def test_six_builds_at_once_share_one_cache(project: Path, index: Index, tmp_path: Path) -> None:
    def run(number: int) -> subprocess.CompletedProcess[str]:
        return command("build", project, "-o", tmp_path / f"out{number}", "--cache", tmp_path / "cache", index=index)

    index.together = 6
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(run, range(6)))
    index.together = 0
    assert [each.returncode for each in done] == [0] * 6, [each.stderr for each in done if each.returncode]
    made = [zips(tmp_path / f"out{number}") for number in range(6)]
    assert sorted(made[0]) == ["function.zip", "layers/dependencies.zip", "layers/words.zip"]
    assert all(each == made[0] for each in made)
    left = [path for path in (tmp_path / "cache").rglob(".new-*") if "cache/cache/uv" not in str(path)]
    assert left == []


@damaged
def test_a_damaged_cache_is_healed(
    project: Path, index: Index, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache = tmp_path / "cache"
    whole, _ = built(project, cache, index)
    for force in (False, True):
        for root in (cache / "store", *(cache / "cache" / kind for kind in ("wheels", "parts", "natives", "unpacked"))):
            for path in root.rglob("*"):
                if path.is_file():
                    content = damage(path.read_bytes())
                    path.chmod(0o644)
                    path.unlink()  # some are one file under two names
                    path.write_bytes(content)
        made, reply = built(project, cache, index, force=force)
        assert made == whole
        assert any(str(cache / "store") in warning for warning in reply["warnings"])
    made, reply = built(project, cache, index)
    assert (made, reply["warnings"]) == (whole, [])
    assert {row["action"] for row in reply["artifacts"]} == {"reuse"}


def test_a_directory_in_place_of_a_file_is_named_and_a_file_in_place_of_a_directory(
    project: Path, index: Index, tmp_path: Path
) -> None:
    """One after the other, each removed as the error says, until a build is as good as before."""
    cache = tmp_path / "cache"
    whole, _ = built(project, cache, index)
    broken = {cache / "cache.lock"}
    for root in (cache / "store", *(cache / "cache" / kind for kind in ("wheels", "parts"))):
        broken |= {path for path in root.rglob("*") if path.is_file()}
    for path in broken:
        path.chmod(0o644)
        path.unlink()
        path.mkdir()
    locks = cache / "store/locks"
    remove(locks)
    locks.touch()
    broken = {locks, *(path for path in broken if not path.is_relative_to(locks))}
    told = set[Path]()
    while len(told) <= len(broken):
        try:
            made, _ = built(project, cache, index)
        except InvalidConfiguration as error:
            place = Path(error.message.partition(" is ")[0])
            told.add(place)
            remove(place)
            continue
        assert made == whole
        break
    assert told <= broken
    assert {cache / "cache.lock", locks} < told


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    hour = 3600
    for age, name in ((9, "old"), (5, "older-than-one"), (1, "young")):
        for folder in ("store/artifacts", "cache/parts"):
            path = cache / folder / f"{name}.zip"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 1000)
            when = time.time() - age * hour
            os.utime(path, (when, when))
    half_done = cache / "store" / "artifacts" / ".new-abc"
    half_done.write_bytes(b"x" * 1000)

    def left() -> list[str]:
        return sorted(path.name for path in cache.rglob("*.zip"))

    with in_use(cache, 4000):
        with in_use(cache, 100):
            pass
        assert len(left()) == 6, "another build uses it"
    assert left() == ["older-than-one.zip"] * 2 + ["young.zip"] * 2
    assert not half_done.exists()
    with in_use(cache, 100):
        pass
    assert len(left()) == 4, "it was looked at a moment ago"
    os.utime(cache / "cache.trimmed", (0, 0))
    with in_use(cache, 1500):
        pass
    assert left() == ["young.zip"]
    assert sum(each.bytes for each in usage(cache)) == 1000


def test_the_store_of_many_builds_stays_below_its_limit(project: Path, index: Index, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(3):
        (project / "words.txt").write_bytes(os.urandom(400_000))
        os.environ.pop(LIMIT_VARIABLE, None)
        order = Order(directory=project, out=tmp_path / "out", cache=cache, components=("words",))
        workstation.build(order, Progress(), {**environment(index), LIMIT_VARIABLE: "1"})
        os.utime(cache / "cache.trimmed", (0, 0))
        taken = sum(each.bytes for each in usage(cache))
        assert taken <= 1_000_000, (number, usage(cache))
    assert taken > 400_000


def test_the_cache_is_told_by_kind_and_cleared(project: Path, index: Index, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "mine").mkdir(parents=True)
    built(project, cache, index)
    done = command("cache", "--cache", cache, index=index, **{LIMIT_VARIABLE: "2000"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.startswith("  store/artifacts ") and line.endswith(" 3 files") for line in lines)
    assert any(line.startswith("  cache/wheels ") for line in lines)
    assert lines[-1].endswith(f" in {cache}, of at most 2.0 GB")
    told = json.loads(command("cache", "--cache", cache, "--json", index=index).stdout)["cache"]
    assert (told["place"], told["cleared"], told["limit"]) == (str(cache), False, 5_000_000_000)
    assert told["bytes"] == sum(row["bytes"] for row in told["kinds"]) > 1000
    with (cache / "cache.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        done = command("cache", "--cache", cache, "--clear", index=index)
        assert done.returncode == 2
        assert f"{cache} is used by a running build" in done.stderr
    done = command("cache", "--cache", cache, "--clear", index=index)
    assert (done.returncode, done.stdout.splitlines()[-1].endswith(f" in {cache}, removed")) == (0, True)
    assert sorted(path.name for path in cache.iterdir()) == ["cache.lock", "mine"]
    assert command("cache", "--cache", tmp_path / "none", "--clear", index=index).stdout.startswith("0 B in ")
    done = command("cache", "--cache", cache, index=index, **{LIMIT_VARIABLE: "2G"})
    assert (done.returncode, f"{LIMIT_VARIABLE}: '2G' is not a number of megabytes" in done.stderr) == (2, True)
