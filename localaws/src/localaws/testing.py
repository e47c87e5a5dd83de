"""The embedded AWS and a git server for tests, as context managers: real processes, real HTTP.

with running() as aws:
    aws.client("s3").create_bucket(Bucket="my-bucket")
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from localaws.environment import client_environment
from localaws.serving.gate import TOKEN_HEADER
from localaws.starting import Started, fork, start

READY_TIMEOUT_S = 300
END_TIMEOUT_S = 60


def trust(service: str) -> dict[str, Any]:
    """Return the trust policy of a role for a service like `lambda.amazonaws.com`."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def zip_of(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip with these files; those under `bin/` or called `bootstrap` are executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            executable = name == "bootstrap" or "bin/" in name
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


@cache
def _session() -> Any:
    """Return one session for all clients: loading the service models again takes a tenth of a second each time."""
    import boto3

    return boto3.session.Session()


@dataclass(frozen=True, kw_only=True)
class Server:
    """Running embedded AWS. `env` is the environment for a child process that uses it."""

    endpoint_url: str
    pid: int
    ready_line: str
    env: Mapping[str, str] = field(default_factory=dict)
    operator_token: str = field(default="", repr=False)
    """Token that the controls require while IAM is enforced, in the header `X-Localaws-Token`."""

    def client(self, service: str, **overrides: Any) -> Any:
        """Return a boto3 client with the operator's keys; `overrides` go to `Session.client`."""
        from botocore.config import Config

        arguments: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "region_name": self.env["AWS_REGION"],
            "aws_access_key_id": self.env["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.env["AWS_SECRET_ACCESS_KEY"],
            # No retries: a test must see the first answer. An invoke may last long.
            "config": Config(retries={"total_max_attempts": 1}, read_timeout=300),
        }
        return _session().client(service, **(arguments | overrides))

    def create_role(self, name: str, *statements: Mapping[str, Any], service: str = "lambda.amazonaws.com") -> str:
        """Create a role that a service can assume, with one inline policy of these statements; return its ARN."""
        iam = self.client("iam")
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust(service)))["Role"]["Arn"]
        if statements:
            document = {"Version": "2012-10-17", "Statement": list(statements)}
            iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
        return arn

    @contextmanager
    def fault(self, do: str, *, function: str, **more: object) -> Iterator[PresentFault]:
        """Inject a fault into the function's AWS calls while the block runs.

        `more` as in `localaws.interception.faults.Fault`.
        """
        identity = self._own("POST", "faults", {"do": do, "function": function, **more})["id"]
        fault = PresentFault()
        try:
            yield fault
        finally:
            # Read with the removal, so that no call can come between.
            fault.fired = self._own("DELETE", f"faults/{identity}")["fired"]

    @contextmanager
    def rate_limits(self) -> Iterator[None]:
        """Throttle Lambda's control plane at AWS's rates while the block runs."""
        self._own("PUT", "rate-limits")
        try:
            yield
        finally:
            self._own("DELETE", "rate-limits")

    def calls(self, *, function: str = "", request_id: str = "") -> list[dict[str, Any]]:
        """Return the calls of a function or of one invocation, oldest first.

        See `localaws.interception.api_calls.ApiCall`.
        """
        given = {"function": function, "request_id": request_id}
        query = urllib.parse.urlencode({name: value for name, value in given.items() if value})
        return list(self._own("GET", f"calls?{query}"))

    def _own(self, method: str, path: str, content: object = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", TOKEN_HEADER: self.operator_token}
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.endpoint_url}/_localaws/{path}", body, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["message"]) from error


@dataclass
class PresentFault:
    """Fault that is set; after its removal `fired` says how often it was injected."""

    fired: int = 0


@dataclass(frozen=True, kw_only=True)
class GitServer:
    """Running git server; repositories are at `{url}/{path}`."""

    url: str
    pid: int


@contextmanager
def running(
    *,
    engine: Literal["own", "rie"] = "own",
    isolation: Literal["auto", "bwrap", "plain"] = "auto",
    enforce_iam: bool = False,
    pending_s: float = 0.05,
    forward_network: bool = False,
    state: Path | None = None,
    copy_of: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run an embedded AWS on a free port, and end it on exit.

    Args:
        state: a directory that keeps the account.
        copy_of: a state directory to begin with a copy of; its own server has to have ended.
        environment: the server's whole environment; this process's own by default.
    """
    arguments = ["serve", "--port", "0", "--engine", engine, "--isolation", isolation, "--pending", str(pending_s)]
    arguments += ["--enforce-iam"] if enforce_iam else []
    arguments += ["--forward-network"] if forward_network else []
    arguments += ["--state", str(state)] if state else []
    arguments += ["--copy-of", str(copy_of)] if copy_of else []
    with _child(arguments, environment) as (process, line):
        url = _url(line)
        token = re.search(r"operator token in (.+)\)$", line)
        yield Server(
            endpoint_url=url,
            pid=process.pid,
            ready_line=line,
            env=client_environment(url),
            operator_token=Path(token[1]).read_text() if token else "",
        )


@contextmanager
def git_server(root: Path, token: str | None = None) -> Iterator[GitServer]:
    """Run a git server for the bare repositories under `root`, on a free port; private if a token is given."""
    environment = {**os.environ, **({"LOCALAWS_GIT_TOKEN": token} if token else {})}
    with _child(["git", "--root", str(root), "--port", "0"], environment) as (process, line):
        yield GitServer(url=_url(line), pid=process.pid)


def _url(line: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    if found is None:
        raise RuntimeError(f"not a ready line: {line!r}")
    return found[0]


@contextmanager
def _child(arguments: Sequence[str], environment: Mapping[str, str] | None) -> Iterator[tuple[Started, str]]:
    """Run `python -m localaws …` and yield it with its ready line; end it with SIGINT on exit, as Ctrl-C does.

    Raises:
        RuntimeError: it ended, or said nothing for minutes.
    """
    # Whoever started it may be killed: it ends when the pipe to it does.
    whole = ["--until-eof", *arguments]
    # Python reads some of an environment before it runs any code; outside Linux, forks after imports may crash.
    forkable = environment is None and sys.platform == "linux"
    process = fork(whole) if forkable else start(whole, environment)
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    # readline() has no timeout: the kill closes the pipe, so that it returns.
    impatience = threading.Timer(READY_TIMEOUT_S, process.kill)
    impatience.start()
    try:
        line = process.stdout.readline()
        impatience.cancel()
        if not line:
            raise RuntimeError(f"localaws {' '.join(arguments)} ended before it was ready")
        yield process, line.strip()
    finally:
        impatience.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()
