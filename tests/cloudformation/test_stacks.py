"""The example's template, deployed: created, updated, failed, rolled back, deleted, by CloudFormation's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from localaws.serving.server import ACCOUNT, REGION
from localaws.stacks import Stack, StackFailed, read_template
from localaws.testing import zip_of
from tests.cloudformation.conftest import Toolbox
from tests.e2e.conftest import ROOT, TOKEN, Builder

EXAMPLE = ROOT / "examples" / "cloudformation" / "template.yaml"
BUILD = """
function:
  runtimes: [{runtime}]
  handler: app.handler
  files: [app.py]
  memory: 256
layers:
  dependencies: [requirements.txt]
"""
CODE = """
import idna

def handler(event, context):
    return [{n}, idna.encode("ä.example").decode()]
"""


def project(runtime: str, n: int) -> dict[str, str | None]:
    return {
        "build.yaml": BUILD.format(runtime=runtime),
        "app.py": CODE.format(n=n),
        "requirements.txt": "idna==3.10\n",
    }


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return read_template(EXAMPLE.read_text())


@pytest.fixture
def stack(builder: Builder) -> Iterator[Stack]:
    stack = Stack(builder.aws, "shop")
    yield stack
    stack.delete()
    assert builder.state("shop-greeter") is None


def arn(builder: Builder) -> str:
    return str(builder.client("lambda").get_function(FunctionName=builder.name)["Configuration"]["FunctionArn"])


def test_a_stack_gets_what_was_built_and_keeps_it_when_the_next_build_fails(
    builder: Builder, template: dict[str, Any], stack: Stack
) -> None:
    first = builder.forge.push("greeter", project(builder.runtime, 1))
    parameters = {"BuilderArn": arn(builder), "RepoName": "greeter", "Ref": "main"}
    stack.deploy(template, parameters)
    assert builder.invoke("shop-greeter") == [1, "xn--4ca.example"]
    live = stack.outputs["FunctionArn"]
    assert builder.invoke(live)[0] == 1
    assert stack.outputs["Commit"] == first
    assert stack.physical_id("Build") == "shop-greeter"
    state = builder.state("shop-greeter")
    assert state is not None
    assert state["configuration"]["MemorySize"] == 256
    assert state["configuration"]["CodeSha256"] == stack.attributes("Build")["CodeSha256"]

    # The branch has moved on, and something else of the stack fails: the way back is the way to the first commit.
    builder.forge.push("greeter", project(builder.runtime, 2))
    broken = deepcopy(template)
    broken["Resources"]["Build"]["Properties"]["Trigger"] = "2"
    broken["Resources"]["Other"] = deepcopy(template["Resources"]["Function"])
    broken["Resources"]["Other"]["DependsOn"] = "Function"
    broken["Resources"]["Other"]["Properties"] |= {"FunctionName": "other", "Role": "arn:aws:iam::123456789012:role/no"}
    with pytest.raises(StackFailed, match="role"):
        stack.deploy(broken, parameters)
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert [event.resource for event in stack.events if event.status == "UPDATE_COMPLETE"].count("Build") == 2
    assert builder.invoke("shop-greeter")[0] == 1
    assert builder.invoke(live)[0] == 1
    # Tried once more, it is a new update, and gets what the branch has now.
    del broken["Resources"]["Other"]
    stack.deploy(broken, parameters)
    assert builder.invoke("shop-greeter")[0] == 2
    assert builder.invoke(live)[0] == 2
    # A commit that changes nothing of what is built makes no version.
    same = builder.forge.push("greeter", {"README.md": "new"})
    stack.deploy(broken, parameters | {"Ref": same})
    number = stack.attributes("Version")["Version"]

    bad = builder.forge.push("greeter", {"requirements.txt": "idna==3.10\nno-such-thing-zq==1\n"})
    with pytest.raises(StackFailed) as failed:
        stack.deploy(broken, parameters | {"Ref": bad})
    assert "no-such-thing-zq" in failed.value.reason
    assert "request " in failed.value.reason
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert builder.invoke("shop-greeter")[0] == 2
    good = builder.forge.push("greeter", project(builder.runtime, 4))
    stack.deploy(broken, parameters | {"Ref": good})
    assert builder.invoke("shop-greeter")[0] == 4
    assert builder.invoke(live)[0] == 4
    assert int(stack.attributes("Version")["Version"]) == int(number) + 1


def test_a_stack_that_cannot_be_made_says_why_and_leaves_nothing(
    builder: Builder, template: dict[str, Any], stack: Stack
) -> None:
    builder.forge.push("greeter", project(builder.runtime, 1))
    wrong = deepcopy(template)
    wrong["Resources"]["Build"]["Properties"] |= {"Functoin": "x", "Force": "perhaps"}
    with pytest.raises(StackFailed) as failed:
        stack.deploy(wrong, {"BuilderArn": arn(builder), "RepoName": "greeter", "Ref": "main"})
    assert "did you mean function?" in failed.value.reason
    assert "force: must be true or false" in failed.value.reason
    assert stack.status == "ROLLBACK_COMPLETE"
    assert [event.status for event in stack.events if event.resource == "Build"] == ["CREATE_FAILED", "DELETE_COMPLETE"]


def test_the_builder_can_deploy_by_itself_and_leaves_the_function_when_the_stack_goes(
    builder: Builder, stack: Stack
) -> None:
    first = builder.forge.push(
        "kept", {**project(builder.runtime, 1), "build.yaml": BUILD.format(runtime=builder.runtime)}
    )
    properties: dict[str, Any] = {
        "ServiceToken": arn(builder),
        "Action": "build",
        "Function": "kept",
        "RepoName": "kept",
        "Ref": "main",
        "Components": ["dependencies", "function"],
        "Alias": "live",
        "Invoke": '{"n": 1}',
        "Force": False,
    }
    template = {"Resources": {"Build": {"Type": "Custom::Lambdasmith", "Properties": properties}}}
    stack.deploy(template)
    found = stack.attributes("Build")
    assert found["FunctionArn"].endswith(":function:kept")
    assert (found["Version"], found["Alias"], found["CommitId"]) == ("1", "live", first)
    assert found["Layers.dependencies.Arn"].endswith(":layer:kept--dependencies:1")
    builder.forge.push("kept", {"app.py": "import nothing_there_zq\n"})
    properties["Force"] = True
    with pytest.raises(StackFailed, match="nothing_there_zq"):
        stack.deploy(template)
    assert builder.invoke("kept", Qualifier="live")[0] == 1
    stack.delete()
    assert builder.invoke("kept", Qualifier="live")[0] == 1


def publish_assets(builder: Builder, assembly: Path) -> set[str]:
    """Upload what the stack needs, as `cdk deploy` would; the paths of all files in it."""
    s3, sent = builder.client("s3"), set()
    assets = json.loads((assembly / "cdkshop.assets.json").read_text())["files"]
    for asset in assets.values():
        source = assembly / asset["source"]["path"]
        if asset["source"]["packaging"] != "zip":
            continue
        files = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
        sent |= set(files)
        for target in asset["destinations"].values():
            bucket = target["bucketName"].replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", REGION)
            s3.create_bucket(Bucket=bucket)
            s3.put_object(Bucket=bucket, Key=target["objectKey"], Body=zip_of(files))
    return sent


@dataclass(frozen=True)
class Shop:
    """The CDK app's stack for each state of its project."""

    templates: list[dict[str, Any]]
    assemblies: list[Path]

    def deploy(self, builder: Builder, stack: Stack, state: int) -> None:
        publish_assets(builder, self.assemblies[state])
        stack.deploy(self.templates[state])

    def served(self, builder: Builder, stack: Stack) -> tuple[object, str]:
        """What the alias answers, and the version that it is."""
        alias = stack.outputs["LiveArn"]
        found = builder.client("lambda").get_function_configuration(FunctionName=alias)
        return builder.invoke(alias), found["Version"]


# States of the project: as it is, and again; other code; other requirements; what is in no artifact; what fails.
FIRST, SAME, CODE_CHANGED, LAYER_CHANGED, README_CHANGED, BROKEN = range(6)


@pytest.fixture(scope="module")
def shop(builder: Builder, toolbox: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    # A private dependency: the builder has the login, by a secret's name, and the app knows nothing of it.
    library = {"pyproject.toml": "[project]\nname = 'marks'\nversion = '1'\n", "marks.py": "MARK = 'private'\n"}
    private = f"marks @ git+{builder.forge.url}/marks.git@{builder.forge.push('marks', library)}\n"
    code = "from importlib.metadata import version\nfrom marks import MARK\n" + CODE.replace(
        "[{n}", "[{n}, MARK, version('idna')"
    )
    plain = f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
    files = {
        "build.yaml": "layers: {not-for-svc: {files: [shared]}}\n",
        "shared/python/shared_mark.py": "MARK = 'shared'\n",
        "svc/build.yaml": BUILD.format(runtime=builder.runtime),
        "svc/app.py": code.format(n=1),
        "svc/requirements.txt": f"idna==3.10\n{private}",
        "svc/.gitignore": "*.log\n",
        "plain/build.yaml": plain + "layers: {dependencies: []}\n",
        "plain/app.py": "def handler(event, context): return 'plain'\n",
    }
    changed = files | {"svc/app.py": code.format(n=2)}
    upgraded = changed | {"svc/requirements.txt": f"idna==3.11\n{private}"}
    states = [files, files, changed, upgraded, upgraded | {"README.md": "new"}]
    states.append(upgraded | {"svc/requirements.txt": "no-such-thing-zq==1"})
    folder = tmp_path_factory.mktemp("shop")
    for number, state in enumerate(states):
        for name, text in (state | {f"svc/{number}.log": "never sent", "svc/.env": "PASSWORD=1"}).items():
            place = folder / f"{number}" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    other = "import os, shared_mark\ndef other(event, context):\n    return [os.environ['WHO'], shared_mark.MARK]\n"
    builder.forge.push("other", {"app.py": other + "handler = other\n", "build.yaml": plain + "try: none\n"})
    app, out = Path(__file__).with_name("cdk_app.py"), folder / "out"
    toolbox.run("python", app, out, arn(builder), "other", *(folder / f"{number}" for number in range(len(states))))
    templates = [out / "0/cdkshop.template.json", out / "shapes/cdkshapes.template.json"]
    toolbox.run("cfn-lint", "--ignore-checks", "W3005", "--", EXAMPLE, *templates)
    assemblies = [out / f"{number}" for number in range(len(states))]
    found = [json.loads((assembly / "cdkshop.template.json").read_text()) for assembly in assemblies]
    return Shop(templates=found, assemblies=assemblies)


def test_a_cdk_app_gets_its_project_built_without_bundling(builder: Builder, stack: Stack, shop: Shop) -> None:
    assert shop.templates[FIRST] == shop.templates[SAME]
    assert TOKEN not in json.dumps(shop.templates[FIRST])
    sent = publish_assets(builder, shop.assemblies[FIRST])
    assert not [name for name in sent if name.endswith((".log", ".env"))], "what git ignores, and what may be secret"

    shop.deploy(builder, stack, FIRST)
    name = stack.outputs["Name"]
    assert builder.invoke(name) == [1, "private", "3.10", "xn--4ca.example"]
    assert builder.invoke(stack.outputs["PlainName"]) == "plain"
    assert builder.invoke(stack.outputs["OtherName"]) == ["cdk", "shared"]
    assert shop.served(builder, stack) == ([1, "private", "3.10", "xn--4ca.example"], "1")
    state = builder.state(name)
    assert state is not None
    assert (state["configuration"]["Timeout"], state["configuration"]["MemorySize"]) == (20, 256)
    layers = [layer["Arn"] for layer in state["configuration"]["Layers"]]

    # Another stack of the same app comes and goes, and with it what let the builder read its project.
    other = Stack(builder.aws, "bazaar")
    shop.deploy(builder, other, FIRST)
    assert shop.served(builder, other)[1] == "1"
    other.delete()
    shop.deploy(builder, stack, CODE_CHANGED)
    assert shop.served(builder, stack) == ([2, "private", "3.10", "xn--4ca.example"], "2")
    state = builder.state(name)
    assert state is not None
    assert [layer["Arn"] for layer in state["configuration"]["Layers"]] == layers
    shop.deploy(builder, stack, LAYER_CHANGED)
    assert shop.served(builder, stack) == ([2, "private", "3.11", "xn--4ca.example"], "3")
    # Lambda makes no version of what it has already, and CloudFormation fails where it was to be one.
    shop.deploy(builder, stack, README_CHANGED)
    assert shop.served(builder, stack)[1] == "3"

    events = len(stack.events)
    publish_assets(builder, shop.assemblies[BROKEN])
    with pytest.raises(StackFailed, match="no-such-thing-zq"):
        stack.deploy(shop.templates[BROKEN])
    assert {event.resource for event in stack.events[events:]} == {
        next(n for n in shop.templates[BROKEN]["Resources"] if n.startswith("GreeterBuild"))
    }
    assert shop.served(builder, stack)[1] == "3"


class Gate(ThreadingHTTPServer):
    """Whoever comes first waits until the gate is closed; everybody else may pass."""

    daemon_threads = True

    def __init__(self) -> None:
        self.visitors, self.closing = 0, threading.Event()

        class Visit(BaseHTTPRequestHandler):
            def do_GET(visit) -> None:
                self.visitors += 1
                if self.visitors == 1:
                    self.closing.wait()
                visit.send_response(200)
                visit.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Visit)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def test_a_build_that_outlives_its_invocation_is_handed_to_the_next_one(
    builder: Builder, stack: Stack, gate: Gate
) -> None:
    command = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{gate.server_port}')"
    build = {
        "function": {"runtimes": [builder.runtime], "handler": "app.handler", "files": ["app.py"]},
        "layers": {
            "slow": {"preinstall": [f'python -c "{command}"'], "files": ["app.py"], "runtimes": [builder.runtime]}
        },
    }
    builder.forge.push("slow", {"build.json": json.dumps(build), "app.py": "def handler(event, context): pass\n"})
    limit = time_limit(builder, 10)
    try:
        properties = {"ServiceToken": arn(builder), "Function": "slow", "RepoName": "slow", "ServiceTimeout": 120}
        stack.deploy({"Resources": {"Build": {"Type": "Custom::Lambdasmith", "Properties": properties}}})
    finally:
        time_limit(builder, limit)
    assert gate.visitors == 2
    assert stack.attributes("Build")["Layers.slow.Key"].endswith(".zip")
    assert stack.attributes("Build")["BuildId"].endswith(".2")
    logged = logs(builder)
    assert "handed over" in logged
    assert "Signature=" not in logged


def time_limit(builder: Builder, seconds: int) -> int:
    """Give the builder another time limit; the one before."""
    client = builder.client("lambda")
    before = client.get_function(FunctionName=builder.name)["Configuration"]["Timeout"]
    client.update_function_configuration(FunctionName=builder.name, Timeout=seconds)
    client.get_waiter("function_updated_v2").wait(FunctionName=builder.name)
    return int(before)


def logs(builder: Builder) -> str:
    pages = builder.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{builder.name}")
    return "\n".join(event["message"] for event in pages["events"])
