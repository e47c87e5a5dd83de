"""The outermost WSGI application: sees every call that a function makes of AWS, keeps it, and lets faults happen."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from localaws.iam.signed import signed
from localaws.interception.api_calls import ApiCall, CallLog
from localaws.interception.faults import Fault, FaultError, Faults
from localaws.lambda_.rates import ControlPlaneRates
from localaws.runtime.callers import Callers, Invocation
from localaws.wire.wsgi import Application, Environ, StartResponse, read_body

_FAULTS, _CALLS, _RATES = "/_localaws/faults", "/_localaws/calls", "/_localaws/rate-limits"
_WRONG_METHOD = 405
# What AWS says by protocol: status, error code, message.
_ANSWERS = {
    ("throttle", "lambda"): (429, "TooManyRequestsException", "Rate exceeded"),
    ("throttle", "s3"): (503, "SlowDown", "Please reduce your request rate."),
    ("throttle", "json"): (400, "ThrottlingException", "Rate exceeded"),
    ("throttle", "query"): (400, "Throttling", "Rate exceeded"),
    ("fail", "lambda"): (500, "ServiceException", "An error occurred and the request cannot be processed."),
    ("fail", "s3"): (500, "InternalError", "We encountered an internal error. Please try again."),
    ("fail", "json"): (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    ("fail", "query"): (500, "InternalFailure", "The request processing has failed because of an unknown error."),
}


class Interceptor:
    """Hands everything on to `application`; calls of functions are counted, kept and met by `faults` on the way."""

    def __init__(self, application: Application, callers: Callers, faults: Faults, rates: ControlPlaneRates) -> None:
        self._application = application
        self._callers = callers
        self._faults = faults
        self._rates = rates
        self._calls = CallLog()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if path == _FAULTS or path.startswith(f"{_FAULTS}/"):
            return _answer(start_response, environ, *self._control(environ, path.removeprefix(_FAULTS).strip("/")))
        if path == _CALLS:
            return _answer(start_response, environ, *self._told(environ))
        if path == _RATES and environ["REQUEST_METHOD"] in ("PUT", "DELETE"):
            self._rates.enforced = environ["REQUEST_METHOD"] == "PUT"
            return _answer(start_response, environ, 200, {"enforced": self._rates.enforced})
        who = signed(environ)
        invocation = self._callers.find(who.access_key) if who else None
        if who is None or invocation is None:
            return self._application(environ, start_response)
        if invocation.killed:
            _drop(environ)
        return self._called(environ, start_response, invocation, self._calls.begin(invocation, environ, who.service))

    def _called(
        self, environ: Environ, start_response: StartResponse, invocation: Invocation, call: ApiCall
    ) -> Iterable[bytes]:
        call.fault = self._faults.due(invocation, call)
        if call.fault == "kill-before":
            invocation.kill()
            _drop(environ)
        if call.fault in ("throttle", "fail"):
            read_body(environ)  # a client that is still sending would not see the answer
            return _refuse(start_response, environ, call)

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            call.status = int(status.split()[0])
            return start_response(status, headers, *rest)

        chunks = self._application(environ, started)
        if call.fault is None:
            return chunks
        b"".join(chunks)
        if call.fault == "kill-after":
            invocation.kill()
        return _drop(environ)

    def _control(self, environ: Environ, identity: str) -> tuple[int, object]:
        match environ["REQUEST_METHOD"], identity:
            case "GET", "":
                return 200, self._faults.shown()
            case "POST", "":
                try:
                    return 201, {"id": self._faults.add(Fault.parse(json.loads(read_body(environ))))}
                except ValueError as error:
                    kind = "" if isinstance(error, FaultError) else "not JSON: "
                    return 400, {"message": f"{kind}{error}"}
            case "DELETE", _ if identity:
                fired = self._faults.remove(identity)
                return (404, {"message": f"no fault {identity}"}) if fired is None else (200, {"fired": fired})
        return _WRONG_METHOD, {"message": "GET or POST faults, or DELETE faults/ID"}

    def _told(self, environ: Environ) -> tuple[int, object]:
        match environ["REQUEST_METHOD"]:
            case "GET":
                query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
                found = self._calls.kept(function=query.get("function"), request_id=query.get("request_id"))
                return 200, [call.as_json() for call in found]
            case "DELETE":
                self._calls.forget()
                return 200, {}
        return _WRONG_METHOD, {"message": "GET or DELETE calls"}


def _drop(environ: Environ) -> Iterable[bytes]:
    """End the connection without an answer. Never returns: the server takes the error for a client that has gone."""
    connection: socket.socket = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
        read_body(environ)  # what is left of it here would be taken for the next request
    raise ConnectionAbortedError("dropped by a fault")


def _refuse(start_response: StartResponse, environ: Environ, call: ApiCall) -> Iterable[bytes]:
    """AWS's own error, in the shape of the service's protocol."""
    kind = call.service if call.service in ("lambda", "s3") else "json" if "HTTP_X_AMZ_TARGET" in environ else "query"
    status, code, message = _ANSWERS[str(call.fault), kind]
    headers = {"x-amzn-ErrorType": code}
    match kind:
        case "lambda":
            body: object = {"Type": "User" if status < 500 else "Service", "message": message}
        case "json":
            body = {"__type": code, "message": message}
        case "s3":
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        case _:
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    call.status = status
    return _answer(start_response, environ, status, body, headers)


def _answer(
    start_response: StartResponse, environ: Environ, status: int, body: object, headers: Mapping[str, str] | None = None
) -> Iterable[bytes]:
    """XML as text, anything else as JSON."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    kind = "application/xml" if isinstance(body, str) else "application/json"
    given = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
    start_response(f"{status} {'OK' if status < 300 else 'Error'}", list(given.items()))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]
