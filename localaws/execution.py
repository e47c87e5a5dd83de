"""Where functions run: the one module of the execution side that the control plane imports.

fleet = Fleet(cache=Path("…"), engine="own", isolation="auto")
code = extract(Path("function.zip"), fleet.cache)
result = fleet.invoke(FunctionImage(code=code, …), b"{}", request_id="…", invoked_arn="…")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from localaws.images import Credentials, FunctionImage, InvokeResult, RuntimeUnavailable
from localaws.trees import BadArchive, extract

__all__ = [
    "BadArchive",
    "Credentials",
    "Engine",
    "Fleet",
    "FunctionImage",
    "InvokeResult",
    "Isolation",
    "RuntimeUnavailable",
    "extract",
]

Engine = Literal["own", "rie"]
Isolation = Literal["auto", "bwrap", "plain"]


class Fleet:
    """Execution environments of all functions. Thread-safe: one invoke at a time in each, more started under load."""

    isolation: Literal["bwrap", "plain"]
    why: str | None
    """Why "auto" fell back to plain children; None when it did not."""
    runtimes: Mapping[str, str]
    """Runtime name → what runs it here, `{"python3.13": "CPython 3.13.0 at …", "provided.al2023": "bootstrap"}`."""

    def __init__(
        self, *, cache: Path, engine: Engine = "own", isolation: Isolation = "auto", forward_env: Sequence[str] = ()
    ) -> None:
        raise NotImplementedError

    def invoke(
        self,
        image: FunctionImage,
        payload: bytes,
        *,
        request_id: str,
        invoked_arn: str,
        client_context: str | None = None,
    ) -> InvokeResult:
        """Run the function once and wait for it. `client_context` is the JSON text or its base64.

        Raises RuntimeUnavailable when nothing here can run `image.runtime`. Whatever the function itself does wrong
        is an InvokeResult with `function_error`.
        """
        raise NotImplementedError

    def prepare(self, image: FunctionImage) -> None:
        """Do ahead what does not depend on the invocation: the runtime's directory, the merged layers."""
        raise NotImplementedError

    def discard(self, arn: str) -> None:
        """Stop the environments of a function: idle ones now, busy ones after their invocation."""
        raise NotImplementedError

    def close(self) -> None:
        """End every child. Invocations still running answer with an error."""
        raise NotImplementedError
