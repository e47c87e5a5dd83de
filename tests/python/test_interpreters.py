"""Bytecode for a Python that does not run the builder: the same bytes as from a builder that it does run."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builder.python.interpreters import Interpreter, compiling_for
from builder.python.parts import store_parts
from builder.python.prune import PruneOptions
from localaws.runtime.interpreters import find
from tests.wheelhouse import make_wheel

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {version: found for version, found in find(os.environ).items() if int(version.partition(".")[2]) >= 11}
OTHERS.pop(f"3.{sys.version_info.minor}", None)
ITSELF = """
import sys
from pathlib import Path
from builder.python.interpreters import compiling_for
from builder.python.parts import store_parts
from builder.python.prune import PruneOptions
print(compiling_for(sys.version_info[:2]).tag)
store_parts([(Path(sys.argv[1]), Path(sys.argv[2]))], PruneOptions(), bytecode=compiling_for(sys.version_info[:2]))
"""


def program(folder: Path, text: str, version: str) -> Path:
    """A folder for the PATH with a python of that version in it, which is a script."""
    folder.mkdir(parents=True)
    path = folder / f"python{version}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return folder


@pytest.fixture
def other() -> tuple[str, str]:
    """Version and executable of a Python other than this one."""
    if not OTHERS:
        pytest.skip("no other CPython from 3.11 on here; install one")
    version, found = next(iter(OTHERS.items()))
    return version, str(found.executable)


def looked_for(version: str, *folders: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter | None:
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    return compiling_for((3, int(version.partition(".")[2])))


def test_what_another_python_compiles_is_what_a_builder_on_it_compiles(
    tmp_path: Path, other: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, executable = other
    wheel = make_wheel(
        tmp_path, "pkg", files={f"pkg/m{n}.py": f"def f(x={n}): return 'a b', x in {{1, 2}}\n" for n in range(9)}
    )
    done = subprocess.run(
        [executable, "-c", ITSELF, str(wheel), str(tmp_path / "itself.zip")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    folder = program(tmp_path / "bin", f'exec {executable} "$@"', version)
    found = looked_for(version, folder, monkeypatch=monkeypatch)
    assert found is not None
    assert found.tag == done.stdout.strip()
    store_parts([(wheel, tmp_path / "by-us.zip")], PruneOptions(), bytecode=found)
    with zipfile.ZipFile(tmp_path / "by-us.zip") as part:
        name = f"python/pkg/__pycache__/m1.cpython-{version.replace('.', '')}.pyc"
        assert name in part.namelist()
    assert (tmp_path / "by-us.zip").read_bytes() == (tmp_path / "itself.zip").read_bytes()


def test_pyenvs_stand_in_does_not_run_but_the_real_one_does(
    tmp_path: Path, other: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, executable = other
    shims = program(tmp_path / "shims", "exit 127", version)
    assert looked_for(version, shims, monkeypatch=monkeypatch) is None
    program(tmp_path / f"versions/{version}.9/bin", f'exec {executable} "$@"', version)
    found = looked_for(version, shims, tmp_path, monkeypatch=monkeypatch)
    assert found is not None
    assert found.executable == str(tmp_path / f"versions/{version}.9/bin/python{version}")


@pytest.mark.parametrize(
    "said",
    [
        "cpython 3.98 - final cpython-398 00000000 /usr",
        "pypy 3.99 - final pypy399 00000000 /usr",
        "cpython 3.99 t final cpython-399 00000000 /usr",
        "cpython 3.99 - candidate cpython-399 00000000 /usr",
        "hello",
        "",
    ],
)
def test_what_is_not_what_its_name_says_is_passed_over(
    tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = "cpython 3.99 - final cpython-399 0d0d0d0a /a place"
    wrong, good = (program(tmp_path / name, f"echo '{text}'", "3.99") for name, text in (("one", said), ("two", right)))
    assert looked_for("3.99", wrong, monkeypatch=monkeypatch) is None
    found = looked_for("3.99", wrong, good, monkeypatch=monkeypatch)
    assert found is not None
    assert (found.tag, found.prefix) == ("cpython-399-0d0d0d0a", "/a place")


def test_its_own_python_needs_no_looking_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own = looked_for(f"3.{sys.version_info.minor}", monkeypatch=monkeypatch)
    assert own is not None
    assert own.executable == sys.executable
    assert own.tag.startswith(f"cpython-3{sys.version_info.minor}-")
    assert compiling_for(None) is None
    assert compiling_for((3, 10)) is None, "its code objects have other fields"
