"""Signer and operation of a request, read from its WSGI environment."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from localaws.wire.errors import UnknownOperationException
from localaws.wire.requests import find_operation
from localaws.wire.wsgi import Environ, read_body

# Parsed as moto does it, right after the algorithm: a second scope elsewhere could name another service.
_SCOPE = r"([^/,\s=]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request"
_HEADER = re.compile(rf"[^\s,]+\s+(?:Credential=)?{_SCOPE}(?=[\s,]|$)")
_QUERY = re.compile(_SCOPE)


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Facts of a signature: access key, service and region."""

    access_key: str
    token: str | None
    region: str
    service: str


def signed(environ: Environ) -> Signed | None:
    """Return the facts of a request's signature, in a header or a presigned URL; None without one."""
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    header = environ.get("HTTP_AUTHORIZATION", "")
    found = _HEADER.match(header) if header else _QUERY.fullmatch(query.get("X-Amz-Credential", ""))
    if found is not None and not header and found[3] != "s3":
        return None  # moto treats every presigned URL as one for S3
    if found is None and "AWSAccessKeyId" in query:  # signature version 2, which only S3 accepts
        security_token = query.get("x-amz-security-token")
        return Signed(access_key=query["AWSAccessKeyId"], token=security_token, region="us-east-1", service="s3")
    if found is None:
        return None
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token")
    return Signed(access_key=found[1], token=token, region=found[2], service=found[3].lower())


def operation(environ: Environ, service: str) -> tuple[str, Mapping[str, Any]]:
    """Return the operation's name and parameters, from the target header, form field, or method and path.

    Parameters in the path are left out. The name is `UnknownOperation` if nothing matches.
    """
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rsplit(".", 1)[-1], _json(peek(environ))
    if service == "lambda":
        return _lambda_operation(environ), {}
    if service == "s3":  # the body is an object's content, also if it is declared as a form
        return _routed(environ, service), {}
    form = {name: values[0] for name, values in parse_qs(peek(environ).decode("utf-8", "replace")).items()}
    query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    if "Action" in form or "Action" in query:
        fields = {**query, **form}
        return fields["Action"], fields
    return _routed(environ, service), {}


def is_ambiguous(environ: Environ, name: str) -> bool:
    """Return whether moto could read another operation, or other parameters, from this request.

    moto looks for an Action in forms, the query, any body and headers before it reads the target. SDKs name the action
    in one place only.
    """
    from werkzeug.wrappers import Request

    body = peek(environ)
    form = Request({**environ, "wsgi.input": io.BytesIO(body)}).form
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    given = dict(form.items()) or query or dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    acted_on = given.get("Action") or environ.get("HTTP_ACTION")
    return (bool(acted_on) and acted_on != name) or (bool(query) and "Action" in form)


def _lambda_operation(environ: Environ) -> str:
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    try:
        found, _ = find_operation(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""))
    except UnknownOperationException:
        return "UnknownOperation"
    return found.name


def _routed(environ: Environ, service: str) -> str:
    from moto.core.request import Request
    from moto.core.routing import get_service_router

    try:
        found, _ = get_service_router(service).match(Request(environ))
    except Exception:  # moto raises several types for a path that it does not know, and answers those requests itself
        return "UnknownOperation"
    return str(found.name)


def peek(environ: Environ) -> bytes:
    """Read the request body, and leave it readable for the application."""
    body = read_body(environ)
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return body


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
