"""Error codes of AWS, as errors of our own."""

from __future__ import annotations

from builder.errors import (
    AccessDenied,
    AwsRefused,
    AwsUnavailable,
    FunctionBusy,
    FunctionMissing,
    InvalidConfiguration,
    LambdasmithError,
)

_DENIED = {"AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation", "KMSAccessDeniedException"}
_BAD_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
}
_BUSY = {"ResourceConflictException", "PreconditionFailedException"}
_TRANSIENT = {
    "TooManyRequestsException",
    "ThrottlingException",
    "Throttling",
    "ServiceException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "SlowDown",
    "RequestTimeout",
    "503",
    "500",
}


def translated(code: str, words: str, doing: str) -> LambdasmithError:
    """Return the error of ours for an answer with `code` and AWS's `words`, while `doing` was attempted."""
    said = words or code
    if code in _DENIED:
        return AccessDenied(f"{doing}: {said}", hint="the role in use may not do this; docs/iam.md lists what it needs")
    if code in _BAD_CREDENTIALS:
        return InvalidConfiguration(f"{doing}: {said}", hint="the AWS credentials in use are wrong or have expired")
    if code in _BUSY:
        return FunctionBusy(f"{doing}: {said}", hint="someone else is changing it; run the same command again")
    if code == "ResourceNotFoundException":
        return FunctionMissing(f"{doing}: {said}")
    if code in _TRANSIENT:
        return AwsUnavailable(f"{doing}: {said} ({code})", hint="run the same command again; what was done stays done")
    return AwsRefused(f"{doing}: {said} ({code})")
