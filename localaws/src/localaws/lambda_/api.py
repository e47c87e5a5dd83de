"""The Lambda API: one request in, one answer out, whatever happens in between."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from types import ModuleType

from localaws.iam.policies import principal
from localaws.lambda_ import aliases, event_sources, functions, invoke, layers, policies, settings, urls
from localaws.lambda_.calls import Call, Platform
from localaws.lambda_.model import Region
from localaws.lambda_.permissions import action, context, resource
from localaws.wire.errors import LambdaError, NotImplementedByLocalAws, ServiceException
from localaws.wire.requests import HttpAnswer, HttpRequest, Json, Operation, find_operation, operations, parameters

log = logging.getLogger(__name__)

Handler = Callable[[Call], "Json | HttpAnswer"]

_MODULES: tuple[ModuleType, ...] = (
    functions,
    aliases,
    layers,
    policies,
    settings,
    urls,
    invoke,
    event_sources,
)


def _handlers() -> Mapping[str, Handler]:
    """The function that carries out each operation, by the operation's name in snake case."""
    return {
        operation.name: getattr(module, operation.function_name)
        for operation in operations()
        for module in _MODULES
        if hasattr(module, operation.function_name)
    }


class LambdaApi:
    """Answers requests for all accounts and regions.

    Args:
        region_of: the state of an account's region.
    """

    def __init__(self, platform: Platform, region_of: Callable[[str, str], Region]) -> None:
        self._platform = platform
        self._region_of = region_of
        self._handlers = _handlers()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request; errors are answers too."""
        try:
            return self._answer(request)
        except LambdaError as error:
            return _error(error)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _error(ServiceException("The embedded AWS failed; its output has the traceback."))

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        caller = principal(
            request.access_key, request.session_token, request.account, enforce=self._platform.enforce_iam
        )
        operation, path = find_operation(request.method, request.path, request.query)
        self._platform.rates.take(request.account, request.region, operation.name)
        call = Call(
            platform=self._platform,
            region=self._region_of(request.account, request.region),
            caller=caller,
            request=request,
            params=parameters(operation, request, path),
            all_regions=lambda account: self._region_of(account, request.region),
        )
        caller.require(action(operation), resource(call), context(call))
        result = self._handler(operation)(call)
        return result if isinstance(result, HttpAnswer) else _json(operation, result)

    def _handler(self, operation: Operation) -> Handler:
        handler = self._handlers.get(operation.name)
        if handler is None:
            raise NotImplementedByLocalAws(f"{operation.name} is not implemented by the embedded AWS")
        return handler


def _json(operation: Operation, result: Json) -> HttpAnswer:
    status = 204 if operation.name == "DeleteFunction" else operation.status
    return HttpAnswer(status=status, body=b"" if status == 204 else json.dumps(result).encode())


def _error(error: LambdaError) -> HttpAnswer:
    body = {"Type": "User" if error.status < 500 else "Service", "message": error.message, **error.details}
    return HttpAnswer(status=error.status, body=json.dumps(body).encode(), headers={"x-amzn-ErrorType": error.code})
