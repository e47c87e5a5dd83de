"""A template as it stands: packaged by the builder, deployed by its stack, and only what changed has another key."""

from __future__ import annotations

import base64
from typing import Any

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


def test_a_template_is_not_deployed_past_its_stack(builder: Builder) -> None:
    builder.forge.push("tmpl", files(builder))
    for action in ("build", "plan"):
        reply = builder.send({"action": action, "project": "tmpl", "repo_name": "tmpl"})
        assert reply["error"]["code"] == "invalid_event"
        assert "its functions are deployed by its stack" in reply["error"]["message"]
        assert "--package-template" in reply["error"]["hint"]
