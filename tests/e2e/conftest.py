"""A builder, bootstrapped by setup.py in the embedded AWS, and a private forge: real, once per session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localaws.runtime.interpreters import find
from localaws.testing import Server, git_server
from tests.schemas.refusals import refused_by

if TYPE_CHECKING:
    from tests.bootstrapped import Bootstrapped

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "tok_e2e_9d1f7c55aa_secret"
_WHO = ("-c", "user.name=test", "-c", "user.email=test@localhost")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@cache
def newest_runtime() -> str:
    """The newest Lambda runtime of which this machine has an interpreter."""
    found = find(os.environ)
    for minor in (14, 13, 12, 11):
        if f"3.{minor}" in found:
            return f"python3.{minor}"
    pytest.skip("no CPython from 3.11 on; install python3")


@dataclass
class Forge:
    """A served directory of private bare repositories."""

    url: str
    root: Path
    work: Path

    def push(self, name: str, files: Mapping[str, str | None], *, branch: str = "main") -> str:
        """Commit `files` (None removes one) to a branch of repository `name`; the commit's id."""
        bare, clone = self.root / f"{name}.git", self.work / name
        if not bare.exists():
            self._git("init", "-q", "--bare", "-b", "main", str(bare), cwd=self.root)
            self._git("clone", "-q", str(bare), str(clone), cwd=self.work)
        self._git("checkout", "-q", "-B", branch, cwd=clone)
        for path, content in files.items():
            target = clone / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.unlink()
            else:
                target.write_text(content)
        self._git("add", "-A", cwd=clone)
        self._git(*_WHO, "commit", "-q", "--allow-empty", "-m", "change", cwd=clone)
        self._git("push", "-q", "-f", "origin", branch, cwd=clone)
        return self._git("rev-parse", "HEAD", cwd=clone)

    def _git(self, *arguments: str, cwd: Path) -> str:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@dataclass
class Builder:
    """A bootstrapped builder function and ways to talk to it."""

    aws: Server
    forge: Forge
    runtime: str
    role: str
    name: str = "lambdasmith"
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.clients.setdefault(service, self.aws.client(service))

    def send(self, event: Mapping[str, object], *, function: str | None = None) -> dict[str, Any]:
        """The builder's reply, of the schema's form. A Lambda error would be a bug of ours and fails the test."""
        answer = self.client("lambda").invoke(
            FunctionName=function or self.name, Payload=json.dumps(event), LogType="Tail"
        )
        reply = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, reply
        assert not refused_by("reply", reply), (refused_by("reply", reply), reply)
        return dict(reply)

    def build(self, repository: str, **event: object) -> dict[str, Any]:
        return self.send({"action": "build", "function": repository, "repo_name": repository, **event})

    def invoke(self, function: str, payload: object = None, **arguments: str) -> Any:
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload), **arguments)
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.loads(answer["Payload"].read())

    def state(self, function: str) -> dict[str, Any] | None:
        """What AWS says of the function, without what changes by asking; None if it does not exist."""
        client = self.client("lambda")
        try:
            configuration = client.get_function(FunctionName=function)["Configuration"]
        except client.exceptions.ResourceNotFoundException:
            return None
        layers = client.list_layers()["Layers"]
        return {"configuration": configuration, "layers": layers}


def setup(aws: Server, *arguments: str, config: Path, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run setup.py as an operator would."""
    environment = {**os.environ, **aws.env, "LAMBDASMITH_GITHUB_GIT_TOKEN": TOKEN}
    return subprocess.run(
        [sys.executable, str(ROOT / "setup.py"), *arguments, "--config", str(config)],
        env=environment,
        cwd=config.parent,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    root, work = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("clones")
    with git_server(root, TOKEN) as server:
        yield Forge(url=server.url, root=root, work=work)


def make_builder(aws: Server, forge: Forge, folder: Path, *extra: str) -> Builder:
    """Bootstrap a builder by setup.py, from nothing or, much sooner, from the builder of a `bootstrapped` account."""
    runtime, iam = newest_runtime(), aws.client("iam")
    try:
        role = iam.get_role(RoleName="app-role")
    except iam.exceptions.NoSuchEntityException:
        role = iam.create_role(RoleName="app-role", AssumeRolePolicyDocument=json.dumps(TRUST))
    arn = str(role["Role"]["Arn"])
    config = folder / "config.ini"
    config.write_text(
        f"[github]\ngit_username = team\ngit_base = {forge.url}\n[builder]\nruntime = {runtime}\n"
        f"functions = *\nrole = {arn}\nroles = not-there\narchive_caches = gopher\n" + "".join(extra)
    )
    done = setup(aws, "init", "--yes", config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    return Builder(aws=aws, forge=forge, runtime=runtime, role=arn)


def skip_if_plain(server: Server) -> None:
    if "isolation plain" in server.ready_line:
        pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")


@pytest.fixture(scope="session")
def account(bootstrapped: Bootstrapped) -> Iterator[Server]:
    """An embedded AWS of its own: other tests set builders of the same name up and take them away."""
    with bootstrapped() as server:
        yield server


@pytest.fixture(scope="session")
def builder(account: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return make_builder(account, forge, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="session")
def runtime() -> str:
    return newest_runtime()
