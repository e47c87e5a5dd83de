"""What the embedded AWS's own tests share: a server with a role at hand, expected refusals, waiting."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from localaws.testing import Server, zip_of

ECHO = "def handler(event, context):\n    return event\n"
CODE = zip_of({"app.py": ECHO})
OTHER = zip_of({"app.py": "def handler(event, context):\n    return 2\n"})
INVALID = "InvalidParameterValueException"
VALIDATION = "ValidationException"


def code_sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@contextmanager
def refused(code: str, message: str, status: int | None = None) -> Iterator[None]:
    """Expect an AWS error with this code, message part and HTTP status."""
    with pytest.raises(ClientError) as caught:
        yield
    found: Any = caught.value.response
    assert found["Error"]["Code"] == code, found
    assert message in found["Error"]["Message"], found
    assert status in (None, found["ResponseMetadata"]["HTTPStatusCode"]), found


@cache
def zip_unpacking_to(size_bytes: int) -> bytes:
    """A small zip that becomes this big."""
    return zip_of({"app.py": "", "zeros": b"\0" * size_bytes})


_NUMBERS = itertools.count(1)


def newest_python(server: Server) -> str:
    """The newest Python runtime that the server can run."""
    runtimes = requests.get(f"{server.endpoint_url}/_localaws/health", timeout=10).json()["runtimes"]
    pythons = sorted((name for name in runtimes if name.startswith("python")), key=lambda name: int(name.split(".")[1]))
    if not pythons:
        pytest.skip("no CPython that is a Lambda runtime: install python3.11 or newer")
    return str(pythons[-1])


@dataclass(frozen=True)
class Lab:
    """A server with what Lambda tests need at hand."""

    server: Server
    client: Any
    role: str
    runtime: str

    def name(self, stem: str = "f") -> str:
        return f"{stem}-{next(_NUMBERS)}"

    def function(self, source: str = ECHO, *, wait: bool = True, **overrides: Any) -> str:
        """Create a function from source (or `Code`) and return its name, active unless told not to wait."""
        name = str(overrides.pop("FunctionName", "") or self.name())
        request = {
            "FunctionName": name,
            "Runtime": self.runtime,
            "Handler": "app.handler",
            "Role": self.role,
            "Code": {"ZipFile": zip_of({"app.py": source})},
            **overrides,
        }
        self.client.create_function(**{key: value for key, value in request.items() if value is not None})
        if wait:
            self.settle(name)
        return name

    def settle(self, name: str) -> None:
        """Wait until nothing of the function is Pending or InProgress."""
        wait_until(lambda: self._settled(name), f"{name} to settle")

    def _settled(self, name: str) -> bool:
        configuration = self.client.get_function(FunctionName=name)["Configuration"]
        return (configuration["State"], configuration.get("LastUpdateStatus")) == ("Active", "Successful")

    def layer(self, files: dict[str, str | bytes], name: str = "", **overrides: Any) -> str:
        """Publish a layer version and return its ARN."""
        request = {"LayerName": name or self.name("layer"), "Content": {"ZipFile": zip_of(files)}, **overrides}
        return str(self.client.publish_layer_version(**request)["LayerVersionArn"])


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 20) -> Any:
    """Poll until the condition is true and return its value; fail naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout_s} s for {what}")


def make_lab(server: Server) -> Lab:
    role = server.create_role(f"lab-{next(_NUMBERS)}", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    # The server's own checks are what is tested, not the client's.
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=120)
    return Lab(server=server, client=server.client("lambda", config=config), role=role, runtime=newest_python(server))
