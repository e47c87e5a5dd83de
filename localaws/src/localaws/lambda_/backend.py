"""The seam to moto: the rest of moto finds our functions where it expects its own.

SNS, S3 notifications, EventBridge, Logs subscriptions, Kinesis, DynamoDB streams, CloudFormation and Secrets Manager
reach Lambda through `moto.awslambda.models.lambda_backends`; the backend here answers them from `Region`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from moto.awslambda import models as moto_lambda
from moto.awslambda.exceptions import UnknownFunctionException
from moto.core.resource_tagging import TaggedResource

from localaws.lambda_.asynchronous import submit_from_service
from localaws.lambda_.calls import Platform, split_function
from localaws.lambda_.configuration import shown
from localaws.lambda_.model import Function, Region
from localaws.lambda_.running import run, target
from localaws.wire.errors import function_not_found
from localaws.wire.requests import Json

_platform: Platform | None = None


def install(platform: Platform) -> None:
    """Replace moto's backend by ours. Call this before the first request."""
    global _platform
    _platform = platform
    # moto makes the backend of a region at its first use, so this has to come before that.
    moto_lambda.lambda_backends.backend = Backend


def region_of(account: str, region: str) -> Region:
    """Return the state of an account's region; a new one is empty."""
    backend = moto_lambda.lambda_backends[account][region]
    assert isinstance(backend, Backend)  # noqa: S101
    return backend.region


def regions() -> Iterator[Region]:
    """Yield every region that was used."""
    # A list: requests in other threads add regions meanwhile.
    for _, _, backend in list(moto_lambda.lambda_backends.iter_backends()):
        if isinstance(backend, Backend):
            yield backend.region


def platform() -> Platform:
    if _platform is None:
        raise RuntimeError("the Lambda backend is not installed")
    return _platform


def find(arn: str) -> tuple[Function, str | None]:
    """Return the function of an ARN and the ARN's qualifier.

    Raises:
        ResourceNotFoundException: there is none.
    """
    parts = arn.split(":")
    region = region_of(parts[4], parts[3])
    name, qualifier = split_function(arn, region)
    if name not in region.functions:
        raise function_not_found(arn)
    return region.functions[name], qualifier


def invoke_event(arn: str, payload: bytes) -> None:
    """Invoke asynchronously, as services do."""
    function, qualifier = find(arn)
    submit_from_service(platform(), function, qualifier, payload)


class Handle:
    """Function as moto's other services see it."""

    def __init__(self, function: Function, qualifier: str | None) -> None:
        self.function = function
        self.qualifier = qualifier
        self.function_name = function.name
        self.function_arn = function.qualified(qualifier)
        self.role = function.latest.configuration.role
        self.tags = function.tags

    def invoke(self, body: str, request_headers: Any, response_headers: Any) -> str:
        """Queue the event: the services that call this invoke asynchronously on AWS."""
        submit_from_service(platform(), self.function, self.qualifier, body.encode())
        return ""

    def run(self, body: str) -> tuple[bytes, str | None]:
        """Run the function now; return payload and error flag."""
        what = target(self.function, self.qualifier, platform().clock())
        result = run(platform(), what, body.encode(), request_id=str(uuid.uuid4()))
        return result.payload, result.function_error

    def get_configuration(self) -> Json:
        return shown(self.function, self.function.latest, platform().clock())


class _Lookup:
    """Look-ups that moto's event senders (SNS, Kinesis, DynamoDB, Logs) make."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get_arn(self, arn: str) -> Handle:
        return self._backend.get_function(arn)

    def get_function_by_name_or_arn_with_qualifier(self, name_or_arn: str, qualifier: str | None = None) -> Handle:
        return self._backend.get_function(name_or_arn, qualifier)


class Backend(moto_lambda.LambdaBackend):
    """Lambda of one account and region, for moto's own use."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.region = Region(account=account_id, name=region_name)
        self._lambdas = _Lookup(self)  # type: ignore[assignment]

    def __getstate__(self) -> Json:
        return {"region": self.region}

    def __setstate__(self, state: Json) -> None:
        region: Region = state["region"]
        # Only our region was saved: moto's own part is made again, empty.
        self.__init__(region.name, region.account)  # type: ignore[misc]
        self.region = region

    @property
    def _url_module(self) -> Any:
        from moto.awslambda import urls

        return urls

    def get_function(self, function_name_or_arn: str, qualifier: str | None = None) -> Handle:  # type: ignore[override]
        name, derived = split_function(function_name_or_arn, self.region)
        function = self.region.functions.get(name)
        if function is None:
            raise UnknownFunctionException(function_name_or_arn)
        return Handle(function, qualifier or derived)

    def get_function_by_arn(self, function_arn: str) -> Handle:  # type: ignore[override]
        return self.get_function(function_arn)

    def list_functions(self, func_version: str | None = None) -> Iterable[Any]:
        return [Handle(function, None) for function in self.region.functions.values()]

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> bytes:
        """Run a function for Secrets Manager's rotation and EventBridge rules, which ignore the result."""
        payload, error = self.get_function(function_name, qualifier).run(body)
        if error:
            response_headers["x-amz-function-error"] = error
        return bytes(payload)

    def send_sqs_batch(self, function_arn: str, messages: Any, queue_arn: str) -> bool:
        """Ignore a send: `poller` receives messages itself, and delivering here would invoke the function twice."""
        return False

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        for function in self.region.functions.values():
            yield TaggedResource(arn=function.arn, tags=function.tags, resource_type="lambda:function")
