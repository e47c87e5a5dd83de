"""Everything a user can get wrong: one clear error each, and what is deployed stays exactly as it was."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import TOKEN, Builder
from tests.python.locking import compiled_source_files

APP = "def handler(event, context):\n    return 'first'\n"


def build_file(runtime: str, *, function: str = "", layers: str = "") -> str:
    text = f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n{function}"
    return text + (f"layers:\n{layers}" if layers else "")


@pytest.fixture(scope="module")
def deployed(builder: Builder) -> Builder:
    """The builder, after function `sturdy` was deployed once."""
    builder.forge.push("sturdy", {"build.yaml": build_file(builder.runtime), "app.py": APP})
    reply = builder.build("sturdy")
    assert reply["statusCode"] == 200, reply
    return builder


@pytest.fixture(autouse=True)
def unharmed(deployed: Builder) -> Iterator[None]:
    """Whatever a test does, `sturdy` is as before and answers."""
    before = deployed.state("sturdy")
    yield
    assert deployed.state("sturdy") == before
    assert deployed.invoke("sturdy") == "first"


def refused(reply: Mapping[str, Any], code: str, *words: str) -> dict[str, Any]:
    """The reply's error, which has that code, mentions the words, and tells what to do."""
    assert reply["statusCode"] >= 400, reply
    error: dict[str, Any] = reply["error"]
    assert error["code"] == code, error
    told = " ".join([error["message"], *error.get("problems", ()), *error["log_tail"]])
    for word in words:
        assert word in told, (word, error)
    assert error["phase"], error
    assert TOKEN not in str(reply)
    return error


def push(builder: Builder, files: Mapping[str, str | None]) -> None:
    whole = {"build.yaml": build_file(builder.runtime), "app.py": APP.replace("first", "second"), **files}
    builder.forge.push("sturdy", whole)


def test_no_such_repository(deployed: Builder) -> None:
    reply = deployed.build("sturdy", repo_name="nowhere")
    assert refused(reply, "repository_not_found", "nowhere")["hint"]


def test_no_such_branch_and_what_is_near(deployed: Builder) -> None:
    reply = deployed.build("sturdy", ref="mian")
    error = refused(reply, "ref_not_found", "mian")
    assert "main" in error["message"] + error["hint"]


def test_wrong_token(deployed: Builder) -> None:
    import json

    secrets = deployed.client("secretsmanager")
    name = deployed.client("lambda").get_function(FunctionName=deployed.name)["Configuration"]["Environment"][
        "Variables"
    ]["LAMBDASMITH_GIT_SECRET"]
    right = secrets.get_secret_value(SecretId=name)["SecretString"]
    wrong = json.dumps({**json.loads(right), "token": "tok_wrong_but_also_secret"})
    secrets.put_secret_value(SecretId=name, SecretString=wrong)
    try:
        reply = deployed.build("sturdy")
    finally:
        secrets.put_secret_value(SecretId=name, SecretString=right)
    assert refused(reply, "authentication_failed")["hint"]
    assert "tok_wrong_but_also_secret" not in str(reply)


def test_no_build_file(deployed: Builder) -> None:
    deployed.forge.push("bare", {"app.py": APP})
    refused(deployed.build("sturdy", repo_name="bare"), "invalid_build_file", "build.yaml")


def test_invalid_yaml_has_its_line(deployed: Builder) -> None:
    push(deployed, {"build.yaml": "function:\n  handler: [app\n  files: x\n"})
    refused(deployed.build("sturdy"), "invalid_build_file", "build.yaml:")


def test_unknown_keys_all_at_once_with_the_nearest(deployed: Builder) -> None:
    push(deployed, {"build.yaml": build_file(deployed.runtime, function="  memry: 128\n  timout: 3\n")})
    refused(deployed.build("sturdy"), "invalid_build_file", "memry", "memory", "timout", "timeout", "build.yaml:5")


def test_a_listed_file_that_is_missing(deployed: Builder) -> None:
    text = build_file(deployed.runtime).replace("[app.py]", "[app.py, utlis.py]")
    push(deployed, {"build.yaml": text, "utils.py": ""})
    refused(deployed.build("sturdy"), "invalid_build_file", "utlis.py", "utils.py")


def test_a_handler_that_is_not_among_the_files(deployed: Builder) -> None:
    push(deployed, {"build.yaml": build_file(deployed.runtime).replace("app.handler", "main.handler")})
    refused(deployed.build("sturdy"), "invalid_build_file", "main")


def test_a_requirement_that_does_not_exist(deployed: Builder) -> None:
    layers = "  dependencies: [requirements.txt]\n"
    push(
        deployed,
        {"build.yaml": build_file(deployed.runtime, layers=layers), "requirements.txt": "idna==999.1\n"},
    )
    refused(deployed.build("sturdy"), "requirement_not_found", "requirements.txt", "idna==999.1")


def test_what_must_be_compiled_for_another_architecture(deployed: Builder) -> None:
    layers = "  dependencies: [requirements.txt]\n"
    other = "arm64" if os.uname().machine == "x86_64" else "x86_64"
    text = build_file(deployed.runtime, function=f"  architecture: {other}\n", layers=layers)
    package = {f"fast/{name}": content for name, content in compiled_source_files("fast").items()}
    push(deployed, {"build.yaml": text, "requirements.txt": "./fast\n", **package})
    try:
        error = refused(deployed.build("sturdy"), "no_wheel_for_target", "fast", deployed.runtime, other)
        assert "builder of runtime" in error["hint"]
    finally:
        push(deployed, dict.fromkeys(package) | {"requirements.txt": None})


def test_a_preinstall_command_that_fails_shows_its_last_lines(deployed: Builder) -> None:
    layers = "  data:\n    preinstall: ['echo looking', 'echo cannot find the model >&2; exit 3']\n    files: [data]\n"
    push(deployed, {"build.yaml": build_file(deployed.runtime, layers=layers)})
    refused(deployed.build("sturdy"), "command_failed", "exit status 3", "cannot find the model", "data")


def test_a_layer_over_the_size_limit(deployed: Builder) -> None:
    command = "mkdir big && head -c 263000000 /dev/zero > big/zeros"
    layers = f"  big:\n    preinstall: ['{command}']\n    files: [big]\n"
    push(deployed, {"build.yaml": build_file(deployed.runtime, layers=layers)})
    refused(deployed.build("sturdy"), "artifact_too_large", "big", "262.1 MB")


def test_a_full_tmp(deployed: Builder) -> None:
    command = "mkdir big && head -c 4000000000 /dev/zero > big/zeros"
    layers = f"  big:\n    preinstall: ['{command}']\n    files: [big]\n"
    push(deployed, {"build.yaml": build_file(deployed.runtime, layers=layers)})
    error = refused(deployed.build("sturdy"), "out_of_space", "/tmp is full")
    assert "ephemeral_storage" in error["hint"]


def test_time_running_out_is_said_before_lambda_kills_it(deployed: Builder) -> None:
    layers = "  slow:\n    preinstall: ['echo began; sleep 60']\n    files: [slow]\n"
    push(deployed, {"build.yaml": build_file(deployed.runtime, layers=layers)})
    client = deployed.client("lambda")
    timeout = client.get_function(FunctionName=deployed.name)["Configuration"]["Timeout"]
    try:
        client.update_function_configuration(FunctionName=deployed.name, Timeout=8)
        client.get_waiter("function_updated_v2").wait(FunctionName=deployed.name, WaiterConfig={"Delay": 1})
        reply = deployed.build("sturdy")
    finally:
        client.get_waiter("function_updated_v2").wait(FunctionName=deployed.name, WaiterConfig={"Delay": 1})
        client.update_function_configuration(FunctionName=deployed.name, Timeout=timeout)
        client.get_waiter("function_updated_v2").wait(FunctionName=deployed.name, WaiterConfig={"Delay": 1})
    error = refused(reply, "out_of_time")
    assert error["retryable"]


def test_a_role_that_the_builder_may_not_give(deployed: Builder) -> None:
    role = "arn:aws:iam::123456789012:role/somebodys"
    push(deployed, {"build.yaml": build_file(deployed.runtime, function=f"  role: {role}\n")})
    reply = deployed.build("sturdy", function="unborn")
    error = refused(reply, "access_denied", "unborn", "role/somebodys", "build.yaml:")
    assert "\n  [builder]\n  roles = " in error["hint"]
    assert [phase["name"] for phase in reply["phases"]] == ["look", "fetch", "read"], "before anything was built"
    assert deployed.state("unborn") is None


def test_a_function_without_a_role_to_create_it(deployed: Builder) -> None:
    role = "arn:aws:iam::123456789012:role/not-there"
    push(deployed, {"build.yaml": build_file(deployed.runtime, function=f"  role: {role}\n")})
    reply = deployed.build("sturdy", function="unborn")
    refused(reply, "role_missing", "unborn", "not-there")
    assert deployed.state("unborn") is None


def test_an_unknown_field_of_the_event(deployed: Builder) -> None:
    reply = deployed.build("sturdy", brnch="main")
    assert reply["statusCode"] == 400
    assert reply["error"]["code"] == "invalid_event"
    assert "branch" in reply["error"]["message"]


def test_an_unknown_component(deployed: Builder) -> None:
    push(deployed, {})
    refused(deployed.build("sturdy", components=["fucntion"]), "invalid_event", "fucntion", "function")


def test_a_function_that_somebody_else_is_updating(deployed: Builder) -> None:
    """Another deployer changes the function all the time: ours says so, and overwrites nothing of theirs."""
    deployed.forge.push("busy", {"build.yaml": build_file(deployed.runtime), "app.py": APP})
    assert deployed.build("busy")["statusCode"] == 200
    client = deployed.client("lambda")
    ended = threading.Event()

    def meddle() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                client.update_function_configuration(FunctionName="busy", Description=f"theirs {number}")
            except client.exceptions.ResourceConflictException:
                time.sleep(0.005)

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        deployed.forge.push("busy", {"app.py": APP.replace("first", "ours")})
        replies = [deployed.build("busy") for _ in range(3)]
    finally:
        ended.set()
        meddler.join()
    failed = [reply for reply in replies if reply["statusCode"] != 200]
    for reply in failed:
        assert refused(reply, "function_busy", "busy")["retryable"]
    client.get_waiter("function_updated_v2").wait(FunctionName="busy", WaiterConfig={"Delay": 1})
    assert client.get_function(FunctionName="busy")["Configuration"]["Description"].startswith("theirs")
    assert deployed.build("busy")["statusCode"] == 200
    assert deployed.invoke("busy") == "ours"
