"""Outermost WSGI application: serves only programs of this machine, and reserves the controls for the operator."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from localaws.wire.origins import is_form, why_refused
from localaws.wire.wsgi import Application, Environ, StartResponse, read_body

__all__ = ["TOKEN_FILE", "TOKEN_HEADER", "Gate", "new_token"]

TOKEN_HEADER = "X-Localaws-Token"  # noqa: S105 (a name)
TOKEN_FILE = "operator-token"  # noqa: S105 (in the state directory)
_CONTROLS = ("/moto-api", "/_localaws/faults", "/_localaws/calls", "/_localaws/rate-limits")


def new_token(file: Path) -> str:
    """Write a new operator token to a file that only this user can read, and return it."""
    token = secrets.token_urlsafe(32)
    with suppress(FileNotFoundError):
        file.unlink()  # never reuse an existing file: its mode may be open, or it may be a link
    # The mode is set at creation: between creation and chmod, others could open the file.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(token)
    return token


class Gate:
    """WSGI application that passes on requests from this machine; with a `token`, the controls require it."""

    def __init__(self, application: Application, token: str | None) -> None:
        self._application = application
        self._token = token

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        why = why_refused(lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}"))
        if why is None and environ.get("PATH_INFO", "").startswith(_CONTROLS):
            why = self._why_not_operator(environ)
        if why is None:
            return self._application(environ, start_response)
        read_body(environ)  # drain the body: a client that is still sending would not read the response
        body = json.dumps({"message": f"Forbidden: {why}"}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    def _why_not_operator(self, environ: Environ) -> str | None:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and is_form(environ.get("CONTENT_TYPE")):
            return "a page of any site can send this content type: use application/json or application/octet-stream"
        given = environ.get("HTTP_X_LOCALAWS_TOKEN", "")
        # In constant time, so that the token cannot be guessed letter by letter.
        if self._token is not None and not hmac.compare_digest(given.encode(), self._token.encode()):
            return f"with IAM enforced, only the operator may; the ready line names the file with the {TOKEN_HEADER}"
        return None
