"""Functions that are not Python: built by the builder in its sandbox, which has no compiler, and invoked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.natives.elf import read_natives
from tests.e2e.conftest import ROOT, Builder
from tests.e2e.test_sources import encoded, zipped

pytestmark = pytest.mark.slow


def example(name: str, *files: str) -> dict[str, str]:
    """Files of an example."""
    return {file: (ROOT / "examples" / name / file).read_text() for file in files}


def artifact(builder: Builder, reply: Mapping[str, Any], folder: Path) -> Path:
    """The function's artifact on this disk."""
    path = folder / "artifact.zip"
    builder.client("s3").download_file(reply["bucket"], reply["key"], str(path))
    return path


def created(builder: Builder, name: str, reply: Mapping[str, Any]) -> None:
    """A function made of a package, as a tool does that deploys by itself."""
    client = builder.client("lambda")
    made = client.create_function(
        FunctionName=name,
        Role=builder.role,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Code={"S3Bucket": reply["bucket"], "S3Key": reply["key"]},
    )
    assert made["CodeSha256"] == reply["source_code_hash"]
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_go_from_an_archive_for_both_architectures(builder: Builder, tmp_path: Path) -> None:
    files = example("go", "go.mod", "go.sum", "main.go")
    event = {"name": "gopher", "architecture": "amd64", "archive": encoded(zipped(files))}
    ours = builder.send(event)
    assert ours["statusCode"] == 200, json.dumps(ours, indent=1)
    created(builder, "gopher", ours)
    assert builder.invoke("gopher", {"name": "Ada"}) == {"greeting": "Hello, Ada!", "architecture": "amd64"}
    # The same content again, packed otherwise: the same answer, and nothing is built.
    again = builder.send({**event, "archive": encoded(zipped(dict(reversed(files.items()))))})
    assert [again[key] for key in ("bucket", "key", "version_id", "source_code_hash")] == [
        ours[key] for key in ("bucket", "key", "version_id", "source_code_hash")
    ]
    assert [row["action"] for row in again["artifacts"]] == ["reuse"]
    # For another machine all of Go's library is compiled again: of this program, as much as its runtime.
    small = {"go.mod": "module example.com/small\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() {}\n"}
    theirs = builder.send({**event, "architecture": "aarch64", "archive": encoded(zipped(small))})
    assert theirs["statusCode"] == 200, json.dumps(theirs, indent=1)
    [native] = read_natives(artifact(builder, theirs, tmp_path))
    assert (native.path, native.machine, native.needed) == ("bootstrap", "aarch64", ())
    # Broken, and unchanged: the compiler's words, and the function as it was.
    broken = files | {"main.go": files["main.go"].replace("lambda.Start(greet)", "lambda.Start(great)")}
    failed = builder.send({**event, "archive": encoded(zipped(broken)), "on_error": "reply"})
    assert (failed["statusCode"], failed["error"]["code"]) == (400, "compilation_failed")
    assert "main.go:25:15: undefined: great" in failed["error"]["message"]


def test_a_program_in_c_is_compiled_in_the_sandbox_and_deployed_from_git(builder: Builder) -> None:
    files = example("c", "bootstrap.c", "build.yaml")
    builder.forge.push("sea", files)
    built = builder.build("sea")
    assert built["statusCode"] == 200, json.dumps(built, indent=1)
    assert builder.invoke("sea", {"n": 1}) == {"language": "C", "event": {"n": 1}}
    before = builder.state("sea")
    builder.forge.push("sea", {"bootstrap.c": files["bootstrap.c"].replace("free(answer);", "free(anwser);")})
    failed = builder.build("sea")
    assert failed["error"]["code"] == "command_failed", failed
    assert any("use of undeclared identifier 'anwser'" in line for line in failed["error"]["log_tail"])
    assert builder.state("sea") == before
    # What is no input of the commands is no reason to run them.
    builder.forge.push("sea", {**files, "README.md": "words"})
    assert [row["action"] for row in builder.build("sea")["artifacts"]] == ["reuse"]


def test_a_c_extension_is_compiled_in_the_sandbox(builder: Builder) -> None:
    modules = "[Extension('fast', ['fast.c'])]"
    setup = f"from setuptools import Extension, setup\nsetup(name='fast', version='1', ext_modules={modules})\n"
    code = (
        "#include <Python.h>\n"
        "static PyObject *twice(PyObject *self, PyObject *n) { return PyNumber_Add(n, n); }\n"
        'static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {0}};\n'
        'static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", 0, -1, methods};\n'
        "PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }\n"
    )
    files = {
        "build.yaml": f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n",
        "requirements.txt": "./fast\n",
        "fast/setup.py": setup,
        "fast/fast.c": code,
        "app.py": "import fast\n\ndef handler(event, context):\n    return fast.twice(event)\n",
    }
    builder.forge.push("extended", files)
    built = builder.build("extended")
    assert built["statusCode"] == 200, json.dumps(built, indent=1)
    assert builder.invoke("extended", 21) == 42
    builder.forge.push("extended", {"fast/fast.c": code.replace("PyNumber_Add(n, n)", "PyNumber_Add(n, m)")})
    failed = builder.build("extended")
    assert failed["error"]["code"] == "command_failed", failed
    assert any("undeclared identifier 'm'" in line for line in failed["error"]["log_tail"]), failed["error"]
    assert builder.invoke("extended", 21) == 42
