"""Builders in the test's own process, on the embedded AWS: quick enough for hundreds of deploys."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.aws import Clients, connect
from builder.context import Context
from builder.event.read import parse_event
from builder.event.request import Action
from builder.flow.pipeline import build
from builder.flow.rollback import roll_back
from builder.flow.tracking import tracked
from builder.progress import Progress
from builder.secrets.masking import Masker
from builder.settings import Settings
from builder.store.s3 import S3Store
from builder.workspace.directory import Deadline, Workspace
from localaws.testing import zip_of
from tests.localaws.lab import Lab
from tests.store.storing import new_bucket

# Answers with its own mark, and all that lies below /opt/marks, whoever put it there.
HANDLER = """import os
def handler(event, context):
    found = {{}}
    for folder, _, names in os.walk("/opt/marks"):
        for name in names:
            with open(os.path.join(folder, name)) as file:
                found[name] = file.read()
    return {{"code": {code!r}, "opt": found}}
"""


def project(runtime: str, code: str, layers: Mapping[str, Mapping[str, str]], named: Mapping[str, str]) -> str:
    """An event's archive: a function, layers of files below /opt/marks, and layers named by ARN."""
    lines = ["function:", f"  runtimes: [{runtime}]", "  handler: app.handler", "  files: [app.py]", "try: none"]
    lines += ["layers:"] if layers or named else []
    files = {"app.py": HANDLER.format(code=code)}
    for name, content in layers.items():
        lines += [f"  {name}: {{source_dir: {name}, files: [{', '.join(content)}], dest_dir: marks}}"]
        files |= {f"{name}/{file}": text for file, text in content.items()}
    lines += [f"  {name}: {arn}" for name, arn in named.items()]
    archive = zip_of({**files, "build.yaml": "\n".join(lines) + "\n"})
    return base64.b64encode(archive).decode()


def clients_of(lab: Lab) -> Clients:
    """All of them are made at once: later, the environment is another."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.server.env.items():
            patch.setenv(name, value)
        clients = connect()
        for name in ("lambda_", "lambda_patient", "s3", "logs"):
            getattr(clients, name)
    return clients


@dataclass
class InProcess:
    """A builder with a store of its own; several may share an account."""

    lab: Lab
    folder: Path
    bucket: str = field(init=False)
    clients: Clients = field(init=False)

    def __post_init__(self) -> None:
        self.bucket, self.clients = new_bucket(self.lab.server), clients_of(self.lab)

    def store(self) -> S3Store:
        return S3Store(self.clients, self.bucket, "t/")

    def send(self, event: Mapping[str, object]) -> dict[str, Any]:
        request, store = parse_event(event), self.store()
        context = Context(
            settings=Settings(bucket=self.bucket, role=self.lab.role, lease_s=2),
            clients=self.clients,
            store=store,
            workspace=Workspace(self.folder / uuid.uuid4().hex),
            deadline=Deadline.after(60),
            progress=Progress(),
            environment={},
            secrets=Masker(),
        )
        work = roll_back if request.action == Action.ROLLBACK else build
        return dict(tracked(work, request, context, uuid.uuid4().hex))

    def deploy(
        self,
        function: str,
        code: str = "1",
        layers: Mapping[str, Mapping[str, str]] | None = None,
        named: Mapping[str, str] | None = None,
        **event: object,
    ) -> dict[str, Any]:
        """The reply to a deploy, which must succeed."""
        archive = project(self.lab.runtime, code, layers or {}, named or {})
        reply = self.send({"action": "build", "function": function, "archive": archive, **event})
        assert reply["statusCode"] == 200, reply
        return reply

    def roll_back(self, function: str, **event: object) -> dict[str, Any]:
        return self.send({"action": "rollback", "function": function, **event})

    def forget(self, *names: str) -> None:
        """Lose objects of the store: those below any of `names`, all without one."""
        s3 = self.lab.server.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for entry in page.get("Contents", ()):
                if not names or entry["Key"].removeprefix("t/").startswith(names):
                    s3.delete_object(Bucket=self.bucket, Key=entry["Key"])


def answer(lab: Lab, function: str, alias: str | None = None) -> dict[str, Any]:
    """What the function answers."""
    found = lab.client.invoke(FunctionName=function, **({"Qualifier": alias} if alias else {}))
    content = found["Payload"].read()
    assert "FunctionError" not in found, content
    return dict(json.loads(content))


def attached(lab: Lab, function: str) -> list[str]:
    configuration = lab.client.get_function_configuration(FunctionName=function)
    return [layer["Arn"] for layer in configuration.get("Layers", ())]


def attach(lab: Lab, function: str, *arns: str) -> None:
    """By hand: just these layers."""
    lab.client.update_function_configuration(FunctionName=function, Layers=list(arns))
    lab.settle(function)


def delete(lab: Lab, arn: str) -> None:
    """By hand: a layer version."""
    with contextlib.suppress(lab.client.exceptions.ResourceNotFoundException):
        lab.client.delete_layer_version(LayerName=arn.split(":")[6], VersionNumber=int(arn.split(":")[7]))


def paths(content: bytes) -> set[str]:
    """What is in a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return set(archive.namelist())
