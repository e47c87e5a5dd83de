"""The errors of the Lambda API: one class per error code of AWS, with its HTTP status.

Only `LambdaError` is caught, at the single place that answers HTTP requests; a class is named exactly as the code
that clients compare with. Anything else that is raised is a fault of ours and is answered with a 500.
"""

from __future__ import annotations

from typing import ClassVar


class LambdaError(Exception):
    """An error answer of the Lambda API.

    Args:
        message: the text that AWS would send.
        details: further members of the JSON body (`Reason` of a throttled invoke, for example).
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def code(self) -> str:
        return type(self).__name__


class InvalidParameterValueException(LambdaError):
    pass


class ValidationException(LambdaError):
    pass


class InvalidRequestContentException(LambdaError):
    pass


class CodeStorageExceededException(LambdaError):
    pass


class PolicyLengthExceededException(LambdaError):
    pass


class AccessDeniedException(LambdaError):
    status = 403


class UnrecognizedClientException(LambdaError):
    status = 403


class ResourceNotFoundException(LambdaError):
    status = 404


class ProvisionedConcurrencyConfigNotFoundException(LambdaError):
    status = 404


class UnknownOperationException(LambdaError):
    status = 404


class ResourceConflictException(LambdaError):
    status = 409


class PreconditionFailedException(LambdaError):
    status = 412


class RequestEntityTooLargeException(LambdaError):
    status = 413


class RequestTooLargeException(LambdaError):
    status = 413


class TooManyRequestsException(LambdaError):
    status = 429


class ServiceException(LambdaError):
    status = 500


class NotImplementedByLocalAws(LambdaError):
    """An operation that AWS has and the embedded AWS has not."""

    status = 501


def function_not_found(arn: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Function not found: {arn}")


def stale_revision() -> PreconditionFailedException:
    return PreconditionFailedException(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id"
    )
