"""Bootstrap, build, deploy and invoke by `aws` CLI calls alone, with IAM enforced: the policy is enough, no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootstrap.names import Place, names_for
from bootstrap.package import package, starter_layer
from bootstrap.policy import POLICY_NAME, TRUST, policy
from localaws.testing import Server
from tests.e2e.conftest import TOKEN, Forge, newest_runtime

AWS = shutil.which("aws", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or ""
ACCOUNT, REGION = "123456789012", "us-east-1"
BUCKET = "cli-builds-bucket"
APP_ROLE = f"arn:aws:iam::{ACCOUNT}:role/cli-app"
NAMES = names_for(function="smith", bucket=BUCKET, place=Place(partition="aws", account=ACCOUNT, region=REGION))
PROJECT = {
    "app.py": "import idna\ndef handler(event, context):\n    return idna.encode('ö').decode()\n",
    "requirements.txt": "idna\n",
}


@dataclass(frozen=True)
class Cli:
    """The AWS CLI, pointed at the embedded AWS."""

    env: Mapping[str, str]
    folder: Path

    def __call__(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [AWS, *words, "--output", "json"],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, (words[:2], done.stderr)
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {}

    def file(self, name: str, value: object) -> str:
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return f"file://{name}"

    def invoke(self, function: str, event: object) -> Any:
        self.file("event.json", event)
        answer = self("lambda", "invoke", "--function-name", function, "--cli-read-timeout", "0",
                      "--payload", "fileb://event.json", "answer.json")  # fmt: skip
        body = json.loads((self.folder / "answer.json").read_text())
        assert "FunctionError" not in answer, body
        return body


@pytest.fixture(scope="module")
def cli(enforcing_localaws: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The CLI, after a builder `smith` that may deploy `shop-*` was set up with it, call by call."""
    folder = tmp_path_factory.mktemp("cli")
    env = {**os.environ, **enforcing_localaws.env}
    aws = Cli(env=env, folder=folder)
    runtime = newest_runtime()
    (folder / "function.zip").write_bytes(package().code)
    work = folder / "work"
    work.mkdir()
    starter_layer(folder / "starter.zip", runtime=runtime, work=work, environment=os.environ, index_url=None)
    document = policy(NAMES, functions=["shop-*"], roles=[APP_ROLE])

    aws("s3api", "create-bucket", "--bucket", BUCKET)
    aws("secretsmanager", "create-secret", "--name", NAMES.secret, "--secret-string",
        aws.file("secret.json", {"username": "team", "token": TOKEN, "email": ""}))  # fmt: skip
    trust = aws.file("trust.json", TRUST)
    aws("iam", "create-role", "--role-name", "cli-app", "--assume-role-policy-document", trust)
    role = aws("iam", "create-role", "--role-name", "cli-smith", "--assume-role-policy-document", trust)["Role"]["Arn"]
    aws("iam", "put-role-policy", "--role-name", "cli-smith", "--policy-name", POLICY_NAME,
        "--policy-document", aws.file("policy.json", document))  # fmt: skip
    aws("logs", "create-log-group", "--log-group-name", NAMES.log_group)
    layer = aws("lambda", "publish-layer-version", "--layer-name", NAMES.layer, "--zip-file", "fileb://starter.zip")
    variables = {
        "LAMBDASMITH_BUCKET": BUCKET,
        "LAMBDASMITH_PREFIX": NAMES.prefix,
        "LAMBDASMITH_LAYER": NAMES.layer,
        "LAMBDASMITH_GIT_SECRET": NAMES.secret,
        "LAMBDASMITH_GIT_BASE": forge.url,
        "LAMBDASMITH_ROLE": APP_ROLE,
    }
    aws("lambda", "create-function", "--function-name", "smith", "--runtime", runtime, "--role", role,
        "--handler", "builder.handler.handler", "--zip-file", "fileb://function.zip", "--timeout", "300",
        "--memory-size", "1024", "--ephemeral-storage", "Size=1024", "--layers", layer["LayerVersionArn"],
        "--environment", aws.file("environment.json", {"Variables": variables}))  # fmt: skip
    aws("lambda", "wait", "function-active-v2", "--function-name", "smith")
    early = aws.invoke("smith", {"action": "build", "function": "shop-web", "repo_name": "shop-web"})
    assert early["error"]["code"] == "builder_not_set_up"
    assert "init" in early["error"]["hint"]
    ready = aws.invoke("smith", {"action": "setup"})
    assert ready["statusCode"] == 200, ready
    aws("lambda", "wait", "function-updated-v2", "--function-name", "smith")
    return aws


def push(forge: Forge, name: str) -> None:
    build_file = (
        f"function:\n  runtimes: [{newest_runtime()}]\n  handler: app.handler\n  files: [app.py]\n"
        "  tags: {team: shop}\nlayers:\n  dependencies: [requirements.txt]\n"
    )
    forge.push(name, {**PROJECT, "build.yaml": build_file})


def test_the_shipped_policy_is_enough(cli: Cli, forge: Forge) -> None:
    push(forge, "shop-web")
    reply = cli.invoke("smith", {"action": "build", "function": "shop-web", "repo_name": "shop-web", "alias": "live"})
    assert reply["statusCode"] == 200, reply
    assert cli.invoke("shop-web:live", {}) == "xn--nda"
    again = cli.invoke("smith", {"action": "build", "function": "shop-web", "repo_name": "shop-web", "alias": "live"})
    assert again["statusCode"] == 200, again
    assert {row["action"] for row in again["artifacts"]} == {"reuse"}
    forge.push("shop-web", {"app.py": PROJECT["app.py"].replace("ö", "ü")})
    changed = cli.invoke("smith", {"action": "build", "function": "shop-web", "repo_name": "shop-web", "alias": "live"})
    assert changed["function"]["version"] == "2", changed
    assert cli.invoke("shop-web:live", {}) == "xn--tda"


def test_a_function_outside_its_scope_cannot_be_touched(cli: Cli, forge: Forge) -> None:
    push(forge, "bank-vault")
    (cli.folder / "vault.py").write_text("def handler(event, context):\n    return 'theirs'\n")
    shutil.make_archive(str(cli.folder / "vault"), "zip", cli.folder, "vault.py")
    cli("lambda", "create-function", "--function-name", "bank-vault", "--runtime", newest_runtime(), "--role", APP_ROLE,
        "--handler", "vault.handler", "--zip-file", "fileb://vault.zip")  # fmt: skip
    cli("lambda", "wait", "function-active-v2", "--function-name", "bank-vault")
    before = cli("lambda", "get-function-configuration", "--function-name", "bank-vault")
    reply = cli.invoke("smith", {"action": "build", "function": "bank-vault", "repo_name": "bank-vault"})
    assert reply["statusCode"] == 403, reply
    assert reply["error"]["code"] == "access_denied"
    assert "bank-vault" in reply["error"]["message"]
    assert cli("lambda", "get-function-configuration", "--function-name", "bank-vault") == before
    assert cli.invoke("bank-vault", {}) == "theirs"


def test_a_role_that_the_builder_may_not_pass_is_refused(cli: Cli, forge: Forge) -> None:
    cli("iam", "create-role", "--role-name", "admin", "--assume-role-policy-document", "file://trust.json")
    build_file = (
        f"function:\n  runtimes: [{newest_runtime()}]\n  handler: app.handler\n  files: [app.py]\n"
        f"  role: arn:aws:iam::{ACCOUNT}:role/admin\n"
    )
    forge.push("shop-admin", {"app.py": "def handler(event, context):\n    return 1\n", "build.yaml": build_file})
    reply = cli.invoke("smith", {"action": "build", "function": "shop-admin", "repo_name": "shop-admin"})
    assert reply["statusCode"] == 403, reply
    assert reply["error"]["code"] == "access_denied"
