"""The workstation door makes the bytes that the builder function makes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Builder

FILES = {
    "app.py": "import markupsafe\ndef handler(event, context):\n    return str(markupsafe.escape('<'))\n",
    "requirements.txt": "markupsafe\nidna\n",
    "templates/a.html": "<p>",
    "bin/run.sh": "#!/bin/sh\n",
}


LAYERS = {
    # Bytecode is made by the Python that it is for, and this one may be another.
    "dependencies": "  dependencies: [requirements.txt]\nbytecode: false\n",
    "made": "  made:\n    preinstall: ['date -r app.py +%s > made.txt', 'ls -A >> made.txt']\n    files: [made.txt]\n",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_both_doors_make_the_same_bytes(builder: Builder, tmp_path: Path, layer: str) -> None:
    name = f"same-{layer}"
    build_file = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py, templates/, bin/]\n"
        f"layers:\n{LAYERS[layer]}"
    )
    code = FILES["app.py"] if layer == "dependencies" else "def handler(event, context): ...\n"
    commit = builder.forge.push(name, {**FILES, "build.yaml": build_file, "app.py": code})
    reply = builder.build(name)
    assert reply["statusCode"] == 200, reply
    theirs = {row["name"]: row["sha256"] for row in reply["artifacts"]}
    assert set(theirs) == {layer, "function"}

    clone, out = builder.forge.work / name, tmp_path / "out"
    (clone / "__pycache__").mkdir()
    (clone / "__pycache__" / "app.pyc").write_text("not of the project")
    done = subprocess.run(
        ["bash", "-c", 'umask 077; exec "$@"', "-", sys.executable, "-m", "builder", "build", ".", "-o", out, "--json"],
        cwd=clone,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "TZ": "Asia/Tokyo",
            "PYTHONHASHSEED": "7",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours = json.loads(done.stdout)
    assert ours["commit"] == commit
    found = {name: hashlib.sha256((out / path).read_bytes()).hexdigest() for name, path in ours["files"].items()}
    assert found == theirs
