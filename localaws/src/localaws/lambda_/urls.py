"""Function URLs: their configurations, and HTTP requests turned into payload format 2.0 and back."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from localaws.iam.policies import decide
from localaws.lambda_.calls import Call, Platform
from localaws.lambda_.configuration import check_untenanted
from localaws.lambda_.functions import page, resolve
from localaws.lambda_.model import LATEST, Function, FunctionUrl, Region, timestamp
from localaws.lambda_.running import run, target
from localaws.wire.errors import LambdaError, ResourceConflictException, ResourceNotFoundException
from localaws.wire.requests import HttpAnswer, HttpRequest, Json

PREFIX = "/_localaws/url/"
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


def create_function_url_config(call: Call) -> Json:
    function, qualifier = call.function()
    resolve(function, qualifier)
    check_untenanted(function, "Function URLs are")
    with call.region.lock:
        if (qualifier or LATEST) in function.urls:
            raise ResourceConflictException(
                f"Failed to create function url config for [functionArn = {function.qualified(qualifier)}]. "
                "Error message: FunctionUrlConfig exists for this Lambda function"
            )
        url = FunctionUrl(
            url_id=uuid.uuid4().hex,
            auth_type=call.params["AuthType"],
            invoke_mode=call.params.get("InvokeMode", "BUFFERED"),
            cors=call.params.get("Cors"),
            created_at=call.now,
            modified_at=call.now,
        )
        function.urls[qualifier or LATEST] = url
    return _shown(call, function, qualifier, url)


def get_function_url_config(call: Call) -> Json:
    function, qualifier = call.function()
    return _shown(call, function, qualifier, _existing(function, qualifier))


def update_function_url_config(call: Call) -> Json:
    function, qualifier = call.function()
    old = _existing(function, qualifier)
    new = replace(
        old,
        auth_type=call.params.get("AuthType", old.auth_type),
        invoke_mode=call.params.get("InvokeMode", old.invoke_mode),
        cors=call.params.get("Cors", old.cors),
        modified_at=call.now,
    )
    function.urls[qualifier or LATEST] = new
    return _shown(call, function, qualifier, new)


def delete_function_url_config(call: Call) -> Json:
    function, qualifier = call.function()
    _existing(function, qualifier)
    del function.urls[qualifier or LATEST]
    return {}


def list_function_url_configs(call: Call) -> Json:
    function, _ = call.function()
    entries = [
        _shown(call, function, None if qualifier == LATEST else qualifier, url)
        for qualifier, url in function.urls.items()
    ]
    return page(call, "FunctionUrlConfigs", entries, default=50)


def _existing(function: Function, qualifier: str | None) -> FunctionUrl:
    url = function.urls.get(qualifier or LATEST)
    if url is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return url


def _shown(call: Call, function: Function, qualifier: str | None, url: FunctionUrl) -> Json:
    answer: Json = {
        "FunctionUrl": f"{call.platform.endpoint_url}{PREFIX}{url.url_id}/",
        "FunctionArn": function.qualified(qualifier),
        "AuthType": url.auth_type,
        "InvokeMode": url.invoke_mode,
        "CreationTime": timestamp(url.created_at),
        "LastModifiedTime": timestamp(url.modified_at),
    }
    return {**answer, "Cors": url.cors} if url.cors else answer


@dataclass(frozen=True, kw_only=True)
class _Found:
    function: Function
    qualifier: str | None
    url: FunctionUrl


def serve(platform: Platform, regions: list[Region], request: HttpRequest, *, signed: bool) -> HttpAnswer:
    """Answer an HTTP request to a function URL; `request.path` begins with PREFIX.

    With AuthType AWS_IAM an unsigned request is refused; signatures themselves are not verified. With NONE the
    function's policy must allow everyone.
    """
    url_id, _, rest = request.path.removeprefix(PREFIX).partition("/")
    found = _find(regions, url_id)
    if found is None:
        return _message(HTTPStatus.NOT_FOUND, "Not Found")
    if not (signed if found.url.auth_type == "AWS_IAM" else _is_open(found)):
        return _message(HTTPStatus.FORBIDDEN, _FORBIDDEN)
    event = json.dumps(_event(request, f"/{rest}", found)).encode()
    try:
        what = target(found.function, found.qualifier, platform.clock())
        result = run(platform, what, event, request_id=request.request_id)
    except LambdaError as error:
        return _message(HTTPStatus(error.status if error.status == 429 else 502), error.message)
    if result.function_error:
        return HttpAnswer(status=502, body=b"Internal Server Error", content_type="application/json")
    return _answer(result.payload)


def _find(regions: list[Region], url_id: str) -> _Found | None:
    for region in regions:
        for function in list(region.functions.values()):
            for qualifier, url in function.urls.items():
                if url.url_id == url_id:
                    return _Found(function=function, qualifier=None if qualifier == LATEST else qualifier, url=url)
    return None


def _is_open(found: _Found) -> bool:
    policy = found.function.policies.get(found.qualifier or LATEST)
    public = [each for each in (policy.statements if policy else ()) if each["Principal"] in ("*", {"AWS": "*"})]
    arn = found.function.qualified(found.qualifier)
    # Both actions: since October 2025 a public URL also needs lambda:InvokeFunction (Lambda Developer Guide,
    # urls-auth).
    return decide(public, "lambda:InvokeFunctionUrl", arn, {"lambda:functionurlauthtype": "NONE"}) and decide(
        public, "lambda:InvokeFunction", arn, {"lambda:invokedviafunctionurl": "true"}
    )


def _message(status: HTTPStatus, text: str) -> HttpAnswer:
    return HttpAnswer(status=status, body=json.dumps({"Message": text}).encode())


def _event(request: HttpRequest, path: str, found: _Found) -> Json:
    """Return the payload format 2.0 of a request."""
    # Payload format 2.0 has cookies in a list of their own, and joins repeated parameters by commas (Lambda Developer
    # Guide, urls-invocation).
    headers = {name: value for name, value in request.headers.items() if name != "cookie"}
    host = request.headers.get("host", "")
    now = time.time()
    event: Json = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": found.url.url_id,
            "domainName": host,
            "domainPrefix": found.url.url_id,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": request.headers.get("user-agent", ""),
            },
            "requestId": request.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if request.query:
        event["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    if "cookie" in request.headers:
        event["cookies"] = [cookie.strip() for cookie in request.headers["cookie"].split(";")]
    if request.body:
        event |= _body(request.body, request.headers.get("content-type", ""))
    return event


def _joined(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for key, value in pairs:
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _body(body: bytes, content_type: str) -> Json:
    """Return the body as text or base64, depending on the content type, as Lambda does."""
    kind = content_type.partition(";")[0].strip().lower()
    textual = kind.startswith("text/") or kind in {"application/json", "application/javascript", "application/xml"}
    if textual:
        return {"body": body.decode("utf-8", "replace"), "isBase64Encoded": False}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _answer(payload: bytes) -> HttpAnswer:
    """Return a function's result as HTTP: a structure with statusCode, or anything else as JSON with 200."""
    value: Any = json.loads(payload or b"null")
    if not isinstance(value, dict) or "statusCode" not in value:
        return HttpAnswer(status=200, body=value.encode() if isinstance(value, str) else payload)
    text = value.get("body") or ""
    body = text if isinstance(text, str) else json.dumps(text)
    content = base64.b64decode(body) if value.get("isBase64Encoded") else body.encode()
    headers = {str(name): str(item) for name, item in (value.get("headers") or {}).items()}
    content_type = next((item for name, item in headers.items() if name.lower() == "content-type"), "application/json")
    kept = {name: item for name, item in headers.items() if name.lower() not in {"content-type", "content-length"}}
    # One header for each: cookies cannot be joined into one.
    cookies = tuple(("Set-Cookie", str(cookie)) for cookie in value.get("cookies") or ())
    return HttpAnswer(
        status=int(value["statusCode"]), body=content, headers=kept, content_type=content_type, repeated=cookies
    )
