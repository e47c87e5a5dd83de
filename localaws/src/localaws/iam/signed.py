"""Whose request it is and which operation it names, told from a WSGI environment without answering it."""

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

# Read as moto reads it, from the first thing behind the algorithm: elsewhere another scope could stand.
_SCOPE = r"([^/,\s=]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request"
_HEADER = re.compile(rf"[^\s,]+\s+(?:Credential=)?{_SCOPE}(?=[\s,]|$)")
_QUERY = re.compile(_SCOPE)


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The signature's facts: who signed, for which service and region."""

    access_key: str
    token: str | None
    region: str
    service: str


def signed(environ: Environ) -> Signed | None:
    """What the signature of a request says, in a header or in a presigned URL; None without one."""
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    header = environ.get("HTTP_AUTHORIZATION", "")
    found = _HEADER.match(header) if header else _QUERY.fullmatch(query.get("X-Amz-Credential", ""))
    if found is not None and not header and found[3] != "s3":
        return None  # moto takes every presigned URL for one of S3
    if found is None and "AWSAccessKeyId" in query:  # a URL presigned the old way: S3 only
        security_token = query.get("x-amz-security-token")
        return Signed(access_key=query["AWSAccessKeyId"], token=security_token, region="us-east-1", service="s3")
    if found is None:
        return None
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token")
    return Signed(access_key=found[1], token=token, region=found[2], service=found[3].lower())


def operation(environ: Environ, service: str) -> tuple[str, Mapping[str, Any]]:
    """Name and parameters of the operation, by target header, form field, or method and path.

    Parameters that are in the path are left out. `UnknownOperation` where nothing fits.
    """
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rsplit(".", 1)[-1], _json(peek(environ))
    if service == "lambda":
        return _lambda_operation(environ), {}
    if service == "s3":  # a body is content, however it is declared
        return _routed(environ, service), {}
    form = {name: values[0] for name, values in parse_qs(peek(environ).decode("utf-8", "replace")).items()}
    query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    if "Action" in form or "Action" in query:
        fields = {**query, **form}
        return fields["Action"], fields
    return _routed(environ, service), {}


def is_ambiguous(environ: Environ, name: str) -> bool:
    """Whether moto could take a request that names this operation for another one, or for other parameters.

    It looks for an Action in forms, then in the query, in bodies of any kind, and in headers, before the target; SDKs
    name one in one place.
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
    except Exception:  # moto raises several kinds for a path it does not know; it will answer that itself
        return "UnknownOperation"
    return str(found.name)


def peek(environ: Environ) -> bytes:
    """The request body, left readable for the application."""
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
