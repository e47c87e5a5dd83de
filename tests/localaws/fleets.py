"""A fleet of execution environments without the control plane above it, and what it takes to use it in one line."""

from __future__ import annotations

import json
import os
import platform
import textwrap
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localaws.runtime import interpreters
from localaws.runtime.execution import (
    Credentials,
    Engine,
    Fleet,
    FunctionImage,
    InvokeResult,
    RuntimeUnavailable,
    extract,
)

FOUND = interpreters.find(os.environ)
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
_ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
Files = Mapping[str, str | bytes]

# One function for most tests: its event says what it does.
APP = """
    import json, logging, os, subprocess, sys, time
    print("initialised")
    count = 0

    def handler(event, context):
        global count
        count += 1
        do = event.get("do")
        if do == "raise":
            raise ValueError("no good")
        if do == "exit":
            open(os.environ.get("TMPDIR", "/tmp") + "/kept", "w").write("kept")
            os._exit(3)
        if do == "sleep":
            time.sleep(event["seconds"])
        if do == "memory":
            block = b"x" * (event["mb"] * 1024 * 1024)
            time.sleep(event.get("seconds", 0))
        if do == "sh":
            done = subprocess.run(["/bin/sh", "-c", event["command"]], stdout=-1, stderr=-2)
            return {"code": done.returncode, "output": done.stdout.decode()}
        if do == "log":
            print("unfinished", end="")
            sys.stdout.flush()
            logging.warning("first\\nsecond")
            print("to stderr", file=sys.stderr)
            os.write(1, b"%s\\n" % ("é" * 5).encode())
            for number in range(event.get("lines", 0)):
                print("line", number)
        if do == "detach":
            subprocess.Popen(["sleep", event["mark"]], start_new_session=True)
        if do == "large":
            return "x" * event["bytes"]
        if do == "meet":
            import socket
            with socket.create_connection(("127.0.0.1", event["port"])) as peer:
                peer.sendall(context.log_stream_name.encode())
                assert peer.recv(2) == b"go"
        client = context.client_context
        return {
            "event": event, "count": count, "env": dict(os.environ), "path": sys.path, "cwd": os.getcwd(),
            "tmp": sorted(os.listdir(os.environ.get("TMPDIR", "/tmp"))), "uid": os.getuid(), "prefix": sys.prefix,
            "request": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
            "version": context.function_version, "memory": context.memory_limit_in_mb, "python": sys.version_info[:2],
            "remaining": context.get_remaining_time_in_millis(), "stream": context.log_stream_name,
            "group": context.log_group_name, "client": client and [client.custom, client.env],
        }
"""


@dataclass
class Lab:
    """A fleet, and what it takes to use it in one line."""

    fleet: Fleet
    engine: Engine
    scratch: Path
    images: dict[str, FunctionImage] = field(default_factory=dict)

    @property
    def sandboxed(self) -> bool:
        return self.fleet.isolation == "bwrap"

    def tree(self, files: Files, executable: tuple[str, ...] = ("bootstrap", "bin/", "lib/")) -> Path:
        """The extracted directory of a zip of `files`; text is dedented. `executable` are beginnings of names."""
        path = self.scratch / f"{uuid.uuid4()}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o755 if name.startswith(executable) else 0o644) << 16
                archive.writestr(info, textwrap.dedent(text) if isinstance(text, str) else text)
        return extract(path, self.scratch)

    def image(self, files: Files | None = None, layers: Sequence[Files] = ()) -> FunctionImage:
        """A new function on the newest Python there is."""
        name = f"f-{uuid.uuid4().hex[:8]}"
        return FunctionImage(
            name=name,
            arn=_ARN + name,
            version="$LATEST",
            revision=str(uuid.uuid4()),
            account="123456789012",
            region="us-east-1",
            runtime=f"python{next(reversed(FOUND))}",
            handler="app.handler",
            architecture=MACHINE,
            code=self.tree(files or {"app.py": APP}),
            layers=tuple(self.tree(layer) for layer in layers),
            environment={},
            timeout_s=10,
            memory_mb=512,
            ephemeral_mb=512,
            credentials=lambda: Credentials(access_key_id="ASIA1", secret_access_key="hidden", session_token="token"),
            endpoint_url="http://127.0.0.1:9",
            log_group=f"/aws/lambda/{name}",
        )

    @property
    def common(self) -> FunctionImage:
        """One function for all tests that leave it as they found it."""
        if "common" not in self.images:
            self.images["common"] = self.image()
        return self.images["common"]

    def invoke(self, image: FunctionImage, event: object = None, **more: str) -> InvokeResult:
        payload = json.dumps({} if event is None else event).encode()
        given = {"request_id": str(uuid.uuid4()), "invoked_arn": image.arn, **more}
        return self.fleet.invoke(image, payload, **given)

    def answer(self, image: FunctionImage, event: object = None, **more: str) -> dict[str, object]:
        """What the function returned; fails with its log when it did not."""
        result = self.invoke(image, event, **more)
        assert result.function_error is None, (result.payload, result.log_lines)
        content = json.loads(result.payload)
        assert isinstance(content, dict)
        return content

    def shell(self, image: FunctionImage, command: str) -> tuple[int, str]:
        """(exit code, output) of a shell command inside the function."""
        content = self.answer(image, {"do": "sh", "command": command})
        return int(str(content["code"])), str(content["output"])


def fleet_for(scratch: Path, engine: Engine, isolation: str, forwarded: Mapping[str, str] | None = None) -> Fleet:
    if not FOUND:
        pytest.skip("no CPython from 3.9 to 3.14 found: install one")
    try:
        return Fleet(cache=scratch, engine=engine, isolation=isolation, forwarded=forwarded or {})  # type: ignore[arg-type]
    except RuntimeUnavailable as error:
        pytest.skip(f"{error}: install bubblewrap and allow user namespaces")


def error_of(result: InvokeResult) -> dict[str, object]:
    assert result.function_error == "Unhandled", result.payload
    content = json.loads(result.payload)
    assert isinstance(content, dict)
    return content


def lines_of(result: InvokeResult) -> list[str]:
    return [line for _, line in result.log_lines]
