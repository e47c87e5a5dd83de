"""deploy.sh, as users run it, against a real builder."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Builder

CODE = """import idna
def handler(event, context):
    if event == "break":
        raise RuntimeError("asked to")
    return 1
"""


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A user's clone of a repository, with deploy.sh in it; the function is named after it."""

    builder: Builder
    name: str
    directory: Path
    env: dict[str, str] = field(repr=False)

    def deploy(self, *arguments: str, code: int = 0, **env: str) -> str:
        """What deploy.sh prints, messages last."""
        done = subprocess.run(
            ["bash", self.directory / "deploy.sh", *arguments],
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def number(self, number: int) -> None:
        """Let the function answer that."""
        self.write("app.py", CODE.replace("return 1", f"return {number}"))

    def push(self) -> str:
        """Commit and push all changes; the commit's id."""
        return self.builder.forge.push(self.name, {})

    def answer(self, alias: str = "live") -> object:
        return self.builder.invoke(self.name, Qualifier=alias)


@pytest.fixture
def clone(builder: Builder, request: pytest.FixtureRequest) -> Iterator[Clone]:
    """Of a new repository, pushed. Whoever works with it is Ann."""
    name = f"client-{request.function.__name__.removeprefix('test_')[:20].strip('_')}"
    files = {
        "build.yaml": f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n",
        "requirements.txt": "idna==3.10\n",
        "app.py": CODE,
        "deploy.sh": (ROOT / "deploy.sh").read_text(),
        ".gitignore": "*.tmp\ndeploy.log\n",
    }
    builder.forge.push(name, files)
    directory = builder.forge.work / name
    subprocess.run(["git", "config", "user.email", "ann@example.com"], cwd=directory, check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    yield Clone(builder=builder, name=name, directory=directory, env={**os.environ, **builder.aws.env, "PATH": path})
    (directory / "deploy.log").unlink(missing_ok=True)


def test_files_that_are_here_or_in_git_make_the_same_artifact(clone: Clone) -> None:
    commit = clone.push()
    told = clone.deploy("-y", "-a", "live")
    assert told.startswith(f"deployed {clone.name} from commit {commit[:12]}\n")
    assert clone.answer() == 1
    told = clone.deploy("-y", "-a", "live", "-s")
    assert "nothing had to be changed" in told
    clone.number(2)
    clone.write("notes.tmp", "ignored")
    told = clone.deploy("-y", "-a", "live", "-s", "-t")
    assert f"deployed {clone.name} from the files sent (tree " in told
    assert re.search(r"dependencies +unchanged", told)
    assert clone.answer() == 2
    tree = told.partition("(tree ")[2][:12]
    clone.push()
    told = clone.deploy("-y", "-a", "live")
    assert "nothing had to be changed" in told
    newest, first = clone.deploy("--history").splitlines()[2:4]
    assert "ann@example.com" in newest
    assert tree in newest
    assert commit[:12] in first
    assert f"update code of {clone.name}" in newest


def test_the_way_back(clone: Clone) -> None:
    clone.deploy("-y", "-a", "live", LAMBDASMITH_BUILD_ID="back-1")
    told = clone.deploy("-a", "live", "--verify")
    assert f"{clone.name} is what commit" in told
    clone.number(12)
    clone.write("requirements.txt", "idna==3.7\n")
    clone.push()
    told = clone.deploy("-n", "-a", "live")
    assert re.search(r"function +build.* \(changed: app\.py\)", told)
    assert re.search(r"dependencies +build.* \(changed: idna 3\.10 → 3\.7\)", told)
    assert re.search(r"alias +live: 1 -> a new version", told)
    clone.write("break.json", '"break"')
    told = clone.deploy("-y", "-a", "live", "-i", str(clone.directory / "break.json"), code=1)
    assert "asked to" in told
    assert "invoke_failed" in told
    assert clone.answer() == 1
    told = clone.deploy("-y", "-a", "live", "-w", "0.25", LAMBDASMITH_BUILD_ID="back-2")
    assert "25 % of its traffic" in told
    assert {clone.answer() for _ in range(60)} == {1, 12}
    clone.deploy("-y", "-a", "live")
    assert clone.answer() == 12
    told = clone.deploy("-a", "live", "--rollback", "back-1", "-y")
    assert told.startswith(f"rolled back {clone.name} from build ")
    assert " to build back-1 (commit " in told
    assert clone.answer() == 1
    assert f"deployed {clone.name} from commit" in clone.deploy("--status", "back-2")
    assert re.search(rf"back-2 +ann@example.com +{clone.name}", clone.deploy("--status"))
    _change_by_hand(clone)
    told = clone.deploy("-a", "live", "--verify", code=1)
    assert "is NOT what commit" in told
    assert re.search(r"function +\w+ +\w+ +DIFFERENT", told)


def _change_by_hand(clone: Clone) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): return 666\n")
    client = clone.builder.client("lambda")
    client.update_function_code(FunctionName=clone.name, ZipFile=out.getvalue())
    client.get_waiter("function_updated_v2").wait(FunctionName=clone.name)
    version = client.publish_version(FunctionName=clone.name)["Version"]
    client.update_alias(FunctionName=clone.name, Name="live", FunctionVersion=version)


SHOP = """defaults: {{runtimes: [{runtime}], layers: []}}
functions:
  {name}-api: {{source_dir: api, handler: app.handler}}
  {name}-worker: {{source_dir: worker, handler: app.handler}}
stages: {{prod: {{defaults: {{memory: 512}}}}}}
"""


def test_a_project_of_two_functions(clone: Clone) -> None:
    api, worker = f"{clone.name}-api", f"{clone.name}-worker"

    def write(function: str, text: str) -> None:
        (clone.directory / function).mkdir(exist_ok=True)
        clone.write(f"{function}/app.py", f"def handler(event, context):\n    return {text!r}\n")

    def answers() -> tuple[object, object]:
        return clone.builder.invoke(api), clone.builder.invoke(worker)

    clone.write("build.yaml", SHOP.format(runtime=clone.builder.runtime, name=clone.name))
    (clone.directory / "requirements.txt").unlink()
    write("api", "a1")
    write("worker", "w1")
    clone.push()
    told = clone.deploy("-y", LAMBDASMITH_BUILD_ID="shop-1")
    assert re.search(rf"project +{clone.name}\n", told)
    assert told.startswith(f"{clone.name} from commit ")
    assert answers() == ("a1", "w1")

    write("api", "a2")
    write("worker", "w2")
    clone.push()
    told = clone.deploy("-n")
    assert re.search(rf"{api} +to update", told)
    assert answers() == ("a1", "w1")
    clone.deploy("-y", worker)
    assert answers() == ("a1", "w2")
    told = clone.deploy("-y")
    assert re.search(rf"{api} +deployed", told)
    assert re.search(rf"{worker} +unchanged", told)
    told = clone.deploy("--rollback", "shop-1", "-n")
    assert re.search(rf"{api} +to update", told)
    assert re.search(rf"{worker} +to update", told)
    assert answers() == ("a2", "w2")
    told = clone.deploy("-y", "--rollback", "shop-1")
    assert "back to build shop-1" in told
    assert answers() == ("a1", "w1")
    assert "shop-1" in clone.deploy("--history")
    clone.deploy("--package", str(clone.directory / "out.tmp"), worker)
    assert (clone.directory / "out.tmp" / worker / "function.zip").exists()

    told = clone.deploy("-y", "--stage", "prod")
    assert re.search(r"stage +prod\n", told)
    assert clone.builder.invoke(f"{api}-prod") == "a2"
    clone.write("api/app.py", "import not_there\n")
    write("worker", "w3")
    told = clone.deploy("-y", "-s", code=1)
    assert "1 of 2 functions failed, and nothing was changed" in told
    assert "not_there" in told
    assert answers() == ("a1", "w1")
    told = clone.deploy("-y", "-s", "--independent", code=1)
    assert "not_there" in told
    assert answers() == ("a1", "w3")


def test_a_template_is_written_with_the_places_of_what_was_built(clone: Clone) -> None:
    text = (
        "# As it was.\nTransform: AWS::Serverless-2016-10-31\nResources:\n  Api:\n    Type: AWS::Serverless::Function\n"
        f"    Properties: {{CodeUri: ., Handler: app.handler, Runtime: {clone.builder.runtime}}}\n"
    )
    (clone.directory / "build.yaml").unlink()
    clone.write("infra.yaml", text)
    out = clone.directory / "out.yaml.tmp"
    said = clone.deploy("-s", "--template", "infra.yaml", "--package-template", str(out))
    assert f"  wrote         {out}\n" in said
    written = out.read_text()
    assert written.startswith(
        "# As it was.\nTransform: AWS::Serverless-2016-10-31\nResources:\n  LambdasmithDependencies"
    )
    assert re.search(
        r'Properties: \{"?Layers"?: \[\{"Ref": "\w+"\}\], CodeUri: \{"Bucket": "[^"]+", "Key": "\S+"\}', written
    )
    clone.deploy("-s", "--package-template", str(out), code=2)
    refused = clone.deploy("-s", "--template", "infra.yaml", "-y", code=2)
    assert "infra.yaml is a CloudFormation template: its functions are deployed by its stack" in refused
    clone.deploy("--package-template", code=2)


def test_what_is_too_large_for_an_event_is_sent_by_the_store_once(clone: Clone) -> None:
    service = clone.directory / "services" / "mail"
    service.mkdir(parents=True)
    for name in ("build.yaml", "deploy.sh", "app.py"):
        (clone.directory / name).rename(service / name)
    (service / "requirements.txt").write_text("-r ../../requirements.txt\n")
    (clone.directory / "large.bin").write_bytes(os.urandom(6_500_000))
    mail = Clone(builder=clone.builder, name="mail", directory=service, env=clone.env)
    told = mail.deploy("-y", "-a", "live", "-s")
    assert re.search(r"sends +\S+, 6\.5 MB, tree", told)
    assert "uploading to s3://" in told
    assert mail.answer() == 1
    told = mail.deploy("-y", "-a", "live", "-s")
    assert re.search(r"s3://\S+ is there already", told)
    assert "nothing had to be changed" in told
    (clone.directory / ".lambdaignore").write_text("large.bin\n")
    told = mail.deploy("-y", "-a", "live", "-s")
    assert "s3://" not in told
    assert "nothing had to be changed" in told
    bucket = clone.builder.send({"action": "ping"})["settings"]["bucket"]
    listed = clone.builder.client("s3").list_objects_v2(Bucket=bucket, Prefix="lambdasmith/uploads/")["Contents"]
    [key] = [each["Key"] for each in listed if re.search(r"/[0-9a-f]{40}\.tar\.gz$", each["Key"])]
    (clone.directory / ".lambdaignore").unlink()
    clone.builder.client("s3").put_object(Bucket=bucket, Key=key, Body=_packed({"services/mail/app.py": "evil"}))
    told = mail.deploy("-y", "-a", "live", "-s", code=1)
    assert f"{key} has content that does not match its name" in told


def _packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-y", "-a", "live", "-w", "10%"], "alias: weight: must be a number above 0 and below 1, not '10%'"),
        (["-y", "-a", "live", "-w", "1"], "alias: weight: must be a number above 0 and below 1, not 1"),
        (["-y", "-w", ".1"], "alias: name: '' is not allowed"),
        (["--history", "0"], "count: "),
        (["--history", "many"], "count: "),
        (["--history", "-b", "main"], "ref: does not apply to the action 'history'"),
        (["--rollback", "-y", "b 1"], "build: 'b 1' is not allowed"),
        (["--verify", "b-1", "b-2"], "build: 'b-1 b-2' is not allowed"),
        (["--verify", "--force"], "force: does not apply to the action 'verify'"),
        (["--status", "--stage", "dev"], "stage: does not apply to the action 'status'"),
        (["--package", "out.tmp", "-v"], "version: does not apply to the action 'package'"),
    ],
)
def test_what_the_builder_refuses_is_wrong_usage(
    builder: Builder, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "deploy.sh").write_text((ROOT / "deploy.sh").read_text())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clone = Clone(builder=builder, name="", directory=tmp_path, env={**os.environ, **builder.aws.env, "PATH": path})
    assert message in clone.deploy("-f", "wrong", *arguments, code=2)


def test_the_text_of_a_reply_is_for_whoever_asks(builder: Builder) -> None:
    """The same reply, and what it says; also where the event is wrong."""
    told = builder.send({"action": "status", "text": True, "reply": ["version"]})
    assert set(told) == {"statusCode", "version", "text"}
    assert told["text"]["plain"].startswith(f"  builder       {told['version']}\n")
    assert "text" not in builder.send({"action": "ping"})
    told = builder.send({"action": "build", "text": "true", "nonsense": "\x1b[31m\u202e"})
    assert told["text"]["plain"].startswith("the request has 3 problems:\n")
    assert told["text"]["plain"].endswith("\n(invalid_event)\n")
    assert "\x1b[1;31mthe request" in told["text"]["colour"]
