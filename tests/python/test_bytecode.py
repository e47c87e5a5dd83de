"""Bytecode that Python takes on Lambda, and that is the same bytes wherever it is made."""

from __future__ import annotations

import importlib.util
import io
import json
import marshal
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builder.python import bytecode
from builder.python.bytecode import cached_name, compiled, is_bytecode
from builder.python.interpreters import Interpreter
from builder.python.parts import store_parts
from builder.python.prune import PruneOptions
from localaws.runtime.interpreters import find
from tests.wheelhouse import make_wheel

ROOT = Path(__file__).resolve().parents[2]
OWN = Interpreter(
    executable=sys.executable,
    prefix=sys.base_prefix,
    cache_tag=str(sys.implementation.cache_tag),
    magic=importlib.util.MAGIC_NUMBER.hex(),
)


def contents(part: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(part.read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_python_imports_the_bytecode_and_never_looks_at_the_source(tmp_path: Path) -> None:
    """The source is changed after unpacking: only unchecked bytecode gives the old value."""
    wheel = make_wheel(tmp_path, "pkg", files={"pkg/__init__.py": "VALUE = 1\n", "pkg/template.py": "{{ name }} = "})
    store_parts([(wheel, tmp_path / "part.zip")], PruneOptions(), bytecode=OWN)
    with zipfile.ZipFile(tmp_path / "part.zip") as archive:
        archive.extractall(tmp_path / "opt")
    (tmp_path / "opt/python/pkg/__init__.py").write_text("VALUE = 2\n")
    done = subprocess.run(
        [sys.executable, "-c", "import pkg; print(pkg.VALUE)"],
        cwd=tmp_path / "opt/python",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    names = [name for name in contents(tmp_path / "part.zip") if is_bytecode(name)]
    assert names == [f"python/pkg/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"]


def test_tracebacks_show_the_path_on_lambda() -> None:
    data = compiled(b"x = 1", "python/pkg/mod.py")
    assert data is not None
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == 1  # hash-based and not checked, PEP 552
    assert marshal.loads(data[16:]).co_filename == "/opt/python/pkg/mod.py"


@pytest.mark.parametrize("source", [b"{{ x }} =", b"print 1", b"\xff\xfe", b"x = 1\0", b"(" * 5000])
def test_what_does_not_compile_is_left_to_python(source: bytes) -> None:
    assert compiled(source, "python/x.py") is None


def test_a_wheel_that_ships_bytecode_of_the_same_name_keeps_its_own(tmp_path: Path) -> None:
    name = cached_name("pkg/mod.py", OWN.cache_tag)
    wheel = make_wheel(tmp_path, "pkg", files={"pkg/mod.py": "x = 1", name: b"own"})
    store_parts([(wheel, tmp_path / "part.zip")], PruneOptions(disable=("bytecode-cache",)), bytecode=OWN)
    assert contents(tmp_path / "part.zip")[f"python/{name}"] == b"own"


def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One child for each file, or one for all."""
    wheels = [
        make_wheel(tmp_path, name, files={f"{name}/m{n}.py": f"def f{n}(x={n}): return 'a.b', x\n" for n in range(5)})
        for name in ("one", "two")
    ]
    results = []
    for size in (1, 10_000_000):
        monkeypatch.setattr(bytecode, "_BATCH", size)
        outs = [tmp_path / f"{wheel.stem}-{size}" for wheel in wheels]
        store_parts(list(zip(wheels, outs, strict=True)), PruneOptions(), bytecode=OWN)
        results.append([out.read_bytes() for out in outs])
    assert results[0] == results[1]


RUN = """
import sys
{before}
from pathlib import Path
from builder.python import bytecode
bytecode.main(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_same_bytes_in_another_process_order_and_hash_seed(tmp_path: Path, version: str) -> None:
    """marshal as it is writes other bytes when other strings are known to the process."""
    found = find(os.environ).get(version)
    if found is None:
        pytest.skip(f"no CPython {version} here; install python{version}")
    paths = sorted(path for folder in ("", "json", "asyncio", "email") for path in (found.stdlib / folder).glob("*.py"))
    files = {f"pkg/{path.parent.name}_{path.name}": path.read_bytes() for path in paths[:150]}
    wheel = make_wheel(tmp_path, "pkg", files=files)
    results = set()
    ways = [("0", ""), ("1", "import asyncio, typing, unittest"), ("random", "sys.intern('{'); import email.mime.text")]
    for number, (seed, before) in enumerate(ways):
        shuffled = list(files)
        random.Random(number).shuffle(shuffled)
        out, job = tmp_path / f"out{number}.zip", tmp_path / f"job{number}.json"
        places = {path: f"python/{path}" for path in shuffled}
        job.write_text(json.dumps([{"wheel": str(wheel), "places": places, "out": str(out)}]))
        subprocess.run(
            [str(found.executable), "-c", RUN.format(before=before), str(job)],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": str(found.lib_dir)},
            capture_output=True,
            check=True,
        )
        results.add(out.read_bytes())
    assert len(results) == 1
    assert len(contents(out)) == len(files)
