"""Runs that are killed, interrupted, refused or answered with no; and what destroy leaves alone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bootstrap.changes import CreateFunction, Step
from bootstrap.config.settings import Config
from bootstrap.look import whereabouts
from bootstrap.names import names_for
from bootstrap.package import package
from bootstrap.plan.converge import converge
from bootstrap.plan.wanted import wanted
from bootstrap.policy.roles import TRUST
from bootstrap.state import Present
from bootstrap.steps.carry_out import carry_out
from bootstrap.steps.hands import Hands
from builder.aws import connect
from localaws.testing import Server
from tests.bootstrap.conftest import MakeOperator, Operator

pytestmark = pytest.mark.apart


def started(operator: Operator, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        operator.command(*arguments),
        cwd=operator.home / "work",
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_after_first_step(operator: Operator, *arguments: str) -> str | None:
    """The step after whose end the run was killed; None if it ended by itself, well."""
    child = started(operator, *arguments)
    assert child.stderr is not None
    with child, child.stderr:
        for line in child.stderr:
            if line.startswith("  ok "):
                child.kill()
                child.wait()
                return line
    assert child.returncode == 0
    return None


def leftovers(server: Server, function: str) -> list[str]:
    """Everything in the account whose name begins with the function's."""
    lambda_ = server.client("lambda")
    found = [item["FunctionName"] for item in lambda_.list_functions()["Functions"]]
    found += [item["LayerName"] for item in lambda_.list_layers()["Layers"]]
    found += [item["Name"] for item in server.client("s3").list_buckets()["Buckets"]]
    found += [item["RoleName"] for item in server.client("iam").list_roles()["Roles"]]
    found += [item["Name"] for item in server.client("secretsmanager").list_secrets()["SecretList"]]
    found += [item["name"] for item in server.client("stepfunctions").list_state_machines()["stateMachines"]]
    groups = server.client("logs").describe_log_groups()["logGroups"]
    found += [group["logGroupName"].rpartition("/")[2] for group in groups]
    return [name for name in found if name.startswith(function)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_how_to_go_on_and_leaves_no_files(
    localaws: Server, make_operator: MakeOperator, number: signal.Signals
) -> None:
    operator = make_operator(localaws, f"stopped-{number}")
    child = started(operator, "init", "-y")
    assert child.stderr is not None
    with child, child.stderr:
        for line in child.stderr:
            if "downloading" in line:
                assert operator.left_behind() != []  # else the test shows nothing
                child.send_signal(number)
                child.send_signal(signal.SIGINT)  # the impatient press twice
                break
        rest = child.stderr.read()
    assert child.returncode == 130
    assert "run the same command again to finish" in rest
    assert operator.left_behind() == []
    operator.run("destroy", "-y")
    assert leftovers(localaws, f"stopped-{number}") == []


def test_without_a_terminal_nothing_is_done_unasked(localaws: Server, make_operator: MakeOperator) -> None:
    operator = make_operator(localaws, "unasked")
    ended = operator.run("init")
    assert ended.returncode == 2
    assert "add -y to agree" in ended.stderr
    assert "  - make role unasked-us-east-1" in ended.stderr
    assert ended.stdout == ""
    assert leftovers(localaws, "unasked") == []


def answered(operator: Operator, command: str, *dialogue: tuple[str, str]) -> tuple[int, str]:
    """Exit status and everything that a person at a terminal saw who gave (question, answer) in turn."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        operator.command(command),
        cwd=operator.home / "work",
        env=operator.environment() | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen, left = b"", list(dialogue)
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not read:
            break
        seen += read
        if left and left[0][0].encode() in seen:
            os.write(master, f"{left.pop(0)[1]}\n".encode())
    os.close(master)
    return child.wait(30), seen.decode()


def test_no_at_the_terminal_means_no(localaws: Server, make_operator: MakeOperator) -> None:
    operator = make_operator(localaws, "declined", LAMBDASMITH_GITHUB_GIT_TOKEN="tok")
    status, seen = answered(operator, "init", ("go on? [y/N]", "n"))
    assert status == 1
    assert "nothing was changed" in seen
    assert leftovers(localaws, "declined") == []


def test_a_first_init_asks_for_the_token_and_does_not_show_it(localaws: Server, make_operator: MakeOperator) -> None:
    operator = make_operator(localaws, "prompted")
    status, seen = answered(operator, "init", ("git token for private", "tok-typed"), ("go on? [y/N]", "n"))
    assert status == 1
    assert "put the git token into secret prompted/git" in seen
    assert "tok-typed" not in seen


def test_destroy_wants_the_functions_name_and_shows_a_live_list(localaws: Server, make_operator: MakeOperator) -> None:
    operator = make_operator(localaws, "typed", LAMBDASMITH_GITHUB_GIT_TOKEN="tok")
    assert kill_after_first_step(operator, "init", "-y")
    assert answered(operator, "destroy", ("type typed to agree", "yes"))[0] == 1
    assert leftovers(localaws, "typed") != []
    status, seen = answered(operator, "destroy", ("type typed to agree", "typed"))
    assert status == 0
    assert "✓" in seen
    assert "removed all of typed" in seen
    assert leftovers(localaws, "typed") == []


def test_destroy_says_what_holds_the_role(localaws: Server, make_operator: MakeOperator) -> None:
    operator, iam = make_operator(localaws, "held"), localaws.client("iam")
    run_until(operator, "make role")
    allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="held-us-east-1", PolicyName="of-a-stack", PolicyDocument=policy)
    ended = operator.run("destroy", "-y")
    assert ended.returncode == 10
    assert "role held-us-east-1 has policies that setup.py did not make" in ended.stderr
    assert "aws iam list-role-policies --role-name held-us-east-1" in ended.stderr
    iam.delete_role_policy(RoleName="held-us-east-1", PolicyName="of-a-stack")
    assert operator.run("destroy", "-y").returncode == 0
    assert leftovers(localaws, "held") == []


def test_update_of_nothing_says_init(localaws: Server, make_operator: MakeOperator) -> None:
    for command in ([], ["update"], ["status"]):
        ended = make_operator(localaws, "absent").run(*command)
        assert (ended.returncode, ended.stderr.splitlines()[-1]) == (4, "hint: run: python setup.py init")


def test_a_function_of_somebody_else_is_left_alone(localaws: Server, make_operator: MakeOperator) -> None:
    operator = make_operator(localaws, "theirs")
    iam = localaws.client("iam")
    iam.create_role(RoleName="theirs-us-east-1", AssumeRolePolicyDocument="{}")
    try:
        ended = operator.run("init", "-y", "--json")
        assert ended.returncode == 2
        assert '"code": "invalid_configuration"' in ended.stdout
        assert "role theirs-us-east-1 exists, but setup.py did not make it" in ended.stderr
        assert "nothing to remove" in operator.run("destroy", "-y").stdout
        iam.get_role(RoleName="theirs-us-east-1")
    finally:
        iam.delete_role(RoleName="theirs-us-east-1")


class _Bucket(BaseHTTPRequestHandler):
    """S3 as it answers for a bucket of another account, or of another region."""

    def do_HEAD(self) -> None:
        ours = "elsewhere" in self.path or self.headers["x-amz-expected-bucket-owner"] != "123456789012"
        self.send_response(200 if ours else 403)
        self.send_header("x-amz-bucket-region", "eu-west-1")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<Tagging><TagSet></TagSet></Tagging>")

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.mark.parametrize(
    ("bucket", "message"),
    [
        ("someone-elses", "bucket someone-elses belongs to another account"),
        ("elsewhere", "bucket elsewhere is in eu-west-1, but the builder in us-east-1"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_refused(
    localaws: Server, make_operator: MakeOperator, bucket: str, message: str
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        operator = make_operator(
            localaws, "foreign", AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.server_address[1]}"
        )
        ended = operator.run("init", "-y", "--deployment-bucket", bucket)
        server.shutdown()
        thread.join()
    assert ended.returncode == 10
    assert message in ended.stderr
    assert leftovers(localaws, "foreign") == []


def test_destroy_keeps_a_bucket_that_was_there_and_what_else_is_in_ours(
    localaws: Server, make_operator: MakeOperator
) -> None:
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket="was-there")
    s3.put_object(Bucket="was-there", Key="kept", Body=b"x")
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket="was-there", LifecycleConfiguration={"Rules": [theirs]})
    for bucket, name in (("was-there", "guest"), ("host-bucket", "host")):
        operator = make_operator(localaws, name, LAMBDASMITH_AWS_DEPLOYMENT_BUCKET=bucket)
        run_until(operator, "let S3 remove", *(["make role"] if bucket == "was-there" else []))
        assert {rule["Filter"]["Prefix"].partition("/")[0] for rule in lifecycle(s3, bucket)} == {name, "logs"} - (
            {"logs"} if bucket == "host-bucket" else set()
        )
        s3.put_object(Bucket=bucket, Key="kept", Body=b"x")
        s3.put_object(Bucket=bucket, Key=f"{name}/build", Body=b"x")
        assert operator.run("destroy", "-y").returncode == 0
        assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["kept"]
        assert leftovers(localaws, name) == ([] if bucket == "was-there" else ["host-bucket"])
        assert [rule["ID"] for rule in lifecycle(s3, bucket)] == (["theirs"] if bucket == "was-there" else [])


def lifecycle(s3: Any, bucket: str) -> list[dict[str, Any]]:
    try:
        rules: list[dict[str, Any]] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return []
        raise
    return rules


def run_until(operator: Operator, *texts: str) -> None:
    """Let init run until the steps with these texts are done, then kill it."""
    child, missing = started(operator, "init", "-y"), set(texts)
    assert child.stderr is not None
    with child, child.stderr:
        for line in child.stderr:
            if line.startswith("  ok "):
                missing -= {text for text in missing if text in line}
            if not missing:
                child.kill()
                child.wait()
                return
    raise AssertionError(f"no step {missing}")


def test_a_role_that_lambda_does_not_know_yet_is_waited_for(
    localaws: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM spreads a new role within seconds. Here it is not assumable until its trust policy is put right."""
    for name, value in localaws.env.items():
        monkeypatch.setenv(name, value)
    clients, said = connect(), list[str]()
    names = names_for(function="young", bucket=None, place=whereabouts(clients))
    want = wanted(Config(function_name="young"), names, package())
    nothing = Present(bucket=None, role=None, secret=None, log_group=None, layers=(), function=None, ping=None)
    [create] = [step for step in converge(want, nothing) if isinstance(step, CreateFunction)]
    never = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [never]})
    clients.iam.create_role(RoleName=names.role, AssumeRolePolicyDocument=document)

    def tell(step: Step, text: str) -> None:
        said.append(text)
        clients.iam.update_assume_role_policy(RoleName=names.role, PolicyDocument=json.dumps(TRUST))

    starter = tmp_path / "layer.zip"
    with zipfile.ZipFile(starter, "w") as archive:
        archive.writestr("python/nothing.py", "")
    layer = clients.lambda_.publish_layer_version(LayerName=names.layer, Content={"ZipFile": starter.read_bytes()})
    hands = Hands(clients=clients, names=names, work=tmp_path, environment={}, index_url=None, tell=tell)
    try:
        carry_out(replace(create, layer=layer["LayerVersionArn"]), hands)
        assert said[0] == "waiting until Lambda knows the new role"
        assert clients.lambda_.get_function(FunctionName="young")["Configuration"]["State"] == "Active"
    finally:
        clients.lambda_.delete_function(FunctionName="young")
        clients.lambda_.delete_layer_version(LayerName=names.layer, VersionNumber=layer["Version"])
        clients.iam.delete_role(RoleName=names.role)


def test_another_python_finds_the_venv_or_names_the_command(tmp_path: Path) -> None:
    import shutil
    import sys

    from tests.bootstrap.conftest import SETUP

    bare = [sys.base_prefix + "/bin/python3", "-S"]
    alone = tmp_path / "setup.py"
    shutil.copy(SETUP, alone)
    ended = subprocess.run([*bare, str(alone)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"run `make venv` in {tmp_path}" in ended.stderr
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "ran with $@"\n')
    python.chmod(0o755)
    ended = subprocess.run([*bare, str(alone), "status"], capture_output=True, text=True, check=False)
    assert ended.stdout == f"ran with {alone} status\n"
