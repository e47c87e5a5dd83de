"""The same wheels give the same bytes: wherever, whenever and by whomever the layer is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheelhouse import make_wheel

ROOT = Path(__file__).resolve().parents[2]
MAKE = """
import os, sys, time
from pathlib import Path
sys.executable = os.environ["PYTHON"]  # what compiles, too
os.umask(int(sys.argv[1], 8))
from builder.python.layer import LayerOptions, layer_of_wheels
from builder.python.prune import PruneOptions
from builder.runtimes import RUNTIMES, Target
folder = Path(sys.argv[2])
scratch = folder / "scratch"
scratch.mkdir()
wheels = [folder / name for name in sys.argv[3:]]
runtime = RUNTIMES[f"python3.{sys.version_info.minor}"]
options = LayerOptions(target=Target(runtime=runtime, architecture="x86_64"), prune=PruneOptions())
artifact = layer_of_wheels(wheels, folder / "layer.zip", options=options, scratch=scratch, extra={"python/mark": b"1"})
print(artifact.sha256, artifact.files, time.gmtime().tm_year)
"""
CODE = "class A:\n    class B{}:\n        x = {{1.5, 'é', 'b'}}\n    y = 'a' in {{'q', 'z.'}}\n"


def build(folder: Path, names: list[str], umask: str, *, python: str = sys.executable, **environment: str) -> list[str]:
    """The layer's sha256, how many files it has, and the year in which it was made."""
    done = subprocess.run(
        [python, "-c", MAKE, umask, str(folder), *names],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder),
            "PYTHON": python,
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("faketime"), reason="no faketime here; scripts/system-tools.sh installs it")
def test_the_day_does_not_matter(tmp_path: Path) -> None:
    made = []
    for day in ("2001-02-03 04:05:06", "2037-11-12 13:14:15"):
        folder = tmp_path / day[:4]
        folder.mkdir()
        # A script, because the children that compile get no LD_PRELOAD.
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec faketime -f "@{day}" {sys.executable} "$@"\n')
        python.chmod(0o755)
        wheels = [make_wheel(folder, "deep", files={f"deep/m{number}.py": CODE.format(number) for number in range(9)})]
        for wheel in wheels:
            os.utime(wheel, (int(day[2:4]) * 30_000_000,) * 2)
        made.append(build(folder, [wheel.name for wheel in wheels], "022", python=str(python)))
    assert [year for _, _, year in made] == ["2001", "2037"]
    assert made[0][:2] == made[1][:2]


def test_directory_umask_zone_locale_seed_order_and_age_do_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two" / "a directory"
    one.mkdir()
    two.mkdir(parents=True)
    modules = {f"deep/m{number}.py": CODE.format(number) for number in range(20)}
    wheels = [
        make_wheel(one, "alpha", files={"alpha/__init__.py": "from deep import m1\n", "alpha/tests/test_a.py": ""}),
        make_wheel(one, "deep", files={**modules, "deep-1.0.data/scripts/run": "#!python\n"}),
        make_wheel(one, "müller", files={"müller/daten.txt": "ß" * 200}),
    ]
    names = [wheel.name for wheel in wheels]
    for name in reversed(names):
        shutil.copyfile(one / name, two / name)
        os.utime(two / name, (1_000_000_000, 1_000_000_000))
    first = build(one, names, "022", TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1")
    second = build(two, names[::-1], "077", TZ="Asia/Kolkata", LC_ALL="C", PYTHONHASHSEED="99")
    assert first == second
    assert (one / "layer.zip").read_bytes() == (two / "layer.zip").read_bytes()
    assert int(first[1]) > 40
