"""Environments whose Runtime API is AWS's own Runtime Interface Emulator: it keeps ours honest.

What the emulator does not do is made up for here: it has no error flag, no memory limit, one ARN for all, answers a
timeout with plain text, and initialises at the first invocation. Its START, END and REPORT lines give way to ours.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from localaws.runtime import reports
from localaws.runtime.api import RESPONSE_LIMIT_BYTES
from localaws.runtime.environments import bootstrap_command, client_context_json, error_type, new_log_stream
from localaws.runtime.images import FunctionImage, InvokeResult
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.memory import MemoryWatch, peak_bytes, used_bytes
from localaws.runtime.reports import Fault
from localaws.runtime.rootfs import Bind
from localaws.runtime.sandbox import Guest, Isolator
from localaws.runtime.variables import function_variables

__all__ = ["RieEnvironment", "emulator_bind"]

_PATH = "/2015-03-31/functions/function/invocations"
_PLACE = "/usr/local/bin"
_START_LIMIT_S = 10.0
# The emulator sees a timeout late, and may first have to initialise.
_SLACK_S = 12.0
# How long its last lines may take to arrive after its answer; without a REPORT line there is nothing to wait for.
_REPORT_LIMIT_S = 0.5
_QUIET_S = 0.05
_MB = 1024 * 1024


def emulator_bind(binary: Path) -> Bind:
    """How the emulator is shown to a sandbox: the folder, empty on Lambda, in which nothing else is."""
    return Bind(source=binary.parent, target=_PLACE)


class RieEnvironment:
    """One emulator with one runtime."""

    def __init__(
        self,
        image: FunctionImage,
        guest: Guest,
        isolator: Isolator,
        memory: MemoryWatch,
        *,
        forwarded: Mapping[str, str],
    ) -> None:
        """`guest.extra` has `emulator_bind`."""
        self.image = image
        self.credentials = image.credentials()
        self._memory = memory
        self._log_stream = new_log_stream(image)
        self._marker = f"localaws-error-{secrets.token_hex(8)}" if guest.language else None
        self._peak_bytes = 0
        self._stopping: threading.Thread | None = None
        self._running = False
        self._first = True
        self._api_port, self._port = _free_port(), _free_port()
        layout = isolator.layout(guest)
        command = bootstrap_command(image, guest, layout)
        self._broken = command if isinstance(command, str) else None
        variables = function_variables(
            image,
            self.credentials,
            layout,
            api_address=f"127.0.0.1:{self._api_port}",
            log_stream=self._log_stream,
            forwarded=forwarded,
        )
        variables["AWS_LAMBDA_FUNCTION_TIMEOUT"] = str(image.timeout_s)
        if self._marker:
            variables["_LOCALAWS_EMULATOR"] = self._marker
        if isinstance(guest.language, Interpreter):
            variables["_LOCALAWS_LAYERS"] = layout.opt
        argv = [
            # Its own messages go to stderr, the function's lines to stdout, whichever of the two they came from.
            *("/bin/sh", "-c", 'exec "$@" 2>/dev/null', "rie", f"{layout.extra[_PLACE]}/aws-lambda-rie"),
            *("--log-level", "error", "--runtime-api-address", f"127.0.0.1:{self._api_port}"),
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *([] if isinstance(command, str) else command),
        ]
        self._sandbox = isolator.open(guest, layout, argv, variables)

    @property
    def alive(self) -> bool:
        return self._sandbox.alive

    def invoke(self, payload: bytes, *, request_id: str, invoked_arn: str, client_context: str | None) -> InvokeResult:
        logs = self._sandbox.logs
        if self._first:
            self._first = False
            logs.write(reports.init_start(self.image))
        logs.write(reports.start(request_id, self.image.version))
        limit_bytes = self.image.memory_mb * _MB
        self._memory.add(self._sandbox.pid, limit_bytes, self._used, self._starve)
        begun = time.monotonic()
        try:
            result = self._run(payload, request_id, invoked_arn, client_context)
        finally:
            self._memory.remove(self._sandbox.pid)
            if self._stopping:
                self._stopping.join()  # or it would end the successor
                self._stopping = None
        duration_ms = (time.monotonic() - begun) * 1000
        self._used(used_bytes(self._sandbox.pid))
        self._used(peak_bytes(self._sandbox.pid))
        if self._peak_bytes > self.image.memory_mb * _MB:
            self._peak_bytes = self.image.memory_mb * _MB
            self._restart()
            result = reports.out_of_memory(request_id)
        lines, failed = self._lines(logs.take(), request_id)
        if failed and isinstance(result, bytes):
            result = Fault(type=error_type(result), payload=result)
        fault = result if isinstance(result, Fault) else None
        if fault and fault.line:
            logs.write(fault.line)
        logs.write(reports.end(request_id))
        logs.write(
            reports.report(
                request_id,
                duration_ms=duration_ms,
                init_ms=None,
                memory_mb=self.image.memory_mb,
                used_bytes=self._peak_bytes,
                fault=fault,
            )
        )
        return InvokeResult(
            payload=result.payload if isinstance(result, Fault) else result,
            function_error="Unhandled" if fault else None,
            log_stream=self._log_stream,
            log_lines=(*lines, *logs.take()),
            request_id=request_id,
        )

    def kill(self) -> None:
        self._sandbox.close()

    def close(self) -> None:
        self._sandbox.close()

    def _run(self, payload: bytes, request_id: str, invoked_arn: str, client_context: str | None) -> bytes | Fault:
        if self._broken:
            return reports.invalid_entrypoint(request_id, self._broken)
        headers = {"Content-Type": "application/json", "X-Amzn-RequestId": request_id}
        # For the runtimes that we start, the one header that is handed on as it came brings the ARN, too.
        tenant = [invoked_arn] if self._marker else []
        tenant += [self.image.tenant_id] if self.image.tenant_id else []
        if tenant:
            headers["X-Amz-Tenant-Id"] = " ".join(tenant)
        if client_context:
            headers["X-Amz-Client-Context"] = base64.b64encode(client_context_json(client_context).encode()).decode()
        try:
            self._start()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self.image.timeout_s + _SLACK_S)
            connection.request("POST", _PATH, payload, headers)
            response = connection.getresponse()
            body = response.read()
            connection.close()
        except (OSError, http.client.HTTPException):
            self._restart()
            return reports.exited(request_id, None)
        self._await_lines(request_id, complete=response.status == 200)
        return self._result(response.status, body, request_id)

    def _result(self, status: int, body: bytes, request_id: str) -> bytes | Fault:
        timeout = reports.timed_out(request_id, self.image.timeout_s)
        if status == 200:
            late = f"Task timed out after {self.image.timeout_s:.2f} seconds".encode()
            if body == late:
                return timeout
            # A runtime that finds nothing wrong with a refused answer, as that of Node.js, reports no error.
            if body == (refused := reports.too_large(RESPONSE_LIMIT_BYTES)).payload:
                return refused
            if self._marker is None and _looks_like_error(body):
                return Fault(type=error_type(body), payload=body)
            return body
        kind = error_type(body)
        if kind == "Function.ResponseSizeTooLarge":
            return reports.too_large(RESPONSE_LIMIT_BYTES)
        if not body:  # it died before it asked for an invocation; the emulator does not say how
            return reports.exited(request_id, 1)
        message = f"RequestId: {request_id} Error:"
        by_platform = message.encode() in body
        return Fault(
            type=kind, payload=body, line=f"{json.loads(body)['errorMessage']}\n{kind}" if by_platform else None
        )

    def _start(self) -> None:
        """Start the emulator and wait until it listens. Raises OSError when it does not."""
        if self._running:
            return
        self._sandbox.start()
        deadline = time.monotonic() + _START_LIMIT_S
        # It begins to serve runtimes by itself: one that is started at once may be there first.
        for port in (self._port, self._api_port):
            self._await(port, deadline)
        self._running = True

    def _await(self, port: int, deadline: float) -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or not self._sandbox.alive:
                    raise
                time.sleep(0.002)
            else:
                return

    def _restart(self) -> None:
        self._running = False
        self._sandbox.stop()

    def _await_lines(self, request_id: str, *, complete: bool) -> None:
        deadline = time.monotonic() + (_REPORT_LIMIT_S if complete else _QUIET_S)
        last = f"REPORT RequestId: {request_id}"
        while time.monotonic() < deadline and not self._sandbox.logs.holds(last):
            time.sleep(0.0005)

    def _lines(self, events: Iterable[tuple[int, str]], request_id: str) -> tuple[tuple[tuple[int, str], ...], bool]:
        """(the lines without the emulator's own, whether the runtime reported an error)."""
        start = reports.start(request_id, self.image.version)
        marks = [start.split(" Version")[0], f"END RequestId: {request_id}", f"REPORT RequestId: {request_id}"]
        error = f"{self._marker} {request_id}"
        kept: list[tuple[int, str]] = []
        failed = False
        for when_ms, line in events:
            text = line.replace("\r", "\n")
            if text == start and all(one != start for _, one in kept):
                kept.append((when_ms, text))  # ours, written before the emulator was asked
                continue
            for mark in [*marks, error] if self._marker else marks:
                # A last line without a newline has the emulator's line behind it.
                text, found, _ = text.partition(mark)
                failed |= bool(found) and mark == error
                if found and not text:
                    break
            else:
                kept.append((when_ms, text))
        return tuple(kept), failed

    def _used(self, size_bytes: int) -> None:
        self._peak_bytes = max(self._peak_bytes, size_bytes)

    def _starve(self) -> None:
        self._stopping = threading.Thread(target=self._sandbox.stop, name="localaws-starved", daemon=True)
        self._stopping.start()


def _looks_like_error(body: bytes) -> bool:
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and {"errorType", "errorMessage"} <= content.keys()


def _free_port() -> int:
    """A port below the range from which the system takes those of outgoing connections."""
    while True:
        port = random.randint(20_000, 32_000)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
