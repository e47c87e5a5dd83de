"""A template as it stands: packaged by the builder, deployed by its stack, and only what changed has another key."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest

from localaws.stacks.stack import Stack
from localaws.stacks.templates import read_template
from localaws.testing import zip_of
from tests.e2e.conftest import Builder

APP = """
import idna, shared
def handler(event, context):
    return {"who": "hello", "shared": shared.WORD, "idna": idna.encode("bücher").decode()}
"""
WORKER = """
import os, shared
TABLE = os.environ["TABLE"]
def run(event, context):
    return {"who": "worker", "shared": shared.WORD, "table": TABLE}
"""


def template(runtime: str, role: str) -> str:
    return f"""# A stack of two functions.
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Python: {{Type: String, Default: {runtime}}}
Resources:
  Hello:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: tmpl-hello
      Code: hello/          # and its requirements
      Handler: app.handler
      Runtime: !Ref Python
      Role: {role}
      Layers: [!Ref Common]
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: tmpl-worker
      Code: worker
      Handler: worker.run
      Runtime: !Ref Python
      Role: {role}
      Layers:
        - !Ref Common
      Environment:
        Variables:
          TABLE: !Ref AWS::StackName
  Common:
    Type: AWS::Lambda::LayerVersion
    Properties:
      Content: layers/common
      CompatibleRuntimes: [!Ref Python]
"""


def files(builder: Builder) -> dict[str, str | None]:
    return {
        "template.yaml": template(builder.runtime, builder.role),
        "hello/app.py": APP,
        "hello/requirements.txt": "idna\n",
        "worker/worker.py": WORKER,
        "layers/common/python/shared.py": "WORD = 'one'\n",
    }


def packaged(builder: Builder, **event: Any) -> tuple[str, dict[str, Any]]:
    """The text of the packaged template, and its resources without short tags."""
    reply = builder.send({"action": "package", "project": "tmpl", "repo_name": "tmpl", **event})
    assert reply["statusCode"] == 200, reply["error"]
    place = reply["template"]
    body = builder.client("s3").get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read().decode()
    return body, read_template(body)["Resources"]


def place(resource: dict[str, Any], name: str) -> str:
    return str(resource["Properties"][name]["S3Key"])


def test_a_template_is_packaged_and_deployed_by_its_stack(builder: Builder) -> None:
    builder.forge.push("tmpl", files(builder))
    text, resources = packaged(builder)
    assert text.startswith("# A stack of two functions.\n")
    assert "# and its requirements" in text
    [dependencies] = [name for name in resources if name.startswith("LambdasmithDependencies")]
    assert resources["Hello"]["Properties"]["Layers"] == [{"Ref": "Common"}, {"Ref": dependencies}]
    stack = Stack(builder.aws, "tmpl")
    stack.deploy(read_template(text))
    assert builder.invoke("tmpl-hello") == {"who": "hello", "shared": "one", "idna": "xn--bcher-kva"}
    assert builder.invoke("tmpl-worker") == {"who": "worker", "shared": "one", "table": "tmpl"}

    builder.forge.push("tmpl", {"worker/worker.py": WORKER.replace('"worker"', '"WORKER"')})
    text, now = packaged(builder)
    assert place(now["Worker"], "Code") != place(resources["Worker"], "Code")
    assert {**now, "Worker": None} == {**resources, "Worker": None}
    stack.deploy(read_template(text))
    assert builder.invoke("tmpl-worker")["who"] == "WORKER"

    # What was sent is the same content: the same keys, and so the same template.
    sent = {name: content for name, content in files(builder).items() if content}
    sent["worker/worker.py"] = WORKER.replace('"worker"', '"WORKER"')
    archive = base64.b64encode(zip_of(sent)).decode()
    reply = builder.send({"action": "package", "project": "tmpl", "archive": archive})
    assert reply["template"]["sha256"] == packaged_sha(builder)


def packaged_sha(builder: Builder) -> str:
    reply = builder.send({"action": "package", "project": "tmpl", "repo_name": "tmpl"})
    return str(reply["template"]["sha256"])


def test_what_is_left_as_it_is_is_said(builder: Builder) -> None:
    text = template(builder.runtime, builder.role)
    inline = "  Short: {Type: AWS::Lambda::Function, Properties: {Code: {ZipFile: 'x = 1'}, Handler: index.x}}\n"
    builder.forge.push(
        "tmpl-notes", {**files(builder), "template.yaml": text + inline, "hello/requirements.txt": "# no\n"}
    )
    builder.forge.push("tmpl-notes", {"hello/app.py": "def handler(event, context): ...\n"})
    reply = builder.send({"action": "package", "project": "tmpl-notes", "repo_name": "tmpl-notes", "text": True})
    said = ["Short is left as it is: its code is in the template", "requirements.txt names nothing to install"]
    assert all(any(sentence in note for note in reply["notes"]) for sentence in said), reply
    assert "  note: Short is left as it is" in reply["text"]["plain"]


def test_a_template_is_not_deployed_past_its_stack(builder: Builder) -> None:
    builder.forge.push("tmpl", files(builder))
    for action in ("build", "plan"):
        reply = builder.send({"action": action, "project": "tmpl", "repo_name": "tmpl"})
        assert reply["error"]["code"] == "invalid_event"
        assert "its functions are deployed by its stack" in reply["error"]["message"]
        assert "--package-template" in reply["error"]["hint"]


class Listing(BaseHTTPRequestHandler):
    """CloudFormation's ListStackResources, which the embedded AWS lacks, for stacks that were deployed there."""

    stacks: ClassVar[dict[str, Stack]] = {}

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        stack = self.stacks.get(asked["StackName"][0])
        if asked["Action"] != ["ListStackResources"] or stack is None:
            body = "<ErrorResponse><Error><Code>ValidationError</Code></Error></ErrorResponse>"
        else:
            rows = "".join(
                f"<member><LogicalResourceId>{name}</LogicalResourceId><ResourceType>{kind}</ResourceType>"
                f"<PhysicalResourceId>{stack.physical_id(name)}</PhysicalResourceId></member>"
                for name, kind in stack_types(stack)
            )
            answer = f"<StackResourceSummaries>{rows}</StackResourceSummaries>"
            body = f"<R><ListStackResourcesResult>{answer}</ListStackResourcesResult></R>"
        self.send_response(200 if stack else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def stack_types(stack: Stack) -> list[tuple[str, str]]:
    return [(event.resource, TYPES[event.resource[:6]]) for event in stack.events if event.status == "CREATE_COMPLETE"]


# By the beginning of a logical id.
TYPES = {
    "Hello": "AWS::Lambda::Function",
    "Worker": "AWS::Lambda::Function",
    "Common": "AWS::Lambda::LayerVersion",
    "Lambda": "AWS::Lambda::LayerVersion",
}


@pytest.fixture
def listed(builder: Builder) -> Iterator[dict[str, Stack]]:
    """Stacks that the builder sees, by name."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = builder.client("lambda")
        present = client.get_function_configuration(FunctionName=builder.name)["Environment"]["Variables"]
        more = {"AWS_ENDPOINT_URL_CLOUDFORMATION": f"http://127.0.0.1:{server.server_port}"}
        client.update_function_configuration(FunctionName=builder.name, Environment={"Variables": {**present, **more}})
        client.get_waiter("function_updated_v2").wait(FunctionName=builder.name)
        yield Listing.stacks
        client.update_function_configuration(FunctionName=builder.name, Environment={"Variables": present})
        client.get_waiter("function_updated_v2").wait(FunctionName=builder.name)
        server.shutdown()


def test_functions_of_a_stack_get_new_code_at_once(builder: Builder, listed: dict[str, Stack]) -> None:
    """By their names in the stack, with layers that have changed; what the stack does not have is left to it."""
    own = {name: content and content.replace("tmpl-", "loop-") for name, content in files(builder).items()}
    builder.forge.push("loop", own)
    first = builder.send({"action": "package", "project": "loop", "repo_name": "loop"})["template"]
    text = builder.client("s3").get_object(Bucket=first["bucket"], Key=first["key"])["Body"].read().decode()
    listed["loop"] = Stack(builder.aws, "loop")
    listed["loop"].deploy(read_template(text))
    event = {"action": "build", "project": "loop", "repo_name": "loop", "stack": "loop"}
    reply = builder.send(event)
    assert reply["statusCode"] == 200, reply["error"]
    assert {row["name"]: row["status"] for row in reply["functions"]} == {
        "loop-hello": "unchanged",
        "loop-worker": "unchanged",
    }
    assert not reply["warnings"]

    new = template(builder.runtime, builder.role).replace("tmpl-", "loop-").replace("Resources:", NEW, 1)
    changed = {"worker/worker.py": WORKER.replace('"worker"', '"WORKER"'), "template.yaml": new}
    builder.forge.push("loop", {**changed, "layers/common/python/shared.py": "WORD = 'two'\n"})
    reply = builder.send(event)
    assert reply["statusCode"] == 200, reply["error"]
    assert {row["key"]: row["status"] for row in reply["functions"]} == {"Hello": "deployed", "Worker": "deployed"}
    assert "stack loop does not know of this code yet" in " ".join(reply["warnings"])
    assert builder.invoke("loop-hello") == {"who": "hello", "shared": "two", "idna": "xn--bcher-kva"}
    # Variables are the stack's, and stay.
    assert builder.invoke("loop-worker") == {"who": "WORKER", "shared": "two", "table": "loop"}
    assert [row["status"] for row in builder.send(event)["functions"]] == ["unchanged", "unchanged"]

    reply = builder.send({**event, "stack": "lopp"})
    assert (reply["error"]["code"], reply["error"]["message"]) == (
        "invalid_event",
        "stack: there is no stack 'lopp' in this account and region",
    )
    assert builder.state("loop-later") is None


NEW = """Resources:
  Later:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: loop-later, Code: worker, Handler: worker.run, Runtime: !Ref Python, Role: later}
"""
