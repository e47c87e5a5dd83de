"""Data that is kept for everyone is read and fetched while no code of a project runs that could write to it"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from builder.making.assembly import Assembly
from builder.making.checks import check
from builder.making.project import Project
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.workshop.workshop import Workshop
from tests.making.test_checks import artifact, pack, pack_part, workshop
from tests.natives.native import shared
from tests.spec.reading import read_build_file

__all__ = ["workshop"]  # the fixture

# Enough for reading them to take longer than a handler's import to start.
FILES = 500


def test_the_handler_is_imported_when_native_files_have_been_read(workshop: Workshop, tmp_path: Path) -> None:
    seen, runtime = tmp_path / "seen", f"python{sys.version_info.major}.{sys.version_info.minor}"
    natives = tmp_path / "store" / "natives"
    handler = (
        "import pathlib\n"
        f"found = list(pathlib.Path({str(natives)!r}).glob('*-part.json'))\n"
        f"pathlib.Path({str(seen)!r}).write_text(str(len(found)))\n"
        "def handler(event, context): pass\n"
    )
    library = shared(tmp_path / "fast.so", "int one(void) { return 1; }").read_bytes()
    pack_part(workshop.workspace.cached("parts") / "part.zip", {f"python/fast/{n}.so": library for n in range(FILES)})
    pack(workshop.scratch / "dependencies.zip", {"python/one.py": b""})
    pack(workshop.scratch / "function.zip", {"app.py": handler.encode()})
    artifacts = {
        "dependencies": artifact("dependencies", contents=("fast 1.0",), parts=("part.zip",)),
        "function": replace(artifact("function"), contents=("app.py",)),
    }
    text = (
        f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n"
    )
    target = Target(runtime=RUNTIMES[runtime], architecture=architecture_of(os.uname().machine))
    project = Project(root=tmp_path, spec=read_build_file(text, file="build.yaml"), target=target, commit_time=0)
    checked = check(Assembly(project=project, plans=(), artifacts=artifacts), workshop, function="shop")
    assert checked.tried
    assert seen.read_text() == "1"
