"""localaws as a distribution of its own: what is in its wheel, and that it runs where nothing else of this is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "localaws"

# What a user's test would do; the function needs files of the wheel that are no Python: a lock, and the guest's own.
USE = """
import json, sys, urllib.request
import localaws
from localaws.testing import running, zip_of

with running() as aws:
    runtimes = json.load(urllib.request.urlopen(aws.endpoint_url + "/_localaws/health"))["runtimes"]
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="hello",
        Runtime=max((name for name in runtimes if name.startswith("python")), key=lambda name: int(name[8:])),
        Handler="app.handler",
        Role=aws.create_role("mine"),
        Code={"ZipFile": zip_of({"app.py": "def handler(event, context): return event"})},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="hello", WaiterConfig={"Delay": 1})
    answer = functions.invoke(FunctionName="hello", Payload=b'"Ada"')["Payload"].read()
print(json.dumps({"answer": json.loads(answer), "place": localaws.__file__}))
"""


def run(*command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made by the build backend of the lock: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--quiet", "--offline", "--no-build-isolation", "--python", sys.executable]
    run(uv.find_uv_bin(), "build", *offline, "--wheel", "--out-dir", folder, PROJECT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_whole_package_and_its_licence(wheel: Path) -> None:
    source = PROJECT / "src"
    ours = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert {name.partition(".dist-info/")[2] for name in names} >= {"licenses/LICENSE", "entry_points.txt"}
    assert (PROJECT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.slow
def test_it_runs_from_an_empty_directory_where_only_its_own_dependencies_are(wheel: Path, tmp_path: Path) -> None:
    folder, empty, pinned = tmp_path / "venv", tmp_path / "empty", tmp_path / "constraints.txt"
    empty.mkdir()
    locked = re.findall(r"^(\S+==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    pinned.write_text("\n".join(locked))
    run(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder, cwd=empty)
    install: list[str | Path] = ["pip", "install", "--quiet", "--python", folder, "--constraint", pinned, wheel]
    installed = run(uv.find_uv_bin(), *install, cwd=empty, check=False)
    if installed.returncode:
        pytest.skip(f"localaws cannot be installed from the package index: {installed.stderr.strip()[-300:]}")
    python = folder / "bin" / "python"
    assert "AWS_ENDPOINT_URL" in run(python, "-m", "localaws", "env", cwd=empty).stdout
    assert "AWS_ENDPOINT_URL" in run(folder / "bin" / "localaws", "env", cwd=empty).stdout
    said = json.loads(run(python, "-c", USE, cwd=empty).stdout)
    assert said["answer"] == "Ada"
    assert Path(said["place"]).is_relative_to(folder)
