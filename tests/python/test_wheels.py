"""Downloads: verified, whole or not at all, kept; and the caches' bound."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import ResolutionFailed, SourceUnreachable
from builder.python.pylock import LockedWheel, Place, check_tags, dumped, select, tags
from builder.python.wheels import download
from builder.runtimes import RUNTIMES, Target
from builder.workspace.directory import Workspace
from tests.index import Index, serving
from tests.python.locking import FOREIGN, PYTHON_313
from tests.wheelhouse import make_wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("index")
    for number in range(20):
        make_wheel(root, f"w{number}", files={f"w{number}.py": "x" * number * 1000})
    with serving(root) as running:
        yield running


def locked(index: Index, name: str) -> LockedWheel:
    filename = f"{name}-1.0-py3-none-any.whl"
    sha256 = hashlib.sha256((index.root / filename).read_bytes()).hexdigest()
    return LockedWheel(name=name, version="1.0", filename=filename, url=f"{index.url}/files/{filename}", sha256=sha256)


def test_wheels_are_fetched_once_and_are_what_the_lock_says(tmp_path: Path, index: Index) -> None:
    wheels = [locked(index, f"w{number}") for number in range(20)]
    paths = download(wheels, tmp_path)
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths.values()} == {one.sha256 for one in wheels}
    before = index.requests.total()
    assert download(wheels, tmp_path) == paths
    assert index.requests.total() == before


def test_a_file_with_another_hash_is_refused_and_leaves_nothing(tmp_path: Path, index: Index) -> None:
    wheel = locked(index, "w3")
    index.lies[wheel.filename] = b"tampered with"
    try:
        with pytest.raises(ResolutionFailed, match="the lock says"):
            download([wheel], tmp_path)
    finally:
        index.lies.clear()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert download([wheel], tmp_path)


def test_a_wheel_that_was_changed_in_the_cache_is_fetched_again(tmp_path: Path, index: Index) -> None:
    wheel = locked(index, "w4")
    path = download([wheel], tmp_path)[wheel.sha256]
    path.write_bytes(b"tampered with")
    assert hashlib.sha256(download([wheel], tmp_path)[wheel.sha256].read_bytes()).hexdigest() == wheel.sha256


def test_a_file_that_is_gone(tmp_path: Path, index: Index) -> None:
    wheel = locked(index, "w3")
    gone = LockedWheel(**{**vars(wheel), "url": f"{index.url}/files/gone.whl"})
    with pytest.raises(SourceUnreachable, match=r"w3-1\.0-py3-none-any\.whl"):
        download([gone], tmp_path)


def test_caches_lose_what_was_used_longest_ago(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for number, kind in enumerate(("wheels", "parts", "wheels", "parts")):
        path = workspace.cached(kind) / f"{number}"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (number, number))
    (workspace.cached("uv") / "simple").mkdir()
    (workspace.cached("uv") / "simple" / "page").write_bytes(b"x" * 1000)
    os.utime(workspace.cached("uv"), (2.5, 2.5))
    workspace.used(workspace.cached("wheels") / "0")
    workspace.trim(2000 + 1000 + 200)
    left = {path.name for path in workspace.cache.rglob("*") if path.is_file()}
    assert left <= {"0", "3", "page"}
    assert "0" in left, "it was used last"
    assert not {"1", "2"} & left
    workspace.trim(0)
    assert not [path for path in workspace.cache.rglob("*") if path.is_file()]


def test_trimming_an_empty_place_does_nothing(tmp_path: Path) -> None:
    Workspace(tmp_path / "nowhere").trim(0)
    assert not (tmp_path / "nowhere").exists()


def test_downloads_run_side_by_side(tmp_path: Path, index: Index) -> None:
    wheels = [locked(index, f"w{number}") for number in range(20)]
    most = 0
    seen = threading.Lock()
    now = 0
    original = index.lies

    class Slow(dict[str, bytes]):
        def get(self, key: str, default: object = None) -> None:  # type: ignore[override]
            nonlocal most, now
            with seen:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.05)
            with seen:
                now -= 1

    index.lies = Slow()
    try:
        download(wheels, tmp_path)
    finally:
        index.lies = original
    assert 2 <= most <= 8


# --- tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "architecture", "tag", "fits"),
    [
        ("python3.13", "x86_64", "cp313-cp313-manylinux_2_34_x86_64", True),
        ("python3.13", "x86_64", "cp313-cp313-manylinux_2_35_x86_64", False),
        ("python3.13", "x86_64", "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("python3.13", "x86_64", "cp313-cp313-manylinux1_x86_64", True),
        ("python3.13", "x86_64", "cp313-cp313-manylinux2010_x86_64", True),
        ("python3.13", "arm64", "cp313-cp313-manylinux2010_aarch64", False),
        ("python3.13", "arm64", "cp313-cp313-manylinux2014_aarch64", True),
        ("python3.13", "x86_64", "cp38-abi3-manylinux_2_28_x86_64", True),
        ("python3.13", "x86_64", "cp313-cp313t-manylinux_2_28_x86_64", False),
        ("python3.13", "x86_64", "cp314-abi3-manylinux_2_28_x86_64", False),
        ("python3.13", "x86_64", "cp313-cp313-musllinux_1_1_x86_64", False),
        ("python3.13", "x86_64", "cp313-cp313-linux_x86_64", True),
        ("python3.11", "x86_64", "cp311-cp311-manylinux_2_27_x86_64", False),
        ("python3.11", "x86_64", "cp311-cp311-manylinux_2_26_x86_64", True),
        ("python3.11", "arm64", "py2.py3-none-any", True),
    ],
)
def test_what_a_target_accepts(runtime: str, architecture: str, tag: str, fits: bool) -> None:
    target = Target(runtime=RUNTIMES[runtime], architecture=architecture)  # type: ignore[arg-type]
    if fits:
        check_tags(f"a-1.0-{tag}.whl", target)
    else:
        with pytest.raises(Exception, match="does not run on"):
            check_tags(f"a-1.0-{tag}.whl", target)


def test_the_best_of_several_wheels_is_chosen() -> None:
    def wheel(tag: str) -> Place:
        return {"url": f"https://127.0.0.1/a-1.0-{tag}.whl", "hashes": {"sha256": "0" * 64}}

    names = ["py3-none-any", "cp313-cp313-manylinux_2_17_x86_64", "cp313-cp313-manylinux_2_28_x86_64"]
    names += ["cp313-cp313-manylinux_2_28_aarch64", "cp39-abi3-manylinux_2_34_x86_64", "cp313-cp313-win_amd64"]
    lock = dumped(
        {
            "lock-version": "1.0",
            "created-by": "x",
            "packages": [{"name": "a", "version": "1.0", "wheels": [wheel(tag) for tag in names]}],
        }
    )
    assert select(lock, PYTHON_313).wheels[0].filename == "a-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    assert select(lock, FOREIGN).wheels[0].filename == "a-1.0-cp313-cp313-manylinux_2_28_aarch64.whl"
    assert len(tags(PYTHON_313)) == len(set(tags(PYTHON_313)))
