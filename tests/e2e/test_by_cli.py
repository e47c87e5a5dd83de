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
import requests

from bootstrap.names import Place, names_for
from bootstrap.package import package, starter_layer
from bootstrap.policy.roles import POLICY_NAME, TRUST, policy
from bootstrap.policy.scope import Scope
from localaws.testing import Server, zip_of
from tests.e2e.conftest import ROOT, TOKEN, Forge, newest_runtime

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
    scope = Scope(functions=("shop-*",), roles=(APP_ROLE,))

    def put_policy(*, setting_up: bool) -> None:
        document = aws.file("policy.json", policy(NAMES, scope, setting_up=setting_up))
        aws("iam", "put-role-policy", "--role-name", "cli-smith", "--policy-name", POLICY_NAME,
            "--policy-document", document)  # fmt: skip

    aws("s3api", "create-bucket", "--bucket", BUCKET)
    aws("secretsmanager", "create-secret", "--name", NAMES.secret, "--secret-string",
        aws.file("secret.json", {"username": "team", "token": TOKEN, "email": ""}))  # fmt: skip
    trust = aws.file("trust.json", TRUST)
    aws("iam", "create-role", "--role-name", "cli-app", "--assume-role-policy-document", trust)
    role = aws("iam", "create-role", "--role-name", "cli-smith", "--assume-role-policy-document", trust)["Role"]["Arn"]
    put_policy(setting_up=True)
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
    put_policy(setting_up=False)
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


def test_whoever_sends_a_large_project_needs_to_write_to_one_folder_of_the_store(cli: Cli, tmp_path: Path) -> None:
    """The rights that docs/iam.md names are enough; without, it is said which one is missing."""
    project = tmp_path / "shop-sent"
    project.mkdir()
    build_file = f"function:\n  runtimes: [{newest_runtime()}]\n  handler: app.handler\n  files: [app.py]\n"
    (project / "build.yaml").write_text(build_file)
    (project / "app.py").write_text("def handler(event, context):\n    return 'sent'\n")
    (project / "large.bin").write_bytes(os.urandom(5_000_000))
    cli("iam", "create-user", "--user-name", "who-sends")
    key = cli("iam", "create-access-key", "--user-name", "who-sends")["AccessKey"]
    env = {**cli.env, "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    env["PATH"] = f"{Path(AWS).parent}{os.pathsep}{env['PATH']}"
    invoke = {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:smith",
    }
    store = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": f"arn:aws:s3:::{BUCKET}/{NAMES.prefix}uploads/*",
    }

    def send(*statements: object) -> subprocess.CompletedProcess[str]:
        document = {"Version": "2012-10-17", "Statement": statements}
        cli("iam", "put-user-policy", "--user-name", "who-sends", "--policy-name", "deploy",
            "--policy-document", cli.file("ann.json", document))  # fmt: skip
        command = ["bash", str(ROOT / "deploy.sh"), "-y", "-B", "smith", "-s", str(project)]
        return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    refused = send(invoke)
    assert refused.returncode == 3, refused.stderr
    assert f"s3:PutObject on {BUCKET}/{NAMES.prefix}uploads/*" in refused.stderr
    sent = send(invoke, store)
    assert sent.returncode == 0, sent.stderr
    assert cli.invoke("shop-sent", {}) == "sent"
    again = send(invoke, store)
    assert "is there already" in again.stderr


EVERYTHING = """function:
  runtimes: [{runtime}]
  handler: app.handler
  files: [app.py]
  memory: 256
  log_retention: 14
  url: {{auth: none}}
  configuration:
    TracingConfig: {{Mode: Active}}
    ReservedConcurrentExecutions: 5
    MaximumRetryAttempts: 0
    RuntimeManagementConfig: {{UpdateRuntimeOn: FunctionUpdate}}
layers:
{layers}
"""


@pytest.mark.usefixtures("cli")
def test_all_that_a_build_file_may_name_arrives_and_layers_stand_in_its_order(
    enforcing_localaws: Server, forge: Forge
) -> None:
    client = enforcing_localaws.client("lambda")
    content = {"ZipFile": zip_of({"python/tools.py": "WHO = 'elsewhere'\n"})}
    tools = client.publish_layer_version(LayerName="tools", Content=content)["LayerVersionArn"]
    elsewhere, own = f"  sdk: {tools}", "  own: {files: [python/]}"
    files = {
        "app.py": "import tools\ndef handler(event, context):\n    return tools.WHO\n",
        "python/tools.py": "WHO = 'own'\n",
    }

    def build(action: str = "build", **more: object) -> dict[str, Any]:
        event = {"action": action, "function": "shop-all", "repo_name": "shop-all", "alias": "live", **more}
        answer = client.invoke(FunctionName="smith", Payload=json.dumps(event))
        reply: dict[str, Any] = json.load(answer["Payload"])
        assert reply["statusCode"] == 200, reply
        return reply

    def who() -> str:
        return str(json.load(client.invoke(FunctionName="shop-all", Qualifier="live", Payload="{}")["Payload"]))

    build_file = EVERYTHING.format(runtime=newest_runtime(), layers=f"{own}\n{elsewhere}")
    forge.push("shop-all", {**files, "build.yaml": build_file})
    build()
    assert who() == "elsewhere"
    live = {"FunctionName": "shop-all", "Qualifier": "live"}
    url = client.get_function_url_config(**live)["FunctionUrl"]
    assert requests.get(url, timeout=20).text == "elsewhere"
    found = client.get_function(FunctionName="shop-all")
    assert found["Configuration"]["TracingConfig"] == {"Mode": "Active"}
    assert found["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert client.get_function_event_invoke_config(**live)["MaximumRetryAttempts"] == 0
    logs = enforcing_localaws.client("logs")
    [group] = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/shop-all")["logGroups"]
    assert group["retentionInDays"] == 14

    assert build(force=True)["changed"] == []
    client.put_function_concurrency(FunctionName="shop-all", ReservedConcurrentExecutions=9)
    told = [(row["key"], row["now"], row["then"]) for row in build("plan")["plan"]["configuration"]]
    assert told == [("ReservedConcurrentExecutions", 9, 5)]

    build_file = EVERYTHING.format(runtime=newest_runtime(), layers=f"{elsewhere}\n{own}")
    forge.push("shop-all", {"build.yaml": build_file})
    build()
    assert who() == "own"
    assert client.get_function_concurrency(FunctionName="shop-all")["ReservedConcurrentExecutions"] == 5


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
