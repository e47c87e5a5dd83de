"""The values that cross between the control plane and the execution side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Credentials", "FunctionImage", "InvokeResult", "RuntimeUnavailable"]


class RuntimeUnavailable(Exception):
    """Nothing on this machine can run the function's runtime; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Temporary credentials of the function's role, as STS hands them out."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FunctionImage:
    """All that an execution environment is made of.

    Two images with the same `arn` and `revision` are the same one and share warm environments, so `revision` has to
    change whenever code, layers or configuration do (a fresh UUID, or "REVISION:VERSION" for published ones).
    """

    name: str
    arn: str
    """Unqualified function ARN."""
    version: str
    """"$LATEST" or a number."""
    revision: str
    account: str
    region: str
    runtime: str
    handler: str
    architecture: str
    code: Path
    """Directory made by `extract`; never written to."""
    layers: tuple[Path, ...]
    """Directories made by `extract`, in the order of the function's configuration."""
    environment: Mapping[str, str]
    timeout_s: int
    memory_mb: int
    ephemeral_mb: int
    credentials: Callable[[], Credentials]
    """New ones of the role, for one environment."""
    endpoint_url: str
    """What the function gets as AWS_ENDPOINT_URL; "" sets none."""
    log_group: str
    tenant_id: str | None = None
    """Whose environments these are; they are never used for another tenant."""


@dataclass(frozen=True, kw_only=True)
class InvokeResult:
    """What one invocation gave."""

    payload: bytes
    function_error: str | None
    """None, or "Unhandled": exactly the X-Amz-Function-Error header."""
    log_stream: str
    log_lines: tuple[tuple[int, str], ...]
    """(milliseconds since the epoch, text without its final newline) of every log event, in order. A cold start begins
    with INIT_START and what initialising printed, then START … END and REPORT. An event may contain newlines."""
    request_id: str
