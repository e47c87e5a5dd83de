"""The examples whose compiler is the machine's own: built on a workstation, run in a sandbox without it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from builder.errors import NativeMismatch
from builder.flow import workstation
from builder.progress import Progress
from localaws.testing import Server
from tests.e2e.conftest import ROOT, TRUST

pytestmark = pytest.mark.slow


def build(project: Path, folder: Path) -> tuple[dict[str, Any], bytes]:
    """The reply, and the function's zip."""
    order = workstation.Order(directory=project, out=folder / "out", cache=folder / "cache")
    reply = workstation.build(order, Progress(), dict(os.environ))
    return dict(reply), (folder / "out" / "function.zip").read_bytes()


def without_libraries(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(out, "w") as rest:
        for info in whole.infolist():
            if not info.filename.startswith("lib/"):
                rest.writestr(info, whole.read(info))
    return out.getvalue()


def invoked(account: Server, name: str, content: bytes) -> tuple[bool, str]:
    """Whether the function answers, and what."""
    client, trust = account.client("lambda"), json.dumps(TRUST)
    role = account.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    client.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=role,
        Code={"ZipFile": content},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    answer = client.invoke(FunctionName=name, Payload=b'{"n": 7}')
    return "FunctionError" not in answer, answer["Payload"].read().decode()


def works(*command: str) -> bool:
    """Whether a compiler is here: a name on the PATH may stand for nothing."""
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def test_haskell_runs_with_the_libraries_of_its_compiler_and_not_without(account: Server, tmp_path: Path) -> None:
    if not works("ghc", "--version"):
        pytest.skip("ghc is not here; install ghc")
    project = tmp_path / "haskell"
    shutil.copytree(ROOT / "examples" / "haskell", project)
    reply, content = build(project, tmp_path)
    collected = {row["library"]: row for row in reply["native_libraries"]}
    base = next(row for name, row in collected.items() if name.startswith("libHSbase-"))
    assert "bootstrap" in base["needed_by"]
    assert invoked(account, "haskell", content) == (True, '{"language": "Haskell", "event": {"n": 7}}')
    answers, words = invoked(account, "haskell-alone", without_libraries(content))
    assert not answers
    assert "Runtime.ExitError" in words
    # Without being asked for, nothing is collected, and what is missing is told before anything is deployed.
    text = (project / "build.yaml").read_text()
    (project / "build.yaml").write_text(text.replace("native_libraries: auto", "native_libraries: none"))
    with pytest.raises(NativeMismatch, match="needs libHSbase") as caught:
        build(project, tmp_path)
    assert "native_libraries: auto" in caught.value.hint


def test_rust_answers(account: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first may be rustup's stand-in for a compiler that this user has not chosen.
    places = os.environ["PATH"].split(os.pathsep)
    found = next((place for place in places if works(f"{place}/rustc", "--version")), None)
    if found is None:
        pytest.skip("rustc is not here; install rustc")
    monkeypatch.setenv("PATH", os.pathsep.join([found, *places]))
    reply, content = build(ROOT / "examples" / "rust", tmp_path)
    assert invoked(account, "rust", content) == (True, '{"language": "Rust", "event": {"n": 7}}'), reply
