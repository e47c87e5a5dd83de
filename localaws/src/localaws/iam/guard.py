"""Enforcement of IAM before moto: the caller, the permissions needed, and a denial in the service's own format."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from localaws.iam import policies, s3, services
from localaws.iam.signed import Signed, is_ambiguous, operation, peek, signed
from localaws.iam.sts import check_assume_role, keep_session_policies
from localaws.wire.errors import AccessDeniedException, LambdaError, UnrecognizedClientException
from localaws.wire.wsgi import Application, Environ, StartResponse


class Guard:
    """WSGI application that passes to `application` only the requests that the caller's policies allow."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith("/moto-api"):  # `Gate` has checked the operator's token
            return self._application(environ, start_response)
        who = signed(environ)
        if who is None:
            return _refuse(start_response, "s3", AccessDeniedException("Access Denied"))
        try:
            caller = _caller(who)
            if who.service == "sts":
                _keep_session(environ, caller)
            if caller.unlimited:
                return self._application(environ, start_response)
            if who.service == "s3":
                return self._s3(environ, start_response, caller)
            _check_service(environ, who, caller)
        except LambdaError as error:
            return _refuse(start_response, who.service, error, target="HTTP_X_AMZ_TARGET" in environ)
        return self._application(environ, start_response)

    def _s3(self, environ: Environ, start_response: StartResponse, caller: policies.Principal) -> Iterable[bytes]:
        request = _s3_request(environ)
        context = s3.context(request)
        for action, resource in s3.permissions(request):
            caller.require(action, resource, context)
        if request.method not in ("GET", "HEAD") or not request.key:
            return self._application(environ, start_response)
        # Who may list a bucket may know that an object is missing (S3 API, GetObject).
        if caller.allows("s3:ListBucket", request.bucket_arn):
            return self._application(environ, start_response)
        return _hiding_absence(self._application, environ, start_response)


def _caller(who: Signed) -> policies.Principal:
    from moto.iam.models import get_account_id_from

    return policies.principal(who.access_key, who.token, get_account_id_from(who.access_key), enforce=True)


def _s3_request(environ: Environ) -> s3.S3Request:
    bucket, key = s3.located(environ)
    query = {
        name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True).items()
    }
    many = environ["REQUEST_METHOD"] == "POST" and "delete" in query
    return s3.S3Request(
        method=environ["REQUEST_METHOD"],
        bucket=bucket,
        key=key,
        query=query,
        copy_source=environ.get("HTTP_X_AMZ_COPY_SOURCE", ""),
        body=peek(environ) if many else b"",
    )


def _check_service(environ: Environ, who: Signed, caller: policies.Principal) -> None:
    name, params = operation(environ, who.service)
    prefix = services.ACTION_PREFIXES.get(who.service, who.service)
    action = f"{prefix}:{name}"
    # moto decompresses bodies; SDKs only compress large metrics.
    packed = bool(environ.get("HTTP_CONTENT_ENCODING")) and who.service != "monitoring"
    if packed or is_ambiguous(environ, name):
        raise AccessDeniedException("The request can be read in more than one way.")
    # Needs no permission, not even with a Deny (STS API, GetCallerIdentity).
    if action == "sts:GetCallerIdentity":
        return
    context = {"aws:RequestedRegion": who.region, **services.context(who.service, name, params, caller.account)}
    if action == "sts:AssumeRole":
        check_assume_role(caller, params, context)
        return
    # Besides the action itself: IAM checks PassRole for each role that a request hands to a service.
    for role, passed_to in services.passed_roles(who.service, params):
        caller.require("iam:PassRole", role, {"iam:PassedToService": passed_to})
    for spellings in services.resources(who.service, params, who.region, caller.account):
        first, *others = spellings.split("|")
        if not any(caller.allows(action, other, context) for other in others):
            caller.require(action, first, context)


def _keep_session(environ: Environ, caller: policies.Principal) -> None:
    name, params = operation(environ, "sts")
    if name == "AssumeRole":
        keep_session_policies(environ, params, caller.account)


def _hiding_absence(application: Application, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 403 instead of 404 to callers who may not list the bucket, as S3 does."""
    answer: dict[str, Any] = {}

    def remember(status: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], Any]:
        answer.update(status=status, headers=headers)
        return lambda _data: None

    chunks = application(environ, remember)
    if answer["status"].startswith("404"):
        b"".join(chunks)
        return _refuse(start_response, "s3", AccessDeniedException("Access Denied"))
    start_response(answer["status"], answer["headers"])
    return chunks


def _refuse(
    start_response: StartResponse, service: str, error: LambdaError, *, target: bool = False
) -> Iterable[bytes]:
    """Answer with a denial in the format of the service's protocol."""
    request_id = str(uuid.uuid4())
    invalid = isinstance(error, UnrecognizedClientException)
    message = escape(error.message)
    if service == "s3":
        code = "InvalidAccessKeyId" if invalid else "AccessDenied"
        body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        content_type, status = "application/xml", "403 Forbidden"
    elif target:
        body = json.dumps({"__type": error.code, "Message": error.message, "message": error.message})
        content_type, status = "application/x-amz-json-1.1", "400 Bad Request"
    else:
        denied = isinstance(error, AccessDeniedException)
        code = "InvalidClientTokenId" if invalid else "AccessDenied" if denied else error.code
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        content_type, status = "text/xml", "403 Forbidden" if denied or invalid else "400 Bad Request"
    content = body.encode()
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(content))),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", error.code),
    ]
    start_response(status, headers)
    return [content]
