"""A secret of its own in every place where one may be; every action, failing ones too; then everything is searched."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.security.conftest import Lab
from tests.security.test_malicious import HANDLER, build_file, layer_file

PRINTING = """
import base64, json, os, pathlib, sys, urllib.parse
token, netrc = os.environ["NPM_TOKEN"], pathlib.Path.home() / ".netrc"
assert os.environ["LEVEL"] == "debug" and "AWS_SECRET_ACCESS_KEY" not in os.environ
assert netrc.stat().st_mode & 0o777 == 0o600
password = netrc.read_text().split()[-1]
for secret in (token, password):
    print(secret, urllib.parse.quote(secret, safe=""), json.dumps({"token": secret}))
    for before in ("", "u:", "xyz"):
        print("Authorization: Basic", base64.b64encode((before + secret + "!").encode()).decode())
    for start in range(0, len(secret), 7):
        print(secret[start:start + 7], file=sys.stderr)
pathlib.Path("made.txt").write_text(f"{len(token)} {len(password)}")
sys.exit(int(sys.argv[1]))
"""
# Looks for what an earlier build may have left on the disk; the pattern does not match itself.
LOOKING = "grep -rslE 'cnr[y]-[a-z]+-[0-9a-f]' /tmp > found.txt || true"


def layer(name: str, command: str, files: str, secrets: str = "") -> str:
    return f"  {name}:\n    preinstall: [{json.dumps(command)}]\n    files: [{files}]\n{secrets}"


SECRETS = """    environment: {LEVEL: debug}
    secrets:
      - {env: NPM_TOKEN, from: 'secretsmanager:team/npm#token'}
      - {file: ~/.netrc, from: 'ssm:/team/netrc'}
"""


def spellings(secret: str) -> set[bytes]:
    """As the secret could be found by a search."""
    found = {secret, quote(secret, safe=""), secret[::-1], secret[5:]}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        found.add(encoded[4:-4])
    return {text.encode() for text in found}


def parts(content: bytes) -> Iterator[bytes]:
    """The bytes, and what is packed in them."""
    yield content
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from parts(archive.read(name))


def stored(lab: Lab) -> Iterator[tuple[str, bytes]]:
    """Every version of every object in every bucket, and every layer and function."""
    s3 = lab.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            for one in page.get("Versions", []):
                got = s3.get_object(Bucket=bucket["Name"], Key=one["Key"], VersionId=one["VersionId"])
                yield f"s3 {one['Key']}", got["Body"].read()


def logged(lab: Lab) -> Iterator[tuple[str, bytes]]:
    logs = lab.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield f"log {group['logGroupName']}", json.dumps(page["events"]).encode()


def configured(lab: Lab) -> Iterator[tuple[str, bytes]]:
    functions = lab.client("lambda")
    for function in functions.list_functions()["Functions"]:
        answer = functions.get_function(FunctionName=function["FunctionName"])
        yield f"function {function['FunctionName']}", json.dumps(answer, default=str).encode()


def argv() -> Iterator[tuple[str, bytes]]:
    """The arguments of every process of this machine."""
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
                yield f"argv {pid}", file.read()
        except OSError:
            continue


@pytest.fixture(scope="module")
def replies(lab: Lab) -> list[tuple[str, dict[str, Any]]]:
    """Every action and its reply."""
    made: list[tuple[str, dict[str, Any]]] = []
    builder, runtime = lab.builder, lab.builder.runtime
    good = {
        "lambda_function.py": HANDLER,
        "requirements.txt": f"--index-url {lab.index.simple}\napple\nspied\n"
        f"kernel @ git+{lab.second.url}/kernel.git@main\n",
        "print.py": PRINTING,
        "build.yaml": build_file(
            runtime,
            "  dependencies: [requirements.txt]\n",
            layer("private", "python print.py 0", "made.txt", SECRETS),
            layer("later", LOOKING, "found.txt"),
        ),
    }

    def push(name: str, **changes: str) -> None:
        builder.forge.push(name, {**good, **{path.replace("__", "."): text for path, text in changes.items()}})

    def send(what: str, event: dict[str, object], status: int | None = 200, code: str | None = None) -> dict[str, Any]:
        reply = builder.send(event)
        made.append((what, reply))
        assert status is None or reply["statusCode"] == status, (what, reply)
        assert code is None or reply["error"]["code"] == code, (what, reply)
        return reply

    def build(name: str, **more: object) -> dict[str, object]:
        return {"action": "build", "function": name, "repo_name": name, **more}

    push("team-good")
    send("plan", build("team-good", action="plan"))
    first = send("build", build("team-good", version=True, build_id="canary-1"))
    assert (
        layer_file(lab, first, "private", "made.txt")
        == f"{len(lab.canaries.variable)} {len(lab.canaries.netrc)}".encode()
    )
    send("again", build("team-good"))
    send("the same build id", build("team-good", version=True, build_id="canary-1"))
    push("team-good", lambda_function__py=HANDLER.replace("ok", "newer"))
    send("change", build("team-good", version=True))
    send("package", build("team-good", action="package"))
    send("verify", {"action": "verify", "function": "team-good"})
    send("rollback", {"action": "rollback", "function": "team-good"})
    for action in ("history", "status", "ping"):
        send(action, {"action": action, **({"function": "team-good"} if action == "history" else {})})
    send("setup", {"action": "setup"})
    send("no such ref", build("team-good", ref="nowhere"), 404, "ref_not_found")
    send("no such repository", build("team-none"), 404)

    loud = build_file(runtime, layer("private", "python print.py 3", "made.txt", SECRETS))
    push("team-loud", build__yaml=loud)
    send("a command that shouts and fails", build("team-loud"), 400, "command_failed")
    leaking = loud.replace("print.py 3", "print.py 0; base64 ~/.netrc >> made.txt; exit 0")
    push("team-leaking", build__yaml=leaking)
    send("a command that keeps it", build("team-leaking"), 400, "secret_in_artifact")
    push("mine", build__yaml=loud)
    send("another project's secret", build("mine"), 403, "secret_not_allowed")
    push("team-missing", build__yaml=loud.replace("team/npm#token", "team/nothing"))
    send("a secret that is not there", build("team-missing"), 404, "secret_missing")
    push("team-stolen", build__yaml=loud.replace("team/npm#token", "others/npm"))
    send("somebody else's secret", build("team-stolen"), 403, "secret_not_allowed")
    push("team-own", build__yaml=loud.replace("team/npm#token", "lambdasmith/git#token"))
    send("the builder's own secret", build("team-own"), 403, "secret_not_allowed")
    push("team-typed", build__yaml=loud.replace("secretsmanager:team/npm#token", lab.canaries.other))
    send("a value where a reference belongs", build("team-typed"), 400, "invalid_build_file")
    push("team-url", requirements__txt=f"--index-url https://reader:{lab.canaries.other}@127.0.0.1/simple\napple\n")
    send("a login in a requirements file", build("team-url"), 400, "invalid_build_file")
    lab.index.login = ("reader", "another")
    push("team-index", requirements__txt=f"--index-url {lab.index.simple}\npear\n")
    send("an index that refuses the login", build("team-index"), 401, "authentication_failed")
    lab.index.login = ("reader", lab.canaries.index)
    return made


def test_no_secret_is_in_a_reply(lab: Lab, replies: list[tuple[str, dict[str, Any]]]) -> None:
    for name, secret in lab.canaries.all().items():
        for what, reply in replies:
            text = json.dumps(reply)
            for needle in spellings(secret):
                assert needle.decode() not in text, (name, what, text)
            assert secret not in "".join(reply.get("error", {}).get("log_tail", [])), (name, what)


def test_what_a_command_said_of_its_secrets_is_masked_and_the_rest_is_there(
    replies: list[tuple[str, dict[str, Any]]],
) -> None:
    (tail,) = (one["error"]["log_tail"] for what, one in replies if what == "a command that shouts and fails")
    assert any('{"token": "***"}' in line for line in tail), tail


def test_no_secret_is_in_anything_that_was_written(lab: Lab, replies: list[tuple[str, dict[str, Any]]]) -> None:
    needles = [(name, needle) for name, secret in lab.canaries.all().items() for needle in spellings(secret)]
    seen = 0
    for where, content in (*stored(lab), *logged(lab), *configured(lab), *argv()):
        for part in parts(content):
            seen += 1
            for name, needle in needles:
                assert needle not in part, (name, where)
    assert seen > 100


def test_nothing_is_left_on_the_disk_for_the_next_command(lab: Lab, replies: list[tuple[str, dict[str, Any]]]) -> None:
    first = next(reply for what, reply in replies if what == "build")
    assert layer_file(lab, first, "later", "found.txt") == b""
    looking = build_file(lab.builder.runtime, layer("later", LOOKING, "found.txt"))
    lab.builder.forge.push("team-after", {"build.yaml": looking, "lambda_function.py": HANDLER})
    after = lab.builder.build("team-after")
    assert layer_file(lab, after, "later", "found.txt") == b""


def test_a_secret_does_not_make_another_key_but_what_names_it_does(lab: Lab) -> None:
    """A renewed token builds nothing anew; another reference does."""
    builder = lab.builder
    files = {
        "lambda_function.py": HANDLER,
        "print.py": PRINTING,
        "build.yaml": build_file(builder.runtime, layer("private", "python print.py 0", "made.txt", SECRETS)),
    }
    builder.forge.push("team-keys", files)

    def key() -> str:
        reply = builder.send({"action": "package", "function": "team-keys", "repo_name": "team-keys"})
        assert reply["statusCode"] == 200, reply
        return str(next(one for one in reply["artifacts"] if one["name"] == "private")["action"])

    assert key() == "build"
    lab.client("secretsmanager").put_secret_value(
        SecretId="team/npm", SecretString=json.dumps({"token": lab.canaries.variable + "-renewed"})
    )
    assert key() != "build"
    files["build.yaml"] = files["build.yaml"].replace("team/npm#token", "team/npm?stage=AWSPREVIOUS#token")
    builder.forge.push("team-keys", files)
    assert key() == "build"
