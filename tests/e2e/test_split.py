"""`isolation = split`: the builder makes nothing itself, and its worker, which makes all, may do nothing else."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from builder import __version__
from builder.store.values import body
from localaws.testing import Server, zip_of
from tests.bootstrapped import Bootstrapped
from tests.e2e.conftest import Builder, Forge, make_builder

WORKER = "lambdasmith-worker"
HANDLER = "import idna\n\ndef handler(event, context):\n    return [{word!r}, idna.encode('bücher').decode()]\n"


@pytest.fixture(scope="module")
def enforcing(bootstrapped: Bootstrapped) -> Iterator[Server]:
    with bootstrapped(enforce_iam=True, isolation="split") as server:
        yield server


@pytest.fixture(scope="module")
def builder(enforcing: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return make_builder(enforcing, forge, tmp_path_factory.mktemp("operator"), "isolation = split\n")


def project(builder: Builder, word: str, **more: str) -> dict[str, str | None]:
    return {
        "build.yaml": (
            f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
            "layers:\n  dependencies: [requirements.txt]\n"
        ),
        "app.py": HANDLER.format(word=word),
        "requirements.txt": "idna==3.10\n",
        **more,
    }


def test_a_project_is_deployed_changed_planned_packaged_verified_and_rolled_back(builder: Builder) -> None:
    commit = builder.forge.push("parted", project(builder, "one"))
    first = builder.build("parted", alias="live")
    assert first["statusCode"] == 200, first
    assert first["commit"] == commit
    assert first["phases"][-1]["name"] == "publish"  # the time that it took, too
    assert builder.invoke("parted") == ["one", "xn--bcher-kva"]

    planned = builder.send({"action": "plan", "function": "parted", "repo_name": "parted"})
    assert planned["statusCode"] == 200, planned

    builder.forge.push("parted", {"app.py": HANDLER.format(word="two")})
    second = builder.build("parted", alias="live")
    assert second["statusCode"] == 200, second
    assert {row["name"]: row["action"] for row in second["artifacts"]} == {"dependencies": "reuse", "function": "build"}
    assert builder.invoke("parted", Qualifier="live") == ["two", "xn--bcher-kva"]

    packaged = builder.send({"action": "package", "function": "parted", "repo_name": "parted"})
    assert packaged["statusCode"] == 200, packaged
    verified = builder.send({"action": "verify", "function": "parted"})
    assert verified["statusCode"] == 200, verified
    assert verified["verify"]["same"] is True
    back = builder.send({"action": "rollback", "function": "parted", "alias": "live"})
    assert back["statusCode"] == 200, back
    assert builder.invoke("parted", Qualifier="live") == ["one", "xn--bcher-kva"]


def test_what_goes_wrong_in_the_worker_is_told_by_the_builder(builder: Builder) -> None:
    text = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "  build:\n    command: ['echo it broke >&2; exit 3']\n    output: dist\n"
    )
    builder.forge.push("broken", project(builder, "one") | {"build.yaml": text})
    reply = builder.build("broken")
    assert reply["error"]["code"] == "command_failed", reply
    assert "it broke" in "\n".join(reply["error"]["log_tail"])
    assert builder.state("broken") is None


def test_the_worker_tries_a_handler_with_the_variables_that_the_function_has(builder: Builder) -> None:
    files = project(builder, "one", **{"app.py": "import os\nassert os.environ['TABLE_NAME'] == 'orders-of-today'\n"})
    files["app.py"] = f"{files['app.py']}def handler(event, context):\n    return 1\n"
    builder.forge.push("tables", files | {"build.yaml": f"{files['build.yaml']}try: none\n"})
    created = builder.build("tables")
    assert created["statusCode"] == 200, created
    variables = {"Variables": {"TABLE_NAME": "orders-of-today"}}
    builder.client("lambda").update_function_configuration(FunctionName="tables", Environment=variables)
    builder.forge.push("tables", files)
    tried = builder.build("tables")
    assert tried["statusCode"] == 200, tried
    assert tried["checks"]["tried"], tried["checks"]


# Everything that the worker does on the way, tried with nothing but the worker's role.
TRIES = """
import json, os
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    s3, answers = boto3.client("s3"), {}
    tries = {
        "read the store": lambda: s3.get_object(Bucket=event["bucket"], Key=event["key"]),
        "read a domain": lambda: s3.get_object(Bucket=event["bucket"], Key="lambdasmith/domains/x/components/y.json"),
        "write an order": lambda: s3.put_object(Bucket=event["bucket"], Key="lambdasmith/orders/x.json", Body=b"x"),
        "list the store": lambda: s3.list_objects_v2(Bucket=event["bucket"], Prefix="lambdasmith/orders/"),
        "borrow": lambda: boto3.client("sts").assume_role(RoleArn=event["store_role"], RoleSessionName="me"),
        "deploy": lambda: boto3.client("lambda").update_function_code(FunctionName="parted", ZipFile=b"x"),
        "order": lambda: boto3.client("lambda").invoke(FunctionName="lambdasmith", Payload=b"{}"),
        "read the token": lambda: boto3.client("secretsmanager").get_secret_value(SecretId="lambdasmith/git"),
        "know an order": lambda: s3.get_object(Bucket=event["bucket"], Key=event["order"]),
    }
    for name, attempt in tries.items():
        try:
            attempt()
            answers[name] = "done"
        except ClientError as error:
            answers[name] = error.response["Error"]["Code"]
    return answers
"""


def test_the_worker_s_role_can_know_orders_and_nothing_else(builder: Builder) -> None:
    builder.forge.push("powerless", project(builder, "one"))
    assert builder.build("powerless")["statusCode"] == 200
    functions, s3 = builder.client("lambda"), builder.client("s3")
    bucket = functions.get_function(FunctionName=WORKER)["Configuration"]["Environment"]["Variables"][
        "LAMBDASMITH_BUCKET"
    ]
    listed = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="lambdasmith/")["Contents"]]
    orders = [key for key in listed if key.startswith("lambdasmith/orders/")]
    worker = functions.get_function(FunctionName=WORKER)["Configuration"]
    functions.create_function(
        FunctionName="stranger",
        Runtime=builder.runtime,
        Handler="tries.handler",
        Role=worker["Role"],
        Timeout=60,
        MemorySize=512,
        Layers=[layer["Arn"] for layer in worker["Layers"]],
        Code={"ZipFile": zip_of({"tries.py": TRIES})},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="stranger")
    store_role = "arn:aws:iam::123456789012:role/lambdasmith-store-us-east-1"
    key = next(key for key in listed if key.startswith("lambdasmith/records/"))
    told = builder.invoke("stranger", {"bucket": bucket, "key": key, "order": orders[0], "store_role": store_role})
    assert told.pop("know an order") == "done"
    assert set(told.values()) <= {"AccessDenied", "AccessDeniedException"}, told
    assert len(told) == 8


def test_the_builder_makes_nothing_and_the_worker_touches_no_function(builder: Builder, enforcing: Server) -> None:
    builder.forge.push("apart", project(builder, "one"))
    before = {name: len(enforcing.calls(function=name)) for name in ("lambdasmith", WORKER)}
    assert builder.build("apart")["statusCode"] == 200
    did = {
        name: {(call["service"], call["operation"]) for call in enforcing.calls(function=name)[count:]}
        for name, count in before.items()
    }
    assert ("lambda", "Invoke") in did["lambdasmith"]
    assert did[WORKER] == {("s3", "GetObject")}, "with its own role; the rest with what it was lent"


def order(domain: str, **more: object) -> dict[str, Any]:
    """An order as the builder sends it, but for what only the builder can do."""
    source = {"url": "https://git.example.com/team/secret", "ref": "refs/heads/main", "commit": "0" * 40}
    content = {"source": source, "domain": {"name": domain, "keeps": True, "vouched": True}, "function": "f"}
    return {
        "version": __version__,
        "order": content,
        "granted": {},
        "store": {},
        "nonce": uuid.uuid4().hex,
        **more,
    }


@pytest.mark.parametrize("nonce", ["5f0c478fe3f4511bb1a4bcf3cde8f75a", "../records/x", ""])
def test_the_worker_takes_no_order_from_anybody_else(builder: Builder, nonce: str) -> None:
    made_up = [{"sealed": json.dumps(order("repository x", nonce=nonce))}, {"sealed": "{"}, {"action": "build"}, []]
    for event in made_up:
        answer = builder.invoke(WORKER, event, TenantId=hashlib.sha256(b"x").hexdigest()[:40])
        assert answer["error"]["code"] == "invalid_event", answer
        assert "only from the builder" in answer["error"]["message"]
    with pytest.raises(builder.client("lambda").exceptions.InvalidParameterValueException):
        builder.invoke(WORKER, {"sealed": "{}"})


def test_an_order_that_was_given_is_not_taken_for_another_domain(builder: Builder) -> None:
    """Whoever may write orders is the builder; but its order, seen by somebody, is of use for its own tenant alone."""
    sealed = json.dumps(order("repository x"))
    bucket = builder.client("lambda").get_function(FunctionName=WORKER)["Configuration"]["Environment"]["Variables"][
        "LAMBDASMITH_BUCKET"
    ]
    proof = body({"sha256": hashlib.sha256(sealed.encode()).hexdigest(), "key": "0" * 64})
    name = f"lambdasmith/orders/{json.loads(sealed)['nonce']}.json"
    builder.client("s3").put_object(Bucket=bucket, Key=name, Body=proof)
    answer = builder.invoke(WORKER, {"sealed": sealed}, TenantId=hashlib.sha256(b"other").hexdigest()[:40])
    assert answer["error"]["code"] == "invalid_event", answer
    assert "trust domain" in answer["error"]["message"]


def test_several_functions_are_made_by_the_worker(builder: Builder) -> None:
    files = {
        "build.yaml": (
            f"defaults: {{runtimes: [{builder.runtime}], handler: app.handler, name: 'apart-{{name}}'}}\n"
            "functions: {one: {source_dir: one}, two: {source_dir: two, layers: []}}\n"
            "layers: {words: {files: [words.txt]}}\n"
        ),
        "one/app.py": HANDLER.format(word="one"),
        "one/requirements.txt": "idna==3.10\n",
        "two/app.py": "def handler(event, context):\n    return 2\n",
        "words.txt": "words\n",
    }
    builder.forge.push("apart", files)
    reply = builder.send({"action": "build", "project": "apart", "repo_name": "apart"})
    assert {row["key"]: row["status"] for row in reply["functions"]} == {"one": "deployed", "two": "deployed"}, reply
    assert builder.invoke("apart-one") == ["one", "xn--bcher-kva"]
    assert builder.invoke("apart-two") == 2
    again = builder.send({"action": "build", "project": "apart", "repo_name": "apart"})
    assert again["changed"] == []
    verified = builder.send({"action": "verify", "project": "apart"})
    assert verified["verify"]["same"], verified
    assert {row["name"] for row in verified["verify"]["components"]} == {
        "one/dependencies",
        "one/words",
        "one/function",
        "two/function",
    }
