"""The WSGI application in front of moto: Lambda is answered here, the rest by moto."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from localaws.iam.signed import Signed, signed
from localaws.lambda_ import backend, urls
from localaws.lambda_.api import LambdaApi
from localaws.lambda_.calls import Platform
from localaws.wire.requests import HttpAnswer, HttpRequest
from localaws.wire.wsgi import Application, Environ, StartResponse, read_body


class Front:
    """Routes by credential scope and path, and gives every answer one request id."""

    def __init__(
        self,
        moto: Application,
        api: LambdaApi,
        platform: Platform,
        health: Callable[[], Mapping[str, Any]],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called after every request that may have changed something."""
        self._moto = moto
        self._api = api
        self._platform = platform
        self._health = health
        self._changed = changed

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._routed(environ, start_response)
        finally:
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                self._changed()

    def _routed(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        request_id = str(uuid.uuid4())
        if path.startswith(urls.PREFIX):
            return _respond(start_response, self._url(environ, request_id), request_id)
        if path.startswith("/_localaws/"):
            return _respond(start_response, self._own(path), request_id)
        who = signed(environ)
        if who and who.service == "lambda":
            return _respond(start_response, self._api.answer(_request(environ, who, request_id)), request_id)
        return self._moto(environ, start_response)

    def _url(self, environ: Environ, request_id: str) -> HttpAnswer:
        request = _request(environ, None, request_id)
        with_keys = "Credential=" in environ.get("HTTP_AUTHORIZATION", "") or "X-Amz-Credential=" in request.query
        return urls.serve(self._platform, list(backend.regions()), request, signed=with_keys)

    def _own(self, path: str) -> HttpAnswer:
        _, _, kind, *rest = path.split("/")
        if kind == "health":
            return HttpAnswer(status=200, body=json.dumps(self._health()).encode())
        if kind == "code" and len(rest) == 1 and re.fullmatch(r"[0-9a-f]{64}", rest[0]):
            file = self._platform.packages.path(rest[0])
            if file.exists():
                return HttpAnswer(status=200, body=file.read_bytes(), content_type="application/zip")
        return HttpAnswer(status=404, body=b'{"message": "Not Found"}')


def _request(environ: Environ, who: Signed | None, request_id: str) -> HttpRequest:
    """The request; `who` is what its signature says, None for requests that need none."""
    from moto.iam.models import get_account_id_from

    access_key = who.access_key if who else ""
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        query=environ.get("QUERY_STRING", ""),
        headers=_Headers(environ),
        body=read_body(environ),
        account=get_account_id_from(access_key),
        region=who.region if who else "",
        access_key=access_key,
        session_token=environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
        request_id=request_id,
    )


class _Headers(Mapping[str, str]):
    """The headers of a WSGI environment, by any spelling."""

    def __init__(self, environ: Environ) -> None:
        self._values = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
        if environ.get("CONTENT_TYPE"):
            self._values["CONTENT_TYPE"] = environ["CONTENT_TYPE"]

    def __getitem__(self, name: str) -> str:
        return str(self._values[name.upper().replace("-", "_")])

    def __iter__(self) -> Any:
        return (name.lower().replace("_", "-") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


def _respond(start_response: StartResponse, answer: HttpAnswer, request_id: str) -> Iterable[bytes]:
    phrase = HTTPStatus(answer.status).phrase
    headers = [*answer.headers.items(), *answer.repeated, ("x-amzn-RequestId", request_id)]
    if answer.status != HTTPStatus.NO_CONTENT:
        headers += [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
    start_response(f"{answer.status} {phrase}", headers)
    return [answer.body]
