"""Log lines and error payloads that Lambda's platform writes around an invocation."""

from __future__ import annotations

import json
import math
import re
import signal
from dataclasses import dataclass
from datetime import UTC, datetime

from localaws.runtime.images import FunctionImage

__all__ = ["Fault", "end", "exited", "init_report", "init_start", "out_of_memory", "report", "start", "timed_out"]

_MB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Reason why an invocation or an initialisation failed."""

    type: str
    payload: bytes
    """Payload for the caller."""
    status: str = "error"
    """Status as in REPORT: "error" or "timeout"."""
    line: str | None = None
    """Line that the platform adds to the log."""


def init_start(image: FunctionImage) -> str:
    """Format the first line of an environment's log."""
    runtime = re.sub(r"^(python|nodejs)([\d.]*\d).*", r"\1:\2", image.runtime)
    return (
        f"INIT_START Runtime Version: {runtime}.local\t"
        f"Runtime Version ARN: arn:aws:lambda:{image.region}::runtime:local"
    )


def init_report(duration_ms: float, phase: str, fault: Fault) -> str:
    """Format the line about a failed initialisation."""
    kind = f"\tError Type: {fault.type}" if fault.status == "error" else ""
    return f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\tStatus: {fault.status}{kind}"


def start(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}"


def end(request_id: str) -> str:
    return f"END RequestId: {request_id}"


def report(
    request_id: str,
    *,
    duration_ms: float,
    init_ms: float | None,
    memory_mb: int,
    used_bytes: int,
    fault: Fault | None = None,
) -> str:
    """Format the REPORT line. Since August 2025 initialising is also billed."""
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(duration_ms + (init_ms or 0))} ms",
        f"Memory Size: {memory_mb} MB",
        # Not more than there is: between two measurements a function may have had more than its limit.
        f"Max Memory Used: {min(memory_mb, math.ceil(used_bytes / _MB))} MB",
    ]
    if init_ms is not None:
        parts.append(f"Init Duration: {init_ms:.2f} ms")
    if fault and fault.status == "timeout":
        parts.append("Status: timeout")
    elif fault and fault.line:  # an error that the function reported itself is a success for the platform
        parts += ["Status: error", f"Error Type: {fault.type}"]
    return "\t".join(parts) + "\t"


def timed_out(request_id: str, timeout_s: float) -> Fault:
    """Describe a timeout: the function did not respond in time."""
    text = f"Task timed out after {timeout_s:.2f} seconds"
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Fault(
        type="Sandbox.Timedout",
        payload=_payload("Sandbox.Timedout", f"RequestId: {request_id} Error: {text}"),
        status="timeout",
        line=f"{now} {request_id} {text}\n",
    )


def out_of_memory(request_id: str) -> Fault:
    """Describe a kill: the function used more than its memory size."""
    return _runtime_fault("Runtime.OutOfMemory", request_id, "Runtime exited with error: signal: killed")


def exited(request_id: str, code: int | None) -> Fault:
    """Describe a runtime that ended by itself; `code` is a shell's exit code, None if unknown."""
    if code == 0:
        return _runtime_fault("Runtime.ExitError", request_id, "Runtime exited without providing a reason")
    # Unknown where the supervisor has ended, which is how a sandbox is killed.
    if code is None:
        code = 128 + signal.SIGKILL
    reason = f"signal: {_signal_name(code - 128)}" if code > 128 else f"exit status {code}"
    return _runtime_fault("Runtime.ExitError", request_id, f"Runtime exited with error: {reason}")


def invalid_entrypoint(request_id: str, reason: str) -> Fault:
    """Describe a bootstrap that is missing or cannot be started."""
    return _runtime_fault("Runtime.InvalidEntrypoint", request_id, reason)


def too_large(limit_bytes: int) -> Fault:
    """Describe a response over the limit."""
    kind = "Function.ResponseSizeTooLarge"
    message = f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
    return Fault(type=kind, payload=_payload(kind, message), line=message)


def _runtime_fault(kind: str, request_id: str, reason: str) -> Fault:
    message = f"RequestId: {request_id} Error: {reason}"
    return Fault(type=kind, payload=_payload(kind, message), line=f"{message}\n{kind}")


def _payload(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()


def _signal_name(number: int) -> str:
    # Lambda shows the names of its Go types.
    names = {1: "hangup", 2: "interrupt", 3: "quit", 4: "illegal instruction", 6: "aborted", 7: "bus error"}
    names |= {8: "floating point exception", 9: "killed", 11: "segmentation fault", 13: "broken pipe", 15: "terminated"}
    return names.get(number, str(number))
