"""Execution environments: one runtime each, initialised once, invoked one at a time."""

from __future__ import annotations

import base64
import binascii
import json
import os
import queue
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from localaws.runtime import reports
from localaws.runtime.api import (
    RESPONSE_LIMIT_BYTES,
    Answer,
    Call,
    Event,
    Exited,
    Failure,
    InitFailure,
    Oversized,
    Ready,
    RuntimeApi,
    Starved,
)
from localaws.runtime.images import Credentials, FunctionImage, InvokeResult
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.machines import ELF_HEAD_BYTES, elf_machine
from localaws.runtime.memory import MemoryWatch, peak_bytes, used_bytes
from localaws.runtime.nodes import Node, major_of, options
from localaws.runtime.reports import Fault
from localaws.runtime.sandbox import Guest, Isolator, Layout, Sandbox
from localaws.runtime.variables import function_variables

__all__ = [
    "Environment",
    "OwnEnvironment",
    "bootstrap_command",
    "client_context_json",
    "error_type",
    "new_log_stream",
    "own_bootstrap",
]

# Lambda's own limit on initialising before the first invocation.
INIT_LIMIT_S = 10.0
_MB = 1024 * 1024


class Environment(Protocol):
    """Protocol of what a pool keeps."""

    image: FunctionImage
    credentials: Credentials

    @property
    def alive(self) -> bool:
        """Whether it can serve another invocation."""

    def invoke(self, payload: bytes, *, request_id: str, invoked_arn: str, client_context: str | None) -> InvokeResult:
        """Run the function once."""

    def kill(self) -> None:
        """Kill every process in it; an invocation under way fails, and the environment is dead."""

    def close(self) -> None:
        """End every process in it."""


class OwnEnvironment:
    """Environment with our own Runtime API."""

    def __init__(
        self,
        image: FunctionImage,
        guest: Guest,
        isolator: Isolator,
        memory: MemoryWatch,
        *,
        forwarded: Mapping[str, str],
        init_limit_s: float = INIT_LIMIT_S,
    ) -> None:
        self.image = image
        self.credentials = image.credentials()
        self._memory = memory
        self._init_limit_s = init_limit_s
        self._log_stream = new_log_stream(image)
        self._peak_bytes = 0
        self._initialised = False
        self._first = True
        self._api = RuntimeApi()
        layout = isolator.layout(guest)
        command = bootstrap_command(image, guest, layout)
        self._broken = command if isinstance(command, str) else None
        variables = function_variables(
            image,
            self.credentials,
            layout,
            api_address=self._api.address,
            log_stream=self._log_stream,
            forwarded=forwarded,
        )
        if guest.language:
            variables["_LAMBDA_TELEMETRY_LOG_FD"] = "3"
        if isinstance(guest.language, Interpreter):
            variables["_LOCALAWS_LAYERS"] = layout.opt
        argv = [] if isinstance(command, str) else command
        self._start_number = 0
        try:
            self._sandbox: Sandbox = isolator.open(guest, layout, argv, variables)
        except BaseException:
            self._api.close()
            raise
        self._sandbox.on_exit = self._exited

    @property
    def alive(self) -> bool:
        return self._sandbox.alive

    def invoke(self, payload: bytes, *, request_id: str, invoked_arn: str, client_context: str | None) -> InvokeResult:
        logs = self._sandbox.logs
        limit_bytes = self.image.memory_mb * _MB
        self._peak_bytes = min(self._peak_bytes, limit_bytes)
        # Before anything runs, so that initialising is also watched.
        self._memory.add(self._sandbox.pid, limit_bytes, self._used, self._starved)
        try:
            init_ms = self._first_initialisation(request_id) if self._first else None
            logs.write(reports.start(request_id, self.image.version))
            begun = time.monotonic()
            deadline = begun + self.image.timeout_s
            result: bytes | Fault | None = None
            # Within the function's timeout: Lambda counts a second initialisation to the invocation.
            if not self._initialised:
                result = self._initialise(request_id, deadline, phase="invoke")
            if result is None:
                result = self._run(self._call(payload, request_id, invoked_arn, client_context, deadline), deadline)
            duration_ms = (time.monotonic() - begun) * 1000
            result = self._measured(request_id, result)
        finally:
            self._memory.remove(self._sandbox.pid)
        fault = result if isinstance(result, Fault) else None
        if fault and fault.line:
            logs.write(fault.line)
        logs.write(reports.end(request_id))
        logs.write(
            reports.report(
                request_id,
                duration_ms=duration_ms,
                init_ms=init_ms,
                memory_mb=self.image.memory_mb,
                used_bytes=self._peak_bytes,
                fault=fault,
            )
        )
        return InvokeResult(
            payload=result.payload if isinstance(result, Fault) else result,
            function_error="Unhandled" if fault else None,
            log_stream=self._log_stream,
            log_lines=logs.take(),
            request_id=request_id,
        )

    def kill(self) -> None:
        self._sandbox.close()

    def close(self) -> None:
        self._sandbox.close()
        self._api.close()

    def _first_initialisation(self, request_id: str) -> float | None:
        """Initialise before the first invocation: return the milliseconds if it succeeds.

        If not, Lambda logs that and initialises again as part of the invocation, within the function's own timeout
        instead of these ten seconds.
        """
        self._first = False
        self._sandbox.logs.write(reports.init_start(self.image))
        begun = time.monotonic()
        fault = self._initialise(request_id, begun + self._init_limit_s, phase="init")
        return None if fault else (time.monotonic() - begun) * 1000

    def _initialise(self, request_id: str, deadline: float, *, phase: str) -> Fault | None:
        begun = time.monotonic()
        session = self._api.renew()
        if self._broken:
            fault = reports.invalid_entrypoint(request_id, self._broken)
        else:
            self._start_number = self._sandbox.start()
            match self._wait(deadline):
                case Ready():
                    self._initialised = True
                    return None
                case InitFailure(payload=payload, type=kind):
                    fault = Fault(type=kind or error_type(payload), payload=payload)
                case other:
                    fault = self._fault(request_id, other)
        session.close()
        self._sandbox.stop()
        self._sandbox.logs.write(reports.init_report((time.monotonic() - begun) * 1000, phase, fault))
        return fault

    def _run(self, call: Call, deadline: float) -> bytes | Fault:
        session = self._api.session
        session.put(call)
        match self._wait(deadline):
            case Answer(payload=payload):
                result: bytes | Fault = payload
            case Failure(payload=payload, type=kind):
                result = Fault(type=kind or error_type(payload), payload=payload)
            case Oversized():
                result = reports.too_large(RESPONSE_LIMIT_BYTES)
            case other:
                self._reset()
                return self._fault(call.request_id, other)
        # For Lambda the invocation ends when the runtime asks for the next one; output until then belongs to it.
        if not isinstance(self._wait(deadline), Ready):
            self._reset()
        return result

    def _measured(self, request_id: str, result: bytes | Fault) -> bytes | Fault:
        """Return the result, or a Fault if the function used too much memory between two polls."""
        self._used(used_bytes(self._sandbox.pid))
        self._used(peak_bytes(self._sandbox.pid))
        # A runtime that was stopped already has its fault; it must not be reported twice.
        if self._peak_bytes > self.image.memory_mb * _MB and self._initialised:
            self._reset()
            return reports.out_of_memory(request_id)
        return result

    def _reset(self) -> None:
        """End the runtime; the next invocation initialises it again. /tmp stays."""
        self._initialised = False
        self._sandbox.stop()

    def _wait(self, deadline: float) -> Event | None:
        """Return the next event of the session, None at the deadline."""
        try:
            return self._api.session.events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def _fault(self, request_id: str, event: Event | None) -> Fault:
        match event:
            case None:
                return reports.timed_out(request_id, self.image.timeout_s)
            case Exited(code=code):
                return reports.exited(request_id, code)
            case Starved():
                return reports.out_of_memory(request_id)
            case InitFailure(payload=payload, type=kind):
                return Fault(type=kind or error_type(payload), payload=payload)
            case _:
                return reports.exited(request_id, None)

    def _call(
        self, payload: bytes, request_id: str, invoked_arn: str, client_context: str | None, deadline: float
    ) -> Call:
        remaining_ms = max(0.0, deadline - time.monotonic()) * 1000
        root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000 + remaining_ms)),
            "Lambda-Runtime-Invoked-Function-Arn": invoked_arn,
            "Lambda-Runtime-Trace-Id": f"Root={root};Parent={secrets.token_hex(8)};Sampled=0",
        }
        if self.image.tenant_id:
            headers["Lambda-Runtime-Aws-Tenant-Id"] = self.image.tenant_id
        if client_context:
            headers["Lambda-Runtime-Client-Context"] = client_context_json(client_context)
        return Call(request_id=request_id, payload=payload, headers=headers)

    def _used(self, size_bytes: int) -> None:
        self._peak_bytes = max(self._peak_bytes, size_bytes)

    def _starved(self) -> None:
        self._api.session.events.put(Starved())

    def _exited(self, number: int, code: int | None) -> None:
        # An earlier start's exit may be told late, and must not end this one.
        if number == self._start_number or code is None:
            self._api.session.events.put(Exited(code))


def bootstrap_command(image: FunctionImage, guest: Guest, layout: Layout) -> list[str] | str:
    """Return the command that starts the runtime, or why none can, with Lambda's wording."""
    match guest.language:
        case Interpreter():
            return list(layout.start)
        case Node() as node:
            given = options(
                node,
                major_of(image.runtime) or node.major,
                memory_mb=image.memory_mb,
                node_options=image.environment.get("NODE_OPTIONS", ""),
            )
            return [*layout.start, *given, f"{layout.runtime}/index.mjs"]
    host = own_bootstrap(guest)
    if host is None:
        return f"Couldn't find valid bootstrap(s): [{layout.task}/bootstrap {layout.opt}/bootstrap]"
    inside = f"{layout.task if host.parent == guest.code else layout.opt}/bootstrap"
    if not host.stat().st_mode & 0o111:
        return f"fork/exec {inside}: permission denied"
    with host.open("rb") as stream:
        head = stream.read(ELF_HEAD_BYTES)
    if head[:2] != b"#!" and elf_machine(head) != image.architecture:
        return f"fork/exec {inside}: exec format error"
    return [inside]


def own_bootstrap(guest: Guest) -> Path | None:
    """Return the runtime that the function includes, from its package or else from its layers."""
    places = (folder / "bootstrap" for folder in (guest.code, guest.opt) if folder)
    return next((place for place in places if place.is_file()), None)


def client_context_json(text: str) -> str:
    """Return the client context as JSON on one line, whether it came as JSON or as the header's base64."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        pass
    try:
        return json.dumps(json.loads(base64.b64decode(text, validate=True)))
    except (ValueError, binascii.Error):
        return text.replace("\r", " ").replace("\n", " ")


def new_log_stream(image: FunctionImage) -> str:
    """Return a name as Lambda makes it: day, version, and an identifier of the environment."""
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{image.version}]{os.urandom(16).hex()}"


def error_type(payload: bytes) -> str:
    """Return the type in an error payload, or a general one."""
    try:
        return str(json.loads(payload)["errorType"])
    except (ValueError, KeyError, TypeError):
        return "Runtime.Unknown"
