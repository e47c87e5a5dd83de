"""Native libraries that the sandbox does not have, and what a builder records of the runtime that it runs in."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from builder.store.values import value_of
from tests.e2e.conftest import ROOT, Builder
from tests.natives.native import shared
from tests.wheelhouse import make_wheel

MODULE = (
    "int {need}(void); void *PyInit_{name}(void) {{ return 0; }} int {name}_answer(void) {{ return {need}() + 1; }}"
)
LOADING = "import ctypes, pathlib\n{name} = ctypes.CDLL(str(pathlib.Path(__file__).with_name('{name}.so')))\n"


def build(folder: Path, tmp_path: Path, libraries: Path, **lines: str) -> tuple[int, dict[str, Any], Path]:
    """Run the workstation door; its status, its reply, where the zips are."""
    text = (folder / "build.yaml").read_text()
    (folder / "build.yaml").write_text(text + "".join(f"{key}: {value}\n" for key, value in lines.items()))
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "builder", "build", folder, "-o", out, "--json"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH", "")])),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    (folder / "build.yaml").write_text(text)
    return done.returncode, json.loads(done.stdout), out


def deploy(builder: Builder, name: str, out: Path) -> None:
    client = builder.client("lambda")
    content = (out / "layers" / "dependencies.zip").read_bytes()
    layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": content})
    client.create_function(
        FunctionName=name,
        Runtime=builder.runtime,
        Handler="app.handler",
        Role=builder.role,
        Code={"ZipFile": (out / "function.zip").read_bytes()},
        Layers=[layer["LayerVersionArn"]],
        Architectures=["x86_64" if platform.machine() == "x86_64" else "arm64"],
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_a_function_answers_with_the_libraries_that_the_runtime_lacks(builder: Builder, tmp_path: Path) -> None:
    """Of the function's own extension, and of one in a wheel; a library of a library is found too."""
    libraries, folder = tmp_path / "libraries", tmp_path / "project"
    deep = shared(libraries / "libdeep.so.2", "int deep(void) { return 40; }", soname="libdeep.so.2")
    source = "int deep(void); int greet(void) { return deep(); }"
    greet = shared(libraries / "libgreet.so.1", source, soname="libgreet.so.1", libraries=[deep])
    shared(folder / "fast.so", MODULE.format(name="fast", need="greet"), libraries=[greet])
    spoken = shared(tmp_path / "spoken.so", MODULE.format(name="spoken", need="deep"), libraries=[deep])
    files: dict[str, str | bytes] = {
        "speech/__init__.py": LOADING.format(name="spoken"),
        "speech/spoken.so": spoken.read_bytes(),
    }
    wheel = make_wheel(folder, "speech", files=files)
    (folder / "requirements.txt").write_text(f"./{wheel.name}\n")
    (folder / "app.py").write_text(
        LOADING.format(name="fast")
        + "import speech\ndef handler(event, context):\n"
        + "    return [fast.fast_answer(), speech.spoken.spoken_answer()]\n"
    )
    asked = f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py, fast.so]\n"
    layers = "layers:\n  dependencies: [requirements.txt]\n"

    (folder / "build.yaml").write_text(asked + layers)
    status, reply, _ = build(folder, tmp_path, libraries)
    assert (status, reply["error"]["code"]) == (7, "native_mismatch"), reply
    assert "native_libraries: auto" in reply["error"]["hint"]
    status, reply, out = build(
        folder, tmp_path, libraries, optional_libraries="[libgreet.so.1, libdeep.so.2]", **{"try": "none"}
    )
    assert status == 0, reply
    deploy(builder, "without-libraries", out)
    answer = builder.client("lambda").invoke(FunctionName="without-libraries")
    assert b"libgreet.so.1: cannot open shared object file" in answer["Payload"].read()

    (folder / "build.yaml").write_text(f"{asked}  native_libraries: auto\n{layers}")
    status, reply, out = build(folder, tmp_path, libraries)
    assert status == 0, reply
    rows = {(row["component"], row["library"]): row for row in reply["native_libraries"]}
    assert {key: row["needed_by"] for key, row in rows.items()} == {
        ("dependencies", "libdeep.so.2"): ["python/speech/spoken.so"],
        ("function", "libdeep.so.2"): ["libgreet.so.1"],
        ("function", "libgreet.so.1"): ["fast.so"],
    }
    assert rows["function", "libgreet.so.1"]["from"] == str(greet)
    assert reply["checks"]["tried"] is (builder.runtime == f"python{sys.version_info.major}.{sys.version_info.minor}")
    assert reply["checks"]["native_files"] == 5
    deploy(builder, "with-libraries", out)
    assert builder.invoke("with-libraries") == [41, 41]

    status, again, _ = build(folder, tmp_path, libraries)
    assert status == 0, again
    assert {row["action"] for row in again["artifacts"]} == {"reuse"}
    assert again["native_libraries"] == reply["native_libraries"]


def test_a_builder_records_what_its_runtime_has(builder: Builder) -> None:
    ping = builder.send({"action": "ping"})
    command = [sys.executable, str(ROOT / "setup.py"), "probe", "--json"]
    done = subprocess.run(command, env={**os.environ, **builder.aws.env}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    found = reply["baseline"]
    assert (found["runtime"], found["architecture"]) == (ping["runtime"], ping["architecture"])
    assert reply["recorded"] == f"baselines/{found['system']}-{found['architecture']}.json"
    # The sandbox shows this machine's C library in place of Amazon Linux's.
    assert found["versions"]["GLIBC"] == platform.libc_ver()[1]
    assert found["libraries"]["libc.so.6"]["soname"] == "libc.so.6"
    assert reply["difference"]["missing"] == []
    key = ping["settings"]["prefix"] + reply["recorded"]
    s3, bucket = builder.client("s3"), ping["settings"]["bucket"]
    try:
        assert value_of(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) == found
    finally:  # what other tests expect is Lambda's own
        s3.delete_object(Bucket=bucket, Key=key)
