"""The same wheels give the same bytes: wherever, whenever and by whomever the layer is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.wheelhouse import make_wheel

ROOT = Path(__file__).resolve().parents[2]
MAKE = """
import os, sys
from pathlib import Path
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
print(artifact.sha256, artifact.files, sep=" ")
"""


def build(folder: Path, names: list[str], umask: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MAKE, umask, str(folder), *names],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_directory_umask_zone_locale_seed_order_and_age_do_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two" / "a directory"
    one.mkdir()
    two.mkdir(parents=True)
    code = "class A:\n    class B{}:\n        x = {{1.5, 'é', 'b'}}\n    y = 'a' in {{'q', 'z.'}}\n"
    modules = {f"deep/m{number}.py": code.format(number) for number in range(20)}
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
    assert int(first.split()[1]) > 40
