"""The examples for SAM and Make, by the real `sam` and `make`, against a real builder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from benchmarks.peers import SAM, install
from tests.e2e.conftest import ROOT, Builder, account, builder, forge  # noqa: F401  # fixtures

BROKEN = "idna==99\n"
REFUSAL = "requirements.txt:1: idna==99 does not exist in the package index"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A user's copy of an example, with deploy.sh beside it."""

    directory: Path
    builder: Builder
    env: dict[str, str] = field(repr=False)

    def run(self, *command: str | Path, code: int = 0) -> str:
        """What the command prints, messages last."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def tree(self, name: str) -> dict[str, bytes]:
        root = self.directory / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def example(name: str, place: Path, builder: Builder) -> Example:  # noqa: F811
    if shutil.which("make") is None:
        pytest.skip("make is not here; install make")
    shutil.copytree(ROOT / "examples" / name, place)
    shutil.copy(ROOT / "deploy.sh", place)
    for path in place.iterdir():
        path.write_text(path.read_text().replace("python3.13", builder.runtime))
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    search = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env |= {**builder.aws.env, "PATH": search, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place.parent / "cache")}
    return Example(directory=place, builder=builder, env=env)


def test_make(builder: Builder, tmp_path: Path) -> None:  # noqa: F811
    """Built when sources change, uploaded when the zip differs; a broken source leaves all as it was."""
    mine = example("make", tmp_path / "names", builder)
    zipped = mine.directory / "lambda.zip"
    assert "packaged make-example from the files sent" in mine.run("make")
    assert "Nothing to be done" in mine.run("make")
    assert "make create ROLE=arn:aws:iam::ACCOUNT:role/NAME" in mine.run("make", "create", code=2)
    told = mine.run("make", "create", f"ROLE={builder.role}")
    assert re.search(r"layer uploaded: arn:\S+:make-example-dependencies:1\ncode is up to date: ", told)
    assert "Nothing to be done" in mine.run("make", "upload")
    told = mine.run("make", "-B", "upload")
    assert re.search(r"layer is up to date: \S+:1\ncode is up to date: \S+=\n", told)
    told = mine.run("make", "invoke")
    assert "encoding bücher.example\n" in told
    # Up to python3.11, Lambda's runtime escapes what is not ASCII.
    assert json.loads(told.splitlines()[-1]) == {"name": "bücher.example", "ascii": "xn--bcher-kva.example"}

    code = (mine.directory / "lambda_function.py").read_text()
    mine.write("lambda_function.py", code.replace("encoding", "now encoding"))
    told = mine.run("make", "invoke")
    assert "layer is up to date" in told
    assert "code uploaded: " in told
    assert "now encoding bücher" in told
    built = zipped.read_bytes()

    mine.write("requirements.txt", BROKEN)
    told = mine.run("make", "invoke", code=2)
    assert REFUSAL in told
    assert "(requirement_not_found, build " in told
    assert zipped.read_bytes() == built
    assert REFUSAL in mine.run("make", code=2)
    mine.write("requirements.txt", "idna==3.9\n")
    told = mine.run("make", "upload")
    assert "dependencies:2\ncode is up to date" in told
    (mine.directory / "example-payload.json").write_text("{}")
    assert "KeyError: 'name'" in mine.run("make", "invoke", code=2)

    mine.run("./deploy.sh", "-s", "--package", "alone", "-f", "nobody", "function")
    assert {path.name for path in (mine.directory / "alone").iterdir()} == {"function.zip", "build.json"}

    mine.run("make", "clean")
    assert not zipped.exists()
    assert "out/function.zip" in mine.run("make", "LOCAL=1", f"PYTHON={sys.executable}")
    assert zipped.read_bytes() == built
    mine.write("requirements.txt", BROKEN)
    assert "idna==99" in mine.run("make", "LOCAL=1", f"PYTHON={sys.executable}", code=2)
    assert zipped.read_bytes() == built


@pytest.fixture(scope="module")
def sam() -> Path:
    """The SAM CLI, in a virtual environment of its own that stays."""
    try:
        return install(ROOT / ".cache" / "sam", [SAM]) / "bin" / "sam"
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"the SAM CLI cannot be had: {error}; is there a package index that has {SAM}?")


@pytest.mark.slow
def test_sam(builder: Builder, sam: Path, tmp_path: Path) -> None:  # noqa: F811
    """`sam build` has our trees and our messages; what `sam package` makes of them runs, layer included."""
    mine = example("sam", tmp_path / "an app", builder)
    home = tmp_path / "home"
    home.mkdir()
    mine.env.update({"SAM_CLI_TELEMETRY": "0", "HOME": str(home)})
    told = mine.run(sam, "build")
    assert "Build Succeeded" in told
    assert re.search(r"unpacked +dependencies into .*/an app/\.aws-sam/build/Dependencies, \d+ files\n", told)
    built = mine.tree(".aws-sam/build")
    assert "Dependencies/python/idna/__init__.py" in built
    assert "Names/lambda_function.py" in built
    assert not (mine.directory / "deploy.log").exists()

    s3, client = builder.client("s3"), builder.client("lambda")
    s3.create_bucket(Bucket="sam-deploys")
    mine.run(sam, "package", "--s3-bucket", "sam-deploys", "--output-template-file", ".aws-sam/packaged.yaml")
    resources = yaml.safe_load((mine.directory / ".aws-sam/packaged.yaml").read_text())["Resources"]

    def code(resource: str, key: str) -> dict[str, str]:
        bucket, name = resources[resource]["Properties"][key].removeprefix("s3://").split("/", 1)
        return {"S3Bucket": bucket, "S3Key": name}

    content = code("Dependencies", "ContentUri")
    layer = client.publish_layer_version(LayerName="sam-dependencies", Content=content)["LayerVersionArn"]
    properties = resources["Names"]["Properties"]
    client.create_function(
        FunctionName="sam-names",
        Role=builder.role,
        Runtime=properties["Runtime"],
        Handler=properties["Handler"],
        Layers=[layer],
        Code=code("Names", "CodeUri"),
    )
    client.get_waiter("function_active_v2").wait(FunctionName="sam-names", WaiterConfig={"Delay": 1})
    assert builder.invoke("sam-names", {"name": "bücher"})["ascii"] == "xn--bcher-kva"

    told = mine.run(sam, "build")
    assert told.count("  unchanged, ") == 4
    assert mine.tree(".aws-sam/build") == built
    (mine.directory / "requirements.txt").write_text(BROKEN)
    told = mine.run(sam, "build", code=1)
    assert "Build Failed" in told
    assert REFUSAL in told
    assert "hint: check the spelling and the version\n" in told
    events = builder.send({"action": "history", "function": "sam-example"})["history"]
    assert json.dumps(events).count("requirement_not_found") == 1
