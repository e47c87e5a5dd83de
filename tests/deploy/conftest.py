"""Projects to deploy, deploy.sh as a child process, and a builder that answers by scenario."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy.sh"
BUCKET = "deploy-sh-tests"
HANGS_S = 600  # nothing is timed: on a machine that does much else, everything takes its time
# Every awk that is installed has to read the same: macOS has the one true awk, Debian mawk, Alpine busybox.
AWKS = [name for name in ("awk", "gawk", "mawk", "original-awk", "busybox") if shutil.which(name)]
# What of builder/flow makes the text of a reply.
FLOW = ("__init__", "functions_report", "page", "phrases", "report", "shell")
LAMBDA_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The builder's double: its environment for clients, and the events that reached it."""

    env: Mapping[str, str]
    s3: Any

    def events(self) -> list[dict[str, Any]]:
        """What was sent since the last `forget`, in order, without the questions that deploy.sh has itself."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="events/").get("Contents", [])
        events = [json.loads(self.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()) for item in found]
        sent = [event for event in events if event["action"] not in ("status", "ping")]
        assert all(event.pop("text") == "shell" for event in sent)
        return sent

    def release(self, build_id: str) -> None:
        """Lets a build of the function `long` end."""
        self.s3.put_object(Bucket=BUCKET, Key=f"released/{build_id}", Body=b"")

    def forget(self) -> None:
        for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix="events/").get("Contents", []):
            self.s3.delete_object(Bucket=BUCKET, Key=item["Key"])


@pytest.fixture(scope="session")
def _builder(localaws: Server) -> Builder:
    s3, iam, functions = localaws.client("s3"), localaws.client("iam"), localaws.client("lambda")
    s3.create_bucket(Bucket=BUCKET)
    role = iam.create_role(RoleName="deploy-sh-tests", AssumeRolePolicyDocument=json.dumps(LAMBDA_TRUST))["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.write(Path(__file__).with_name("builder_double.py"), "builder_double.py")
        for name in ("__init__", "amounts", "characters", *(f"flow/{each}" for each in FLOW)):
            code.write(ROOT / "builder" / f"{name}.py", f"builder/{name}.py")
    for name in ("lambdasmith", "other-builder"):
        functions.create_function(
            FunctionName=name,
            Runtime=f"python3.{min(sys.version_info.minor, 14)}",
            Handler="builder_double.handler",
            Role=role,
            Code={"ZipFile": archive.getvalue()},
            Timeout=180,
            Environment={"Variables": {"BUCKET": BUCKET}},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return Builder(env=localaws.env, s3=s3)


@pytest.fixture
def builder(_builder: Builder) -> Builder:
    """The double, with an empty memory."""
    _builder.forget()
    return _builder


@dataclass(frozen=True, kw_only=True)
class Project:
    """A directory with its own copy of deploy.sh, and a clean environment to run it in."""

    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.directory / "deploy.log").read_text(encoding="utf-8")

    def config(self, text: str) -> None:
        (self.directory / "config.ini").write_text(text, encoding="utf-8")

    def git(self, *arguments: str) -> str:
        who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": os.devnull}
        who |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com"}
        done = subprocess.run(
            ["git", "-C", self.directory, *arguments], env=self.env | who, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def repository(self, *, origin: str | None, branch: str = "main") -> None:
        """Makes the directory a git work tree with one commit."""
        self.git("init", "-q", "-b", branch)
        self.git("commit", "-q", "--allow-empty", "-m", "one")
        if origin:
            self.git("remote", "add", "origin", origin)

    def run(
        self, *arguments: str, cwd: Path | None = None, script: Path | str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """deploy.sh to its end, without a terminal."""
        return subprocess.run(
            ["bash", script or self.directory / "deploy.sh", *arguments],
            cwd=cwd or self.directory,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=HANGS_S,
            check=False,
        )

    def function(self, code: str, *arguments: str, **env: str) -> str:
        """The output of bash `code` that may use the functions of deploy.sh; `$1` and so on are the arguments."""
        done = subprocess.run(
            ["bash", "-c", f'. "$1"; shift\n{code}', "test", SCRIPT, *arguments],
            env=self.env | env,
            capture_output=True,
            encoding="utf-8",
            timeout=HANGS_S,
            check=True,
        )
        assert not done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project that cannot reach AWS."""
    directory = tmp_path / "orders"
    directory.mkdir()
    shutil.copy(SCRIPT, directory)
    (directory / "build.yaml").write_text("function: {}\n", encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    env = {
        "PATH": path,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path),
        "GIT_CEILING_DIRECTORIES": str(tmp_path),
    }
    yield Project(directory=directory, env=env)
    assert not list(tmp_path.glob("lambdasmith.*")), "deploy.sh left its temporary directory"


@pytest.fixture
def connected(project: Project, builder: Builder) -> Project:
    """A project whose AWS CLI talks to the embedded AWS."""
    project.env.update(builder.env)
    return project


def on_a_terminal(project: Project, arguments: list[str], *, answers: list[tuple[str, str | int]]) -> tuple[int, str]:
    """Runs deploy.sh on a terminal; each answer is typed (or each signal sent) once its text has appeared."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        ["bash", project.directory / "deploy.sh", *arguments],
        env=project.env | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen, position, deadline = "", 0, time.monotonic() + HANGS_S
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not data:
                break
            seen += data.decode()
        if answers and (found := seen.find(answers[0][0], position)) >= 0:
            position = found + 1
            answer = answers.pop(0)[1]
            if isinstance(answer, str):
                os.write(ours, answer.encode())
            else:
                os.killpg(child.pid, answer)
    os.close(ours)
    try:
        return child.wait(HANGS_S), seen
    finally:
        child.kill()
        child.wait()


def with_awk(project: Project, name: str) -> dict[str, str]:
    tools = project.directory / "awk"
    tools.mkdir(exist_ok=True)
    (tools / "awk").unlink(missing_ok=True)
    (tools / "awk").symlink_to(shutil.which(name) or "")
    return {"PATH": f"{tools}:{project.env['PATH']}"}
